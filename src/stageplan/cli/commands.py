"""All commands: their parser, and the exit status of each kind of error."""

from __future__ import annotations

import argparse
import sys
from typing import Any, NoReturn

from .._version import __version__
from ..errors import InputError, StageplanError
from ..fields import sentence
from ..generate import StepError
from ..goal import Goal
from ..output import check_not_read, print_out
from ..suggestions import did_you_mean
from . import (
    adopt,
    clean,
    completion,
    demo,
    docs,
    example,
    export,
    generate,
    info,
    profile,
    report,
    say,
    search,
    sweep,
)
from .problem import files_read
from .status import BAD_INPUT, FEASIBLE, NO_PLAN, PIPE_CLOSED, exit_statuses

# First words of error sentences about values that a flag of the same name gives.
_FLAG_WORDS = (
    *Goal.__struct_fields__,
    *("seed", "population", "initial", "cell", "policy", "accept", "target", "threads"),
    *("points", "gap", "max_throughput"),
    *("device", "prices", "region", "pricing"),
    *("batch", "sequence", "layers", "precision", "measure", "on", "repeats", "max_spread"),
    *("microbatches", "max_seconds"),
    *("workers", "shard", "rows"),
    *("train", "evaluate", "export", "infer", "tipc", "metric", "artefact", "factory", "task"),
    *("requirements", "golden"),
)
_FLAGS = {word: f"--{word.replace('_', '-')}" for word in _FLAG_WORDS} | {
    "seconds": "--max-runtime",
    "generations": "--max-generations",
    "evaluations": "--max-evaluations",
    "work": "--max-work",
    "shape": "--input",
    "axes": "--axis",
}


_DESCRIPTION = "Plan which device type runs which layer of a neural network."
_FIRST = """\
first commands:
  stageplan demo                walk through the main jobs, in a few seconds
  stageplan plan ctr            plan a built-in example
  stageplan example ctr         write its files, to replace them with your own
  stageplan devices             list GPUs and other devices, with their prices
  stageplan docs first-plan     read on; stageplan docs lists all pages

stageplan --help lists all commands, stageplan COMMAND --help their options."""


def run(argv: list[str] | None) -> int:
    """Run a command; return its exit status. Without any argument, say how to begin."""
    try:
        if not (sys.argv[1:] if argv is None else argv):
            print_out(f"{_DESCRIPTION}\n\n{_FIRST}")
            return FEASIBLE
        arguments = _parse(argv)
        check_not_read("--output", getattr(arguments, "output", None), files_read(arguments))
        status: int = arguments.run(arguments)
        return status
    except StepError as error:
        return _complain(f"failed: {error}", NO_PLAN)
    except BrokenPipeError:
        return PIPE_CLOSED
    except MemoryError:
        return _complain("error: there is not enough memory", BAD_INPUT)
    except OSError as error:
        where = f"{error.filename}: " if error.filename is not None else ""
        return _complain(f"error: {where}{error.strerror or error}", BAD_INPUT)
    except ImportError as error:
        return _complain(f"error: {error}", BAD_INPUT)
    except (ValueError, StageplanError) as error:
        word, space, rest = str(error).partition(" ")
        return _complain(f"error: {_FLAGS.get(word, word)}{space}{rest}", BAD_INPUT)


def _complain(text: str, status: int) -> int:
    say(sentence(text))
    return status


def _parse(argv: list[str] | None) -> argparse.Namespace:
    arguments, unknown = make_parser().parse_known_args(argv)
    if unknown:
        near = did_you_mean(unknown[0].partition("=")[0], arguments.options)
        raise InputError(f"unrecognized arguments: {' '.join(unknown)}{near}")
    return arguments


class _Parser(argparse.ArgumentParser):
    """A parser whose errors are sentences, like all others, and suggest what may have been meant."""

    def error(self, message: str) -> NoReturn:
        raise InputError(message)

    def _check_value(self, action: argparse.Action, value: Any) -> None:
        try:
            super()._check_value(action, value)
        except argparse.ArgumentError as error:
            error.message += did_you_mean(value, action.choices or ())
            raise


def make_parser() -> argparse.ArgumentParser:
    """Make the parser of all commands."""
    parser = _Parser(
        prog="stageplan",
        description=_DESCRIPTION,
        epilog=exit_statuses(
            "done; for a plan: it meets every limit", "no plan meets every limit, or a step or case failed"
        ),
        formatter_class=argparse.RawDescriptionHelpFormatter,
        allow_abbrev=False,
    )
    parser.add_argument("--version", action="version", version=f"stageplan {__version__}")
    commands = parser.add_subparsers(metavar="COMMAND", required=True)

    def command(name: str, text: str) -> _Parser:
        made = commands.add_parser(
            name,
            help=text,
            description=f"{text[0].upper()}{text[1:]}.",
            formatter_class=argparse.RawDescriptionHelpFormatter,
            allow_abbrev=False,
        )
        made.set_defaults(options=made._option_string_actions)
        return made

    search.add_plan(command("plan", "search for the best plan"))
    search.add_pareto(command("pareto", "find the plans from the cheapest to the fastest (Pareto front)"))
    search.add_score(command("score", "score a plan, or many schemes"))
    sweep.add_sweep(command("sweep", "plan many set-ups, and write a row for each"))
    report.add_report(command("report", "show a plan, a front or a sweep in an HTML file"))
    profile.add_profile(command("profile", "profile a model into a workload"))
    export.add_export(command("export", "convert a plan to a runtime's configuration"))
    export.add_devices(command("devices", "list the devices of the catalogue"))
    generate.add_generate(command("generate", "generate a model for its target"))
    generate.add_test(command("test", "run the preset test script of a generated model"))
    clean.add_clean(command("clean", "remove what generated models left on their targets"))
    adopt.add_adopt(command("adopt", "make the test script of an existing project"))
    demo.add_demo(command("demo", "walk through the main jobs on a built-in example"), run)
    example.add_example(command("example", "write a built-in example to files, or list the examples"))
    docs.add_docs(command("docs", "print a page of the documentation, or list the pages"))
    completion.add_completion(command("completion", "print a shell's completion script"))
    info.add_schema(command("schema", "print the JSON Schema of a kind of document"))
    info.add_info(command("info", "show versions and environment, and list the built-in examples"))
    return parser
