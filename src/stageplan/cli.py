"""The command line: ``stageplan COMMAND``; `main` lists the commands."""

from __future__ import annotations

import argparse
import os
import platform
import sys
import tomllib
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from functools import reduce
from importlib import resources
from operator import or_
from pathlib import Path
from typing import NoReturn

import msgspec
import numpy as np

from . import _core, cli_profile, plan_file
from ._version import __version__
from .catalogue import device_table, make_cluster
from .cluster import Cluster
from .device import Device
from .generate import StepError, generate, run_test
from .generate.spec import schema as spec_schema
from .generate.steps import MODES, STEPS
from .goal import Goal
from .output import check_output, deliver, print_out, progress_line, to_json, write_and_print
from .pareto import pareto
from .policy import CELLS, Policy
from .problem import Problem
from .readers import native, read_cluster, read_devices, read_goal, read_workload
from .repair import Repair, repair
from .score import Schemes, Scores, as_schemes, evaluate
from .solve import ACCEPT, METHODS, Result, solve
from .stop import FirstFeasible, MaxEvaluations, MaxGenerations, MaxRuntime, Stop
from .writers import RUNTIMES, Export, export, write
from .writers.split import Split

FEASIBLE, NO_PLAN, BAD_INPUT, INTERRUPTED, PIPE_CLOSED = 0, 1, 2, 130, 141

_EPILOG = """\
exit status:
  0    the plan meets every limit
  1    no plan found does; the table says which limits the best one breaks, and by how much, and the lines
       below it which changes would do
  2    bad input; one sentence on stderr says what
  130  interrupted (Ctrl-C); the best plan so far is printed and written all the same
"""

_GENERATE_EPILOG = """\
exit status:
  0    every step was done, and every case that had to pass the test did
  1    the target lacks something, a requirement is impossible, a step failed, or a case that had to pass did
       not
  2    bad input; one sentence on stderr says what
  130  interrupted (Ctrl-C); --resume continues
"""

_GOAL_NUMBERS = {
    "examples": ("N", "examples to process"),
    "min_throughput": ("X", "least examples/s"),
    "max_duration": ("SECONDS", "most seconds for all examples"),
    "max_cost": ("$", "most that processing all examples may cost"),
    "max_price": ("$/H", "most that the devices may cost an hour"),
}

# The first word of a sentence about a value -> the flag that gives this value.
_FLAGS = {name: f"--{name.replace('_', '-')}" for name in Goal.__struct_fields__} | {
    "seed": "--seed",
    "population": "--population",
    "initial": "--initial",
    "cell": "--cell",
    "policy": "--policy",
    "accept": "--accept",
    "target": "--target",
    "threads": "--threads",
    "seconds": "--max-runtime",
    "generations": "--max-generations",
    "evaluations": "--max-evaluations",
    "points": "--points",
    "gap": "--gap",
    "max_throughput": "--max-throughput",
    "device": "--device",
    **{
        name: f"--{name}"
        for name in ("batch", "sequence", "layers", "precision", "measure", "repeats", "microbatches")
    },
    "shape": "--input",
    "max_spread": "--max-spread",
    "max_seconds": "--max-seconds",
    "prices": "--prices",
    "region": "--region",
    "spot": "--spot",
}


def main(argv: list[str] | None = None) -> int:
    """Run a command.

    Parameters
    ----------
    argv
        Arguments without the program's name; default: those of the process.

    Returns
    -------
    int
        Exit status: 0 feasible; 1 no feasible plan; 2 bad input, after one sentence on stderr; 130
        interrupted, the best plan so far printed and written; 141 the reader of stdout has gone.
    """
    try:
        arguments = _parser().parse_args(argv)
        status: int = arguments.run(arguments)
        return status
    except KeyboardInterrupt:
        return _complain("interrupted", INTERRUPTED)
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
    except ValueError as error:
        word, space, rest = str(error).partition(" ")
        return _complain(f"error: {_FLAGS.get(word, word)}{space}{rest}", BAD_INPUT)


