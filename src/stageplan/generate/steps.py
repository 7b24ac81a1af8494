"""The four steps in their order: which are to be done, which are whole, and what each is made from."""

from __future__ import annotations

import os
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Literal, get_args

import msgspec
from msgspec import Struct

from ..checks import check_choice
from ..output import write_whole
from . import basic, cases, environment, extended, folders
from .digests import code, digest, sha256
from .results import (
    BasicResult,
    EnvironmentReport,
    ExtendedResult,
    Mode,
    Result,
    StepError,
    TestResult,
    Training,
    read_result,
    tampered,
    write_result,
)
from .spec import Spec, read_spec
from .target import Target, target_of

Step = Literal["environment", "basic", "extended", "test"]
STEPS: tuple[Step, ...] = get_args(Step)
MODES: tuple[Mode, ...] = get_args(Mode)

SPEC = "spec.json"
ENVIRONMENT = "environment.json"
BASIC = "manifest-basic.json"
EXTENDED = "manifest-extended.json"
LOG = "failure.log"


class Generated(Struct, frozen=True, kw_only=True):
    """What a run made; None stands for a step that was not come to, or not asked for.

    Attributes
    ----------
    directory : str
        Where it is.
    environment, basic, extended, test
        The results of the steps.
    """

    directory: str
    environment: EnvironmentReport | None = None
    basic: BasicResult | None = None
    extended: ExtendedResult | None = None
    test: TestResult | None = None

    def __str__(self) -> str:
        parts = (self.environment, self.basic, self.extended, self.test)
        return "\n".join([*(str(part) for part in parts if part is not None), f"directory: {self.directory}"])

    @property
    def passed(self) -> bool:
        """Whether nothing is missing or wrong in the environment, and all that had to pass the test did."""
        return (self.environment is None or self.environment.ok) and (self.test is None or self.test.passed)


def generate(
    spec: Spec | str | os.PathLike[str],
    directory: str | os.PathLike[str],
    *,
    target: str | None = None,
    mode: Mode = "full",
    step: Step | None = None,
    resume: bool = False,
    progress: Callable[[str], object] | None = None,
) -> Generated:
    """Make a model from its requirements, extend it, and test it on its target.

    Parameters
    ----------
    spec : Spec or path
        What is wanted, or the file that says so.
    directory : path
        Where all of it is put: a new or empty directory, or one that an earlier run made, which has its
        marker ``.stageplan-run``. Files there that no run wrote, or that were changed since, are moved to
        ``kept`` in it where they are in the way.
    target : str, optional
        ``"local"`` or ``"ssh:USER@HOST"``, in place of the specification's.
    mode : {"quick", "infer", "full"}
        ``"quick"``: a short training, and a test that trains and infers shortly; ``"full"``: all of it;
        ``"infer"``: the whole training, and a test of the inference alone.
    step : {"environment", "basic", "extended", "test"}, optional
        This step alone; what it needs must be there. Default: all steps.
    resume : bool
        Whether to skip steps whose result is there, was made from the same and has the right checksums. The
        test is always run.
    progress : callable, optional
        Told in a few words what is begun.

    Returns
    -------
    Generated
        The results. It ends after the environment where that is not as required.

    Raises
    ------
    ValueError, TypeError
        An argument or the specification is wrong, or the directory, here or on the target, holds files and
        was not made by a run, or by another one.
    OSError
        The specification cannot be read, or the directory not be made.
    StepError
        A step did not succeed, for want of space on a disk too, or a requirement is impossible; or the target
        cannot be reached (TargetError).
    """
    check_choice("mode", mode, MODES)
    check_choice("step", step, (None, *STEPS))
    if not isinstance(spec, Spec):
        spec = read_spec(spec, target)
    elif target is not None:
        spec = msgspec.structs.replace(spec, target=target)
    _check_files(spec)
    basic.configuration(spec, None)  # what is wrong is said before the first step takes its time
    extended.check_plan(spec)
    say = progress or _say_nothing
    root = Path(os.path.realpath(directory))
    run_id = folders.id_for(root)
    target_ = target_of(spec, root, run_id)
    target_.check()
    with _at_work(root, run_id, say):
        return _Run(spec, root, target_, mode, resume, say).steps(step)


