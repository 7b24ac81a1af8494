"""Print what the whole chain costs for each task, from a specification to its verdict, and how exact it is.

python -m benchmarks.tables.generate [--only SUBSTRING] [--extend]
"""

import argparse
import resource
import sys
import tempfile
import time
from importlib import metadata
from pathlib import Path

from rich.console import Console
from rich.table import Table

from stageplan.generate import Generated, Spec, generate
from stageplan.generate.extensions import EXTENSIONS
from stageplan.generate.spec import TASKS

NOTES = """\
Quick mode, this interpreter as the environment. CPU seconds of all processes, and seconds on the clock, which
say as much of what else the machine does. Largest differences: of losses of pipelined training from those of
one process, of outputs of the ONNX model and of the exported program from the network. The verdict is that of
the preset test script."""

CHAIN_AIM = 120.0  # seconds on two cores without extensions
LOSS_AIM, OUTPUT_AIM = 1e-5, 1e-4


def specification(task: str, extended: bool) -> Spec:
    """Make the smallest specification of a task, with all extensions or none."""
    types = [
        {"name": "cpu", "price": 1.0, "limit": 2},
        {"name": "slow", "price": 0.5, "limit": 1, "speed": 0.6},
    ]
    return Spec(
        name=task,
        task=task,
        hardware={"cores": 1, "types": types},
        environment={"reuse": sys.executable, "torch": metadata.version("torch")},
        extend={"steps": EXTENSIONS if extended else ()},
    )


def measured(task: str, extended: bool) -> tuple[str, ...]:
    """Run the chain in a directory of its own; returns the cells of a row."""
    with tempfile.TemporaryDirectory() as folder:
        began, clock = _children_cpu(), time.monotonic()
        made = generate(specification(task, extended), Path(folder, "out"), mode="quick")
        cpu, seconds = _children_cpu() - began, time.monotonic() - clock
    return (task, f"{cpu:.0f}", f"{seconds:.0f}", *_differences(made), _verdict(made))


def _children_cpu() -> float:
    used = resource.getrusage(resource.RUSAGE_CHILDREN)
    return used.ru_utime + used.ru_stime


def _differences(made: Generated) -> tuple[str, ...]:
    """Return the largest differences of pipelined losses, ONNX outputs and exported outputs."""
    assert made.basic is not None
    metrics = made.basic.metrics | (made.extended.metrics if made.extended is not None else {})
    names = {"pipeline": "largest_loss_difference", "onnx_export": "largest_difference"}
    names["export"] = "largest_difference"
    return tuple(f"{metrics[key][name]:.1e}" if key in metrics else "" for key, name in names.items())


def _verdict(made: Generated) -> str:
    assert made.test is not None
    red = [case.name for case in made.test.cases if case.status != "PASS"]
    return f"{len(made.test.cases)} passed" if not red else f"red: {', '.join(red)}"


def main() -> None:
    """Print the table."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--only", default="", metavar="SUBSTRING", help="tasks with this in their name")
    parser.add_argument("--extend", action="store_true", help="with all extensions")
    arguments = parser.parse_args()
    table = Table("task", "CPU s", "clock s", "loss", "ONNX", "exported", "verdict")
    for task in TASKS:
        if arguments.only in task:
            table.add_row(*measured(task, arguments.extend))
    table.add_row("to reach", "", f"{CHAIN_AIM:g}", f"{LOSS_AIM:g}", f"{OUTPUT_AIM:g}", f"{OUTPUT_AIM:g}", "")
    Console().print(table)
    print(NOTES)


if __name__ == "__main__":
    main()