def _complain(sentence: str, status: int) -> int:
    print(f"stageplan: {sentence}", file=sys.stderr)
    return status


# Arguments ----------------------------------------------------------------------------------------------


class _Parser(argparse.ArgumentParser):
    """A parser whose errors are sentences, like all others."""

    def error(self, message: str) -> NoReturn:
        raise ValueError(message)


def _parser() -> _Parser:
    parser = _Parser(
        prog="stageplan",
        description="Plan which device type runs which layer of a neural network.",
        epilog=_EPILOG,
        formatter_class=argparse.RawDescriptionHelpFormatter,
        allow_abbrev=False,
    )
    parser.add_argument("--version", action="version", version=f"stageplan {__version__}")
    commands = parser.add_subparsers(metavar="COMMAND", required=True)

    def command(
        name: str, run: Callable[[argparse.Namespace], int], text: str, epilog: str = _EPILOG
    ) -> _Parser:
        added = commands.add_parser(
            name,
            help=text,
            description=f"{text[0].upper()}{text[1:]}.",
            epilog=epilog,
            formatter_class=argparse.RawDescriptionHelpFormatter,
            allow_abbrev=False,
        )
        added.set_defaults(run=run)
        return added

    _add_plan(command("plan", _plan, "search for the best plan"))
    _add_pareto(command("pareto", _pareto, "plan from the cheapest to the fastest"))
    _add_score(command("score", _score, "score a plan, or many schemes"))
    cli_profile.add_arguments(command("profile", _profile, "make a workload of a network"))
    _add_export(command("export", _export, "say a plan in the words of a runtime"))
    _add_devices(command("devices", _list_devices, "list the devices of the catalogue"))
    _add_generate(command("generate", _generate, "make a model that runs on its target", _GENERATE_EPILOG))
    _add_test(command("test", _test, "run the preset test script of what was generated", _GENERATE_EPILOG))
    documents = command("schema", _schema, "print the JSON Schema of a kind of document")
    documents.add_argument("kind", choices=("workload", "cluster", "devices", "plan", "spec"))
    command("info", _info, "say what is installed, and list the built-in examples")
    return parser


def _add_plan(parser: _Parser) -> None:
    _add_problem(parser)
    add = parser.add_argument_group(
        "search",
        "It ends at the first --max-... reached, or, where none is given, after 200 generations without a "
        "better plan; exact, greedy, enumerate and, with a proof, auto end by themselves as well.",
    ).add_argument
    add("--method", choices=METHODS, default="auto", help="default: %(default)s")
    add("--seed", type=int, default=0, metavar="N", help="the same seed gives the same plan; default: 0")
    add(
        "--population",
        type=int,
        metavar="N",
        help="schemes a generation; default: 256, with reinforce 32",
    )
    add("--max-runtime", type=float, metavar="SECONDS", help="seconds to search")
    add("--max-generations", type=int, metavar="N", help="generations to search")
    add("--max-evaluations", type=int, metavar="N", help="schemes to score")
    add("--first-feasible", action="store_true", help="end at the first plan that meets every limit")
    add(
        "--initial",
        type=Path,
        metavar="PLAN",
        help="begin with the scheme of this plan (auto, exact, genetic, reinforce, annealing)",
    )
    add = parser.add_argument_group("method reinforce").add_argument
    add("--cell", choices=CELLS, help="of the policy's network; default: lstm, or what --policy has")
    add("--policy", type=Path, metavar="FILE", help="go on from a policy that was saved")
    add("--save-policy", type=Path, metavar="FILE", help="write what was learned, as NumPy's .npz")
    add(
        "--accept",
        choices=ACCEPT,
        help="keep the best plan (the default), or, with a --max-cost, the one of the shortest duration",
    )
    parser.add_argument("-o", "--output", type=Path, metavar="FILE", help="write JSON; - for stdout")


