"""``stageplan adopt``: make the test script of an existing project."""

from __future__ import annotations

import argparse
import math
from pathlib import Path

from ..errors import InputError
from ..fields import show
from ..generate import adopt
from ..generate.adoption import COMMANDS, TIME_LIMIT
from ..generate.spec import TASKS, Ssh
from ..generate.tipc import TIPC_MODES
from ..output import print_out
from .status import FEASIBLE, exit_statuses


def add_adopt(parser: argparse.ArgumentParser) -> None:
    """Turn a parser into that of ``adopt``."""
    parser.set_defaults(run=_adopt)
    parser.epilog = exit_statuses("the run's directory is written")
    add = parser.add_argument
    add("project", type=Path, metavar="DIR", help="folder of the project; it is read, and never changed")
    for name in COMMANDS:
        add(f"--{name}", metavar="COMMAND", help=f"command to {name}, as 'python {name}.py'")
    add("--tipc", type=Path, metavar="FILE", help="use the commands of a configuration of TIPC")
    add(
        "--mode",
        choices=TIPC_MODES,
        default=TIPC_MODES[0],
        help="mode of that configuration; default: %(default)s",
    )
    add(
        "--metric",
        action="append",
        default=[],
        metavar="NAME=PATTERN",
        help="a number in the output, as 'accuracy=acc: ([0-9.]+)', or NAME=FILE.json; COMMAND: before it "
        "says whose; may be repeated",
    )
    for limit, what in (("min", "smallest"), ("max", "largest")):
        add(
            f"--{limit}",
            action="append",
            default=[],
            metavar="NAME=NUMBER",
            help=f"{what} value of a metric; may be repeated",
        )
    add(
        "--artefact",
        action="append",
        default=[],
        metavar="COMMAND=FILE",
        help="a file that a command must write; may be repeated",
    )
    add("--time-limit", type=float, default=TIME_LIMIT, metavar="S", help="seconds for each command")
    add("--target", metavar="TARGET", default="local", help="local or ssh:USER@HOST; default: %(default)s")
    add("--ssh-config", type=Path, metavar="FILE", help="configuration of the OpenSSH client")
    add("--ssh-directory", metavar="DIR", help="directory on the target")
    add("--python", metavar="PATH", help="an existing environment or interpreter on the target")
    add(
        "--requirements",
        type=Path,
        metavar="FILE",
        help="packages of a new environment; default: DIR/requirements.txt unless --python is given",
    )
    add(
        "--factory",
        metavar="MODULE:FUNCTION",
        help="what makes the network: also write a specification for generate",
    )
    add("--task", choices=TASKS, help="task of that network")
    add("-o", "--output", type=Path, metavar="RUN", required=True, help="a new or empty directory")


def _adopt(arguments: argparse.Namespace) -> int:
    config = arguments.ssh_config
    made = adopt(
        arguments.project,
        arguments.output,
        commands={name: text for name in COMMANDS if (text := getattr(arguments, name)) is not None},
        metrics=arguments.metric,
        limits=_limits(arguments.min, arguments.max),
        artefacts=arguments.artefact,
        python=arguments.python,
        requirements=arguments.requirements,
        target=arguments.target,
        ssh=Ssh(config=config and str(config.absolute()), directory=arguments.ssh_directory),
        time_limit=arguments.time_limit,
        tipc=arguments.tipc,
        mode=arguments.mode,
        factory=arguments.factory,
        task=arguments.task,
    )
    print_out(made)
    return FEASIBLE


def _limits(least: list[str], largest: list[str]) -> dict[str, tuple[float | None, float | None]]:
    """Return the least and the largest value of metrics."""
    low, high = (
        dict(_limit(flag, text) for text in texts) for flag, texts in (("min", least), ("max", largest))
    )
    return {name: (low.get(name), high.get(name)) for name in {**low, **high}}


def _limit(flag: str, text: str) -> tuple[str, float]:
    name, _, number = text.partition("=")
    try:
        value = float(number)
    except ValueError:
        value = math.nan
    if not name or not math.isfinite(value):
        raise InputError(f"--{flag} is {show(text)}; it must be NAME=NUMBER, as 'accuracy=0.8'")
    return name, value