def run_test(
    directory: str | os.PathLike[str],
    *,
    mode: Mode = "full",
    progress: Callable[[str], object] | None = None,
) -> TestResult:
    """Run the preset test script of an earlier run, ``cases.toml`` in its directory.

    Parameters
    ----------
    directory : path
        Of the earlier run.
    mode, progress
        As of `generate`.

    Returns
    -------
    TestResult
        What became of each case.

    Raises
    ------
    ValueError, OSError, StepError
        As `generate` does.
    """
    check_choice("mode", mode, MODES)
    root = Path(os.path.realpath(directory))
    run_id = folders.run_id(root)
    if run_id is None or not (root / SPEC).is_file():
        needed = f"{folders.MARKER} and {SPEC}"
        raise ValueError(f"directory is {directory}; it must be made by an earlier run, with {needed} in it")
    spec = read_spec(root / SPEC)
    target = target_of(spec, root, run_id)
    target.check()
    say = progress or _say_nothing
    with _at_work(root, run_id, say):
        report = read_result(root / ENVIRONMENT, EnvironmentReport)
        if report is None:
            raise StepError(f"there is no {ENVIRONMENT} in {root}; generate it first")
        return cases.run(spec, report, target, root, mode=mode, progress=say)


def _say_nothing(_: str) -> None:
    pass


def _check_files(spec: Spec) -> None:
    """Refuse a specification that names files which are not there."""
    files = {"data.file": spec.data.file, "ssh.config": spec.ssh.config}
    files["extend.pipeline.plan"] = spec.extend.pipeline.plan
    for field, file in files.items():
        if file is not None and not Path(file).is_file():
            raise ValueError(f"{field} is {file}; it must be a file that is there")


@contextmanager
def _at_work(root: Path, run_id: str, say: Callable[[str], object]) -> Iterator[None]:
    """Let no other run work in a directory, and make a step's failure of what the disk refuses."""
    with folders.owned(root, run_id):
        before = folders.kept(root)
        try:
            folders.remove_leftovers(root)
            (root / LOG).unlink(missing_ok=True)
            yield
        except StepError as error:
            if not error.log or not _written(root / LOG, error.log):
                raise
            raise StepError(f"{error}; its output is in {root / LOG}", error.log) from error
        except OSError as error:
            raise StepError(f"{error.filename or root}: {error.strerror or error}") from error
        finally:
            for folder in sorted(folders.kept(root) - before):
                say(f"files that no run wrote were moved to {folder}")


def _written(path: Path, text: str) -> bool:
    """Write a text, where the disk has room for it."""
    try:
        write_whole(path, lambda stream: stream.write(text.encode()))
    except OSError:
        return False
    return True