def _add_pareto(parser: _Parser) -> None:
    _add_problem(parser)
    add = parser.add_argument_group("front").add_argument
    add(
        "--against",
        choices=("cost", "price"),
        default="cost",
        help="what throughput costs: all examples; an hour",
    )
    add("--points", type=int, metavar="N", help="throughputs to plan for; default: 20, unless --gap is given")
    add(
        "--gap",
        type=float,
        metavar="G",
        help="instead: the most that a plan left out may be cheaper by, as 0.05",
    )
    add(
        "--max-throughput",
        type=float,
        metavar="X",
        help="examples/s at which to end; default: the fastest plan",
    )
    add("--max-runtime", type=float, metavar="SECONDS", help="seconds to search")
    parser.add_argument("-o", "--output", type=Path, metavar="FILE", help="write JSON; - for stdout")


def _add_score(parser: _Parser) -> None:
    _add_problem(parser)
    parser.add_argument(
        "schemes",
        metavar="SCHEMES",
        type=Path,
        help="a plan's JSON, scored for the goal in it where no flag says otherwise; or an .npy of int8, "
        "one scheme a row",
    )
    parser.add_argument(
        "--target",
        type=float,
        metavar="X",
        help="give each stage of an .npy's schemes the fewest devices that reach X examples/s; default: the "
        "devices that serve the goal best",
    )
    parser.add_argument(
        "-o",
        "--output",
        type=Path,
        metavar="FILE",
        help="write the plan as JSON; the scores as JSON (.json) or else NumPy's .npz; - for JSON on stdout",
    )


def _add_generate(parser: _Parser) -> None:
    add = parser.add_argument
    add("spec", metavar="SPEC", type=Path, help="a TOML file of what is wanted: task, service, hardware, ...")
    add(
        "-o", "--output", metavar="DIR", type=Path, required=True, help="a new directory, or an earlier run's"
    )
    add("--target", metavar="TARGET", help="local or ssh:USER@HOST; default: what SPEC says")
    add("--step", choices=STEPS, help="this step alone; default: all")
    add("--resume", action="store_true", help="skip the steps whose result is there and whole")
    _add_mode(parser)


def _add_test(parser: _Parser) -> None:
    parser.add_argument("directory", metavar="DIR", type=Path, help="directory of what was generated")
    _add_mode(parser)


def _add_mode(parser: _Parser) -> None:
    parser.add_argument(
        "--mode",
        choices=MODES,
        default="full",
        help="quick: train and infer shortly; infer: test the inference alone; default: full",
    )


def _add_export(parser: _Parser) -> None:
    add = parser.add_argument
    add("plan", metavar="PLAN", type=Path, help="a plan's JSON, as plan -o writes it")
    add("--to", choices=RUNTIMES, required=True, help="the runtime")
    add("--workload", help="what the plan is of: then the runtime's own split is compared with the plan's")
    _add_hardware(parser)
    add("-o", "--output", type=Path, metavar="FILE", help="write what the runtime takes; - for stdout")


def _add_devices(parser: _Parser) -> None:
    _add_catalogue(parser)
    parser.add_argument("-o", "--output", type=Path, metavar="FILE", help="write JSON; - for stdout")


def _add_catalogue(parser: _Parser) -> argparse._ArgumentGroup:
    group = parser.add_argument_group("devices of the catalogue")
    add = group.add_argument
    add("--devices", metavar="FILE", help="a catalogue of one's own, besides the built-in one")
    add("--prices", metavar="CSV", help="a price list of SkyPilot's form instead of the catalogue's prices")
    add("--region", help="prices of this region; default: the cheapest of all")
    add("--spot", action="store_true", help="spot prices of the list, not those on demand")
    return group


