"""The four steps in order: which have to run, which are complete, and what each depends on."""

from __future__ import annotations

import os
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import TYPE_CHECKING, Literal, get_args

import msgspec
from msgspec import Struct

from ..arguments import check_choice
from ..errors import InputError
from ..output import compose, to_text, write_whole
from . import adopted, basic, environment, examples, extended, folders, own, testing
from .adopted import read_adopted
from .cases import MODES
from .digests import code, digest, sha256
from .generated import project_of
from .layout import (
    ADOPTED_FILE,
    BASIC_FILE,
    ENVIRONMENT_FILE,
    EXTENDED_FILE,
    JUNIT_FILE,
    LOG_FILE,
    PAGE_FILE,
    PROJECT,
    SPEC_FILE,
    TEST_FILE,
)
from .results import (
    BasicResult,
    EnvironmentReport,
    ExtendedResult,
    Mode,
    Result,
    StepError,
    TestResult,
    Training,
    changed_artefacts,
    read_result,
    read_test,
    result_bytes,
    write_result,
)
from .spec import Spec, read_spec
from .target import Target, target_of

if TYPE_CHECKING:
    from rich.console import Group

Step = Literal["environment", "basic", "extended", "test"]
STEPS: tuple[Step, ...] = get_args(Step)


class Generated(Struct, frozen=True, kw_only=True):
    """Results of a run; None for a step that did not run.

    Attributes
    ----------
    directory : str
        The run's directory.
    environment, basic, extended, test
        Results of the steps.
    """

    directory: str
    environment: EnvironmentReport | None = None
    basic: BasicResult | None = None
    extended: ExtendedResult | None = None
    test: TestResult | None = None

    def __rich__(self) -> Group:
        parts = (self.environment, self.basic, self.extended, self.test)
        return compose(*(part for part in parts if part is not None), f"directory: {self.directory}")

    def __str__(self) -> str:
        return to_text(self)

    @property
    def passed(self) -> bool:
        """Whether the environment is as required, and every case that must pass the test did."""
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
    """Generate a model from its requirements, extend it, and test it on its target.

    Parameters
    ----------
    spec : Spec or path
        The specification, or its file.
    directory : path
        The run's directory: new, empty, or made by an earlier run, as its marker ``.stageplan-run`` shows.
        Files in it that you added or changed are never removed: where a step would replace them, they are
        moved to ``kept`` in it.
    target : str, optional
        ``"local"`` or ``"ssh:USER@HOST"``, instead of the specification's.
    mode : {"quick", "infer", "full", "benchmark"}
        ``"quick"``: a short training, and a test with a short training and inference; ``"full"``: the full
        training and test; ``"infer"``: the full training, or none of a network of your own, and a test of
        inference only; ``"benchmark"``: the full training, and repeated measurements.
    step : {"environment", "basic", "extended", "test"}, optional
        Run this step only; the steps before it must be complete. Default: all steps.
    resume : bool
        Whether to skip complete steps: those whose result exists, was made from the same inputs, and whose
        artefacts have the recorded checksums. The test always runs.
    progress : callable, optional
        Called with a few words about each step and case when it begins.

    Returns
    -------
    Generated
        The results. The run ends after the environment where that is not as required.

    Raises
    ------
    ValueError, TypeError
        An argument or the specification is not valid, or the directory, here or on the target, holds files
        and was not made by a run, or was made by another run.
    OSError
        The specification cannot be read, or the directory cannot be made.
    StepError
        A step failed, also for lack of disk space; a requirement cannot be met; or the target cannot be
        reached (TargetError).

    Examples
    --------
    >>> from pathlib import Path
    >>> from stageplan.examples import files
    >>> from stageplan.generate import generate
    >>> _ = Path("spec.toml").write_text(files("spec")["spec.toml"])
    >>> made = generate("spec.toml", "model", mode="quick")
    >>> made.passed
    True
    """
    check_choice("mode", mode, MODES)
    check_choice("step", step, (None, *STEPS))
    if not isinstance(spec, Spec):
        spec = read_spec(spec, target)
    elif target is not None:
        spec = msgspec.structs.replace(spec, target=target)
    _check_files(spec)
    basic.configuration(spec, None)  # refused before the first step, which takes long
    extended.check_plan(spec)
    say = progress or _say_nothing
    root = Path(os.path.realpath(directory))
    run_id = folders.id_for(root)
    machine = target_of(spec, root, run_id)
    machine.check()
    with _at_work(root, run_id, say):
        return _Run(spec, root, machine, mode, resume, say).steps(step)


