"""``stageplan generate`` and ``test``: generate a model for its target, and test it."""

from __future__ import annotations

import argparse
from pathlib import Path

from ..generate import generate, run_test
from ..generate.cases import MODES
from ..generate.steps import STEPS
from ..output import print_note, print_out, to_json
from .status import exit_statuses, status_of


def add_generate(parser: argparse.ArgumentParser) -> None:
    """Turn a parser into that of ``generate``."""
    parser.set_defaults(run=_generate)
    parser.epilog = exit_statuses(
        "every step is complete, and every required case passed",
        "the target lacks something, a requirement is impossible, a step failed, or a required case did not "
        "pass",
        "; --resume continues",
    )
    add = parser.add_argument
    add(
        "spec", type=Path, metavar="SPEC", help="the specification, a TOML file: task, service, hardware, ..."
    )
    add("--target", metavar="TARGET", help="local or ssh:USER@HOST; default: that of SPEC")
    add("--step", choices=STEPS, help="run only this step; default: all steps")
    add("--resume", action="store_true", help="skip the steps that are complete")
    _add_mode(parser)
    add(
        "-o",
        "--output",
        type=Path,
        metavar="DIR",
        required=True,
        help="a new or empty directory, or that of an earlier run; files that you added are not lost",
    )


def _generate(arguments: argparse.Namespace) -> int:
    made = generate(
        arguments.spec,
        arguments.output,
        target=arguments.target,
        mode=arguments.mode,
        step=arguments.step,
        resume=arguments.resume,
        progress=_say,
    )
    print_out(made)
    return status_of(made.passed)


def add_test(parser: argparse.ArgumentParser) -> None:
    """Turn a parser into that of ``test``."""
    parser.set_defaults(run=_test)
    parser.epilog = exit_statuses(
        "every required case passed", "a required case did not pass, or the target cannot be reached"
    )
    parser.add_argument("directory", type=Path, metavar="DIR", help="directory of a generated model")
    _add_mode(parser)
    parser.add_argument(
        "--golden",
        type=Path,
        metavar="FILE",
        help="test-result.json of an earlier test, from whose numbers these must not differ",
    )
    parser.add_argument("--json", action="store_true", help="print JSON instead of text")


def _test(arguments: argparse.Namespace) -> int:
    result = run_test(arguments.directory, mode=arguments.mode, golden=arguments.golden, progress=_say)
    print_out(to_json(result).decode() if arguments.json else result)
    return status_of(result.passed)


def _add_mode(parser: argparse.ArgumentParser) -> None:
    parser.add_argument(
        "--mode",
        choices=MODES,
        default="full",
        help="quick: short training and inference; infer: inference only; benchmark: repeated measurements; "
        "default: %(default)s",
    )


def _say(words: str) -> None:
    print_note(words)