def _add_hardware(parser: _Parser) -> None:
    parser.add_argument("--cluster", help="a file or a built-in example; default: the workload's own")
    parser.add_argument("--batch", type=float, metavar="B", help="examples that the workload's times are of")
    _add_catalogue(parser).add_argument(
        "--device",
        action="append",
        metavar="NAME[:COUNT][@PRICE]",
        help="instead of a cluster: so many devices of a type, at so many $/hour each; once for each type",
    )


def _add_problem(parser: _Parser) -> None:
    parser.add_argument("workload", metavar="WORKLOAD", help="a file, or the name of a built-in example")
    _add_hardware(parser)
    parser.add_argument("--threads", type=int, metavar="N", help="default: the cores that may be used")
    add = parser.add_argument_group("goal (default: what the workload's file asks for)").add_argument
    add("--objective", choices=("cost", "throughput"), help="the cheapest plan, or the fastest")
    for name, (metavar, text) in _GOAL_NUMBERS.items():
        add(_FLAGS[name], type=float, metavar=metavar, help=text)
    add("--merge", choices=("adjacent", "type"), help="layers of a stage: neighbours, or all of a type")
    add("--split", action=argparse.BooleanOptionalAction, help="several stages may have the same type")
    add("--overlap", action=argparse.BooleanOptionalAction, help="stages transfer while they compute")
    add("--max-devices-per-stage", type=int, metavar="K", help="most devices that share a stage")


def _problem(arguments: argparse.Namespace, goal: Goal | None = None) -> Problem:
    """Make the problem of the files and flags; a goal given here stands for the one of the workload."""
    workload = read_workload(arguments.workload, batch=arguments.batch)
    flags = {name: getattr(arguments, name, None) for name in Goal.__struct_fields__}
    flags = {name: value for name, value in flags.items() if value is not None}
    goal = msgspec.structs.replace(goal or read_goal(arguments.workload) or Goal(), **flags)
    return Problem(workload, _cluster(arguments), goal)


def _cluster(arguments: argparse.Namespace) -> Cluster:
    if arguments.device:
        if arguments.cluster is not None:
            raise ValueError(f"--cluster is {arguments.cluster}; it must not be given with --device")
        return make_cluster(arguments.device, _catalogue(arguments))
    for name in ("devices", "prices", "region", "spot"):
        if getattr(arguments, name):
            raise ValueError(f"--{name} goes with --device; at least one device must be given")
    if arguments.cluster is not None:
        return read_cluster(arguments.cluster)
    try:
        return read_cluster(arguments.workload)
    except ValueError as error:
        raise ValueError(f"{error}, or --cluster or --device must be given") from None


def _catalogue(arguments: argparse.Namespace) -> dict[str, Device]:
    return read_devices(
        arguments.devices, prices=arguments.prices, region=arguments.region, spot=arguments.spot
    )


def _stop(arguments: argparse.Namespace) -> Stop | None:
    """Combine the --max-... flags; None where there are none."""
    asked = (
        (MaxRuntime, arguments.max_runtime),
        (MaxGenerations, arguments.max_generations),
        (MaxEvaluations, arguments.max_evaluations),
    )
    criteria: list[Stop] = [criterion(value) for criterion, value in asked if value is not None]
    if arguments.first_feasible:
        criteria.append(FirstFeasible())
    return reduce(or_, criteria) if criteria else None


# Commands -----------------------------------------------------------------------------------------------


