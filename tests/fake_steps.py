"""Steps that are quick because they compute nothing, for tests of how steps are run.

Like the real ones they work in a scratch folder, run commands on the target, and return their results.
"""

import sys
from pathlib import Path

from stageplan.generate import BasicResult, EnvironmentReport, ExtendedResult, StepError, environment, steps
from stageplan.generate.digests import bytes_sha256, sha256
from stageplan.generate.folders import copy_folder, staged, write_files
from stageplan.generate.results import artefacts_of, code_of

TRAIN = """
import json, os, time
os.makedirs("artefacts/metrics", exist_ok=True)
if os.path.exists(os.environ["HOME"] + "/hang"):
    with open(os.environ["HOME"] + "/begun.part", "w") as begun:
        begun.write(str(os.getpid()))
    os.rename(begun.name, os.environ["HOME"] + "/begun")
    time.sleep(600)
open("artefacts/weights", "wb").write(bytes(300_000))
json.dump({"loss": 0.5}, open("artefacts/metrics/train.json", "w"))
"""
CASES = """
[[case]]
name = "train"
command = ["train.py"]
modes = ["quick", "full"]
needs = ["environment", "integrity"]
time_limit = 60
artefacts = ["artefacts/weights"]
metrics = [{ file = "artefacts/metrics/train.json", name = "loss", max = 1.0 }]
[[case]]
name = "infer"
command = ["infer.py"]
modes = ["quick", "infer", "full"]
needs = ["environment", "integrity", "train"]
time_limit = 60
"""


def prepare(spec, target, directory):
    return EnvironmentReport(
        target=target.name,
        python=sys.executable,
        items=(),
        requirements=(),
        lock=(f"torch=={spec.environment.torch}",),
        seconds=0.0,
    )


def build(spec, report, target, directory, *, training):
    with staged(directory / "project") as project:
        (project / "train.py").write_text(TRAIN)
        (project / "infer.py").write_text("print(len(open('artefacts/weights', 'rb').read()))")
        (project / "config.json").write_text(f'{{"seed": {spec.seed}}}')
        result = make(BasicResult, "basic", report, target, project, training)
    write_files(directory, {"cases.toml": CASES.encode()})
    return result


def extend(spec, report, target, directory, basic, *, training):
    with staged(directory / "project") as project:
        project.rmdir()
        copy_folder(directory / "project", project)
        (project / "prune.py").write_text("open('artefacts/pruned', 'w').write('pruned')")
        return make(ExtendedResult, "extended", report, target, project, training, steps=spec.extend.steps)


def make(kind, step, report, target, project, training, **more):
    name = "train.py" if step == "basic" else "prune.py"
    target.place(project)
    finished = target.run([report.python, name], project, limit=600)
    if not finished.ok:
        raise StepError(f"{step}: {name} {finished.failure}", finished.output)
    target.collect(project)
    target.remove(project)
    return kind(
        training=training,
        config_sha256=sha256(project / "config.json"),
        artefacts=artefacts_of(project),
        files=code_of(project),
        cases_sha256=bytes_sha256(CASES.encode()),
        metrics={"train": {"loss": 0.5}},
        versions={},
        seconds=0.0,
        **more,
    )


def install(set_attribute=setattr):
    """Replace the real steps."""
    set_attribute(environment, "prepare", prepare)
    set_attribute(environment, "check_interpreter", lambda *_: ([], []))
    set_attribute(steps.basic, "build", build)
    set_attribute(steps.extended, "extend", extend)


if __name__ == "__main__":
    install()
    from stageplan.cli import main

    if sys.argv[1] == "--small-files":
        import resource

        del sys.argv[1]
        resource.setrlimit(resource.RLIMIT_FSIZE, (100_000, 100_000))
    sys.exit(main(sys.argv[1:]))

FILE = Path(__file__)