def run_test(
    directory: str | os.PathLike[str],
    *,
    mode: Mode = "full",
    golden: str | os.PathLike[str] | None = None,
    progress: Callable[[str], object] | None = None,
) -> TestResult:
    """Run the preset test script of an earlier run, ``cases.toml`` in its directory.

    Parameters
    ----------
    directory : path
        Directory of the earlier run.
    mode, progress
        As for `generate`. In the mode ``"benchmark"`` a case runs as often as it says, and its metrics are
        the medians.
    golden : path, optional
        ``test-result.json`` of an earlier test, from whose numbers those of the same cases must not differ:
        by default by more than 1 %.

    Returns
    -------
    TestResult
        Outcome of each case.

    Raises
    ------
    ValueError, OSError, StepError
        As for `generate`.
    """
    check_choice("mode", mode, MODES)
    earlier = None if golden is None else read_test(golden, "golden")
    root = Path(os.path.realpath(directory))
    run_id = folders.run_id(root)
    is_adopted = (root / ADOPTED_FILE).is_file()
    if run_id is None or not (is_adopted or (root / SPEC_FILE).is_file()):
        needed = f"{folders.MARKER} and {SPEC_FILE}"
        raise InputError(f"directory is {directory}; it must be made by an earlier run, with {needed} in it")
    place = read_adopted(root / ADOPTED_FILE) if is_adopted else read_spec(root / SPEC_FILE)
    target = target_of(place, root, run_id)
    target.check()
    say = progress or _say_nothing
    with _at_work(root, run_id, say):
        if isinstance(place, Spec):
            project = _generated(place, target, root)
        else:
            project = adopted.project_of(place, target, root, say)
        return testing.run_cases(project, target, root, mode=mode, progress=say, golden=earlier)


def _generated(spec: Spec, target: Target, root: Path) -> testing.Project:
    report = read_result(root / ENVIRONMENT_FILE, EnvironmentReport)
    if report is None:
        raise StepError(f"there is no {ENVIRONMENT_FILE} in {root}; generate it first")
    return project_of(spec, report, target, root)


def _say_nothing(_: str) -> None:
    pass


def _check_files(spec: Spec) -> None:
    """Check that the files that a specification names exist."""
    files = {"data.file": spec.data.file, "ssh.config": spec.ssh.config}
    files |= {"data.tokenizer": spec.data.tokenizer, "extend.pipeline.plan": spec.extend.pipeline.plan}
    for field, file in files.items():
        if file is not None and not Path(file).is_file():
            raise InputError(f"{field} is {file}; it must be an existing file")
    examples.check(spec)


@contextmanager
def _at_work(root: Path, run_id: str, say: Callable[[str], object]) -> Iterator[None]:
    """Lock a directory, turn errors of the disk into StepError, and report which files were kept."""
    with folders.owned(root, run_id):
        before = folders.kept(root)
        try:
            folders.remove_leftovers(root)
            (root / LOG_FILE).unlink(missing_ok=True)
            yield
        except StepError as error:
            if not error.log or not _try_write(root / LOG_FILE, error.log):
                raise
            raise StepError(f"{error}; its output is in {root / LOG_FILE}", error.log) from error
        except OSError as error:
            raise StepError(f"{error.filename or root}: {error.strerror or error}") from error
        finally:
            for folder in sorted(folders.kept(root) - before):
                say(f"files that you added or changed were moved to {folder}")


def _try_write(path: Path, text: str) -> bool:
    """Write a text; return False where that fails, as on a full disk."""
    try:
        write_whole(path, lambda stream: stream.write(text.encode()))
    except OSError:
        return False
    return True