def _plan(arguments: argparse.Namespace) -> int:
    check_output("--output", arguments.output)
    check_output("--save-policy", arguments.save_policy)
    if arguments.save_policy is not None and arguments.method != "reinforce":
        raise ValueError(f"--save-policy goes with --method reinforce, and not with {arguments.method}")
    stop, problem = _stop(arguments), _problem(arguments)
    policy = None if arguments.policy is None else Policy.load(arguments.policy)
    initial = None
    if arguments.initial is not None:
        saved = plan_file.read_plan(arguments.initial)
        with _about(arguments.initial):
            initial = plan_file.restore(problem, saved).scheme[None]
    with progress_line() as callback:
        result = solve(
            problem,
            arguments.method,
            seed=arguments.seed,
            stop=stop,
            callback=callback,
            initial=initial,
            population=arguments.population,
            threads=arguments.threads,
            cell=arguments.cell,
            policy=policy,
            accept=arguments.accept,
        )
    if result.policy is not None and arguments.save_policy is not None:
        result.policy.save(arguments.save_policy)
    changes = _repair(problem, result)
    text, values = str(result), result.to_dict()
    if changes is not None:
        text, values = f"{text}\n{changes}", values | {"repair": changes.to_dict()}
    deliver(arguments.output, text, values)
    return INTERRUPTED if result.interrupted else _status(result.plan.feasible)


def _repair(problem: Problem, result: Result) -> Repair | None:
    """Find what would make a plan fit, where none does and nobody has lost patience."""
    if result.plan.feasible or result.interrupted:
        return None
    try:
        return repair(problem)
    except KeyboardInterrupt:
        return None


def _pareto(arguments: argparse.Namespace) -> int:
    check_output("--output", arguments.output)
    problem = _problem(arguments)
    stop = None if arguments.max_runtime is None else MaxRuntime(arguments.max_runtime)
    with progress_line() as callback:
        front = pareto(
            problem,
            against=arguments.against,
            points=arguments.points,
            gap=arguments.gap,
            max_throughput=arguments.max_throughput,
            stop=stop,
            callback=callback,
        )
    deliver(arguments.output, str(front), front.to_dict())
    return INTERRUPTED if front.interrupted else _status(bool(front.points))


def _score(arguments: argparse.Namespace) -> int:
    check_output("--output", arguments.output)
    return _score_schemes(arguments) if arguments.schemes.suffix == ".npy" else _score_plan(arguments)


def _score_plan(arguments: argparse.Namespace) -> int:
    if arguments.target is not None:
        raise ValueError("--target goes with schemes in an .npy; a plan's devices serve its goal best")
    saved = plan_file.read_plan(arguments.schemes)
    problem = _problem(arguments, saved.goal)
    with _about(arguments.schemes):
        plan = plan_file.restore(problem, saved)
    deliver(arguments.output, str(plan), plan.to_dict())
    return _status(plan.feasible)


def _score_schemes(arguments: argparse.Namespace) -> int:
    problem = _problem(arguments)
    schemes = _read_schemes(arguments.schemes, problem)
    problem.scorer(arguments.target)  # refuses a bad target in its own words
    with _about(arguments.schemes):
        scores = evaluate(problem, schemes, arguments.target, threads=arguments.threads)
    output: Path | None = arguments.output
    text = f"{problem}\n{_summary(problem, scores)}"
    if output is None or str(output) == "-" or output.suffix == ".json":
        deliver(output, text, {name: values.tolist() for name, values in scores._asdict().items()})
    else:
        write_and_print(output, lambda stream: np.savez(stream, **scores._asdict()), text)
    return _status(bool((scores.violation == 0).any()))


def _read_schemes(path: Path, problem: Problem) -> Schemes:
    try:
        return as_schemes(problem, np.lib.format.open_memmap(path, mode="r"), "the array")
    except (TypeError, ValueError) as error:
        raise ValueError(f"{path}: it is no .npy of schemes: {error}") from None


def _summary(problem: Problem, scores: Scores) -> str:
    feasible = scores.violation == 0
    text = f"{len(feasible):,} schemes, {feasible.sum():,} feasible"
    if not len(feasible):
        return text
    objective = scores.cost if problem.goal.objective == "cost" else -scores.throughput
    best = np.lexsort((objective, scores.violation))[0]
    cost, throughput, violation = (values[best] for values in scores)
    broken = f", violation {violation:.4g}" if violation else ""
    return f"{text}\nbest: scheme {best}, cost ${cost:,.2f}, throughput {throughput:,.6g} examples/s{broken}"