class _Run:
    """One run, with what all its steps need."""

    def __init__(
        self,
        spec: Spec,
        root: Path,
        target: Target,
        mode: Mode,
        resume: bool,
        say: Callable[[str], object],
    ) -> None:
        self.spec, self.root, self.target = spec, root, target
        self.mode, self.resume, self.say = mode, resume, say
        self.training: Training = "quick" if mode == "quick" else "full"

    def steps(self, only: Step | None) -> Generated:
        """Do all steps, or one alone, the earlier ones as they are."""
        made = Generated(directory=str(self.root))
        report = self.environment(redo=only in (None, "environment"))
        made = msgspec.structs.replace(made, environment=report)
        if only == "environment" or not report.ok:
            return made
        first = self.basic(report, redo=only in (None, "basic"))
        made = msgspec.structs.replace(made, basic=first)
        if only == "basic":
            return made
        if self.spec.extend.steps:
            second = self.extended(report, first, redo=only in (None, "extended"))
            made = msgspec.structs.replace(made, extended=second)
        if only == "extended":
            return made
        return msgspec.structs.replace(made, test=self.test(report))

    def environment(self, redo: bool) -> EnvironmentReport:
        """Prepare the environment, or take the earlier one."""
        path, inputs = self.root / ENVIRONMENT, environment.inputs(self.spec)
        kept = read_result(path, EnvironmentReport)
        if (
            kept is not None
            and kept.ok
            and self._stands(kept, inputs, redo)
            and (not redo or environment.runs(self.target, kept.python, self.root))
        ):
            return kept
        self._begin("environment", redo, path)
        return self._keep(path, environment.prepare(self.spec, self.target, self.root), inputs)

    def basic(self, report: EnvironmentReport, redo: bool) -> BasicResult:
        """Generate the basic function, or take the earlier one."""
        path, inputs = self.root / BASIC, digest(*_basic_inputs(self.spec), report.target, report.lock)
        kept = read_result(path, BasicResult)
        left_over = not self.spec.extend.steps and (self.root / EXTENDED).exists()
        if (
            kept is not None
            and self._stands(kept, inputs, redo)
            and self._whole(kept, redo)
            and not left_over
        ):
            return kept
        self._begin("basic", redo, path, self.root / EXTENDED)
        result = basic.build(self.spec, report, self.target, self.root, training=self.training)
        return self._keep(path, result, inputs)

    def extended(self, report: EnvironmentReport, first: BasicResult, redo: bool) -> ExtendedResult:
        """Generate the extended function, or take the earlier one."""
        path, inputs = (
            self.root / EXTENDED,
            digest(*_extended_inputs(self.spec), first.inputs, first.artefacts),
        )
        kept = read_result(path, ExtendedResult)
        if kept is not None and self._stands(kept, inputs, redo) and self._whole(kept, redo):
            return kept
        self._begin("extended", redo, path)
        result = extended.extend(self.spec, report, self.target, self.root, first, training=self.training)
        return self._keep(path, result, inputs)

    def _stands(self, kept: EnvironmentReport | BasicResult, inputs: str, redo: bool) -> bool:
        """Whether an earlier result was made from the same, and by the same code where it is to be redone."""
        return kept.inputs == inputs and (not redo or (self.resume and kept.code == code()))

    def _whole(self, kept: BasicResult, redo: bool) -> bool:
        """Whether artefacts are those of the result and of this training; the test looks at them itself."""
        return not redo or (kept.training == self.training and not tampered(self.root / "project", kept))

    def _begin(self, step: Step, redo: bool, *results: Path) -> None:
        """Remove earlier results before a step, so that they do not stand for it where it is cut short."""
        if not redo:
            raise StepError(f"step {step} has no result of this specification; run it first, or all steps")
        self.say(step)
        write_result(self.root / SPEC, self.spec)
        for path in (*results, self.root / cases.RESULT, self.root / cases.JUNIT):
            path.unlink(missing_ok=True)

    def _keep(self, path: Path, result: Result, inputs: str) -> Result:
        """Write the result of a step, which makes it whole."""
        result = msgspec.structs.replace(result, inputs=inputs, code=code())
        write_result(path, result)
        return result

    def test(self, report: EnvironmentReport) -> TestResult:
        """Run the preset test script."""
        return cases.run(self.spec, report, self.target, self.root, mode=self.mode, progress=self.say)


def _basic_inputs(spec: Spec) -> tuple[object, ...]:
    data = sha256(Path(spec.data.file)) if spec.data.file is not None else None
    return spec.name, spec.task, spec.seed, spec.service, spec.hardware.of_target, spec.training, data


def _extended_inputs(spec: Spec) -> tuple[object, ...]:
    plan = spec.extend.pipeline.plan
    return spec.extend, spec.hardware.types, None if plan is None else sha256(Path(plan))