class _Run:
    """One run: the state that its steps share."""

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
        self.training: Training = _training(spec, mode)

    def steps(self, only: Step | None) -> Generated:
        """Run all steps, or one of them with the earlier results."""
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
        """Prepare the environment, or use the earlier one."""
        path, inputs = self.root / ENVIRONMENT_FILE, environment.inputs(self.spec)
        earlier = read_result(path, EnvironmentReport)
        if (
            earlier is not None
            and earlier.ok
            and self._is_current(earlier, inputs, redo)
            and (not redo or environment.interpreter_runs(self.target, earlier.python, self.root))
        ):
            return earlier
        self._begin("environment", redo, path)
        return self._store(path, environment.prepare(self.spec, self.target, self.root), inputs)

    def basic(self, report: EnvironmentReport, redo: bool) -> BasicResult:
        """Generate the basic function, or use the earlier one."""
        path, inputs = self.root / BASIC_FILE, digest(*_basic_inputs(self.spec), report.target, report.lock)
        earlier = read_result(path, BasicResult)
        has_old_extension = not self.spec.extend.steps and (self.root / EXTENDED_FILE).exists()
        if (
            earlier is not None
            and self._is_current(earlier, inputs, redo)
            and self._is_intact(earlier, redo)
            and not has_old_extension
        ):
            return earlier
        self._begin("basic", redo, path, self.root / EXTENDED_FILE)
        result = basic.build(self.spec, report, self.target, self.root, training=self.training)
        return self._store(path, result, inputs)

    def extended(self, report: EnvironmentReport, first: BasicResult, redo: bool) -> ExtendedResult:
        """Generate the extended function, or use the earlier one."""
        path, inputs = (
            self.root / EXTENDED_FILE,
            digest(*_extended_inputs(self.spec), first.inputs, first.artefacts),
        )
        earlier = read_result(path, ExtendedResult)
        if earlier is not None and self._is_current(earlier, inputs, redo) and self._is_intact(earlier, redo):
            return earlier
        self._begin("extended", redo, path)
        result = extended.extend(self.spec, report, self.target, self.root, first, training=self.training)
        return self._store(path, result, inputs)

    def _is_current(self, earlier: EnvironmentReport | BasicResult, inputs: str, redo: bool) -> bool:
        """Whether an earlier result has the same inputs, and the same code where the step would run again."""
        return earlier.inputs == inputs and (not redo or (self.resume and earlier.code == code()))

    def _is_intact(self, earlier: BasicResult, redo: bool) -> bool:
        """Whether artefacts are unchanged and of this training, where the step would run again."""
        return not redo or (
            earlier.training == self.training and not changed_artefacts(self.root / PROJECT, earlier)
        )

    def _begin(self, step: Step, redo: bool, *results: Path) -> None:
        """Remove results of the step and of later ones, so that none remains where it is interrupted."""
        if not redo:
            raise StepError(f"step {step} has no result for this specification; run it first, or all steps")
        self.say(step)
        folders.write_files(self.root, {SPEC_FILE: result_bytes(self.spec)})
        for path in (*results, *(self.root / name for name in (TEST_FILE, JUNIT_FILE, PAGE_FILE))):
            path.unlink(missing_ok=True)

    def _store(self, path: Path, result: Result, inputs: str) -> Result:
        """Write the result of a step, which completes it."""
        result = msgspec.structs.replace(result, inputs=inputs, code=code())
        write_result(path, result)
        return result

    def test(self, report: EnvironmentReport) -> TestResult:
        """Run the preset test script."""
        project = project_of(self.spec, report, self.target, self.root)
        return testing.run_cases(project, self.target, self.root, mode=self.mode, progress=self.say)


def _training(spec: Spec, mode: Mode) -> Training:
    if mode == "infer" and spec.service.model.source is not None:
        return "none"
    return "quick" if mode == "quick" else "full"


def _basic_inputs(spec: Spec) -> tuple[object, ...]:
    files = (examples.inputs(spec), own.inputs(spec))
    return spec.name, spec.task, spec.seed, spec.service, spec.hardware.of_target, spec.training, files


def _extended_inputs(spec: Spec) -> tuple[object, ...]:
    plan = spec.extend.pipeline.plan
    return spec.extend, spec.hardware.types, None if plan is None else sha256(Path(plan))