def _profile(arguments: argparse.Namespace) -> int:
    cli_profile.run(arguments)
    return FEASIBLE


def _export(arguments: argparse.Namespace) -> int:
    output: Path | None = arguments.output
    check_output("--output", output)
    saved = plan_file.read_plan(arguments.plan)
    with _about(arguments.plan):
        exported, feasible = _exported(arguments, saved)
    remarks = exported.remarks if feasible else f"note: the plan breaks limits\n{exported.remarks}".rstrip()
    if output is None or str(output) == "-":
        print_out(exported.text.rstrip("\n"))
        print(remarks, file=sys.stderr, end="\n" if remarks else "")
    else:
        write_and_print(output, lambda stream: stream.write(exported.text.encode()), remarks)
    return _status(feasible)


def _exported(arguments: argparse.Namespace, saved: plan_file.SavedPlan) -> tuple[Export, bool]:
    """(Export, whether the plan is feasible); with the workload, beside the runtime's own split."""
    if arguments.workload is not None:
        plan = plan_file.restore(_problem(arguments, saved.goal), saved)
        return export(plan, arguments.to), plan.feasible
    for name in ("cluster", "device", "batch", "devices", "prices", "region", "spot"):
        if getattr(arguments, name):
            raise ValueError(f"--{name} goes with --workload; it must be given")
    return Export(arguments.to, *write(Split.of_saved(saved), arguments.to)), saved.feasible


def _list_devices(arguments: argparse.Namespace) -> int:
    check_output("--output", arguments.output)
    devices = _catalogue(arguments)
    deliver(arguments.output, device_table(devices), {"devices": list(devices.values())})
    return FEASIBLE


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
    print_out(str(made))
    return _status(made.passed)


def _test(arguments: argparse.Namespace) -> int:
    result = run_test(arguments.directory, mode=arguments.mode, progress=_say)
    print_out(str(result))
    return _status(result.passed)


def _say(words: str) -> None:
    print(words, file=sys.stderr, flush=True)


def _schema(arguments: argparse.Namespace) -> int:
    kind = arguments.kind
    own = {"plan": plan_file.schema, "spec": spec_schema}
    print_out(to_json(own[kind]() if kind in own else native.schema(kind)).decode())
    return FEASIBLE


def _info(arguments: argparse.Namespace) -> int:
    lines = [f"stageplan {__version__}"]
    facts = {
        "instruction set": _core.instruction_set(),
        "Python": platform.python_version(),
        "numpy": np.__version__,
        "cores": len(os.sched_getaffinity(0)) if hasattr(os, "sched_getaffinity") else os.cpu_count(),
    }
    lines += [f"{name:<16} {value}" for name, value in facts.items()]
    for kind, field in (("workloads", "layers"), ("clusters", "types")):
        lines += [f"built-in {kind}:", *_examples(field)]
    print_out("\n".join(lines))
    return FEASIBLE


def _examples(field: str) -> Iterator[str]:
    """Name and headline of the built-in files that have this field."""
    for file in sorted((resources.files("stageplan") / "data").iterdir(), key=lambda file: file.name):
        text = file.read_text(encoding="utf-8") if file.name.endswith(".toml") else ""
        if field in tomllib.loads(text):
            headline = text.partition("\n")[0].removeprefix("# ").partition(". ")[0].removesuffix(".")
            yield f"  {file.name.removesuffix('.toml'):<14} {headline}"


def _status(feasible: bool) -> int:
    return FEASIBLE if feasible else NO_PLAN


@contextmanager
def _about(path: Path) -> Iterator[None]:
    """Begin the sentence of an error with the file that it is about."""
    try:
        yield
    except ValueError as error:
        raise ValueError(f"{path}: {error}") from None
