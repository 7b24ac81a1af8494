"""``stageplan plan``, ``pareto`` and ``score``: search for plans, and score given ones."""

from __future__ import annotations

import argparse
import os
from collections.abc import Callable
from functools import partial, reduce
from operator import or_
from pathlib import Path
from typing import Any

import numpy as np

from .. import interrupts, plan_file
from ..errors import InputError
from ..fields import sentence
from ..learning.policy import CELLS, Policy
from ..log import LOGGER, search_line
from ..output import STDOUT, check_output, compose, deliver, print_note, write_and_print
from ..pareto import pareto
from ..problem import Problem
from ..readers.arrays import map_npy
from ..readers.bounded import about
from ..repair import repair
from ..result import Result
from ..score import Schemes, Scores, as_schemes, evaluate
from ..solve import ACCEPT, METHODS, solve
from ..stop import FirstFeasible, MaxEvaluations, MaxGenerations, MaxRuntime, MaxWork, Stop
from ..writers import PIPELINES, Target, check_pipelines, target
from .amounts import count, number, seconds
from .problem import add_json_output, add_problem, add_threads, make_problem, print_notes
from .status import exit_statuses, status_of
from .verbosity import add_verbosity, search_progress

# Methods that use a flag.
_POPULATED = ("auto", "genetic", "reinforce", "annealing")
_USES = {"population": _POPULATED, "threads": (*_POPULATED, "random", "enumerate")}


def add_plan(parser: argparse.ArgumentParser) -> None:
    """Turn a parser into that of ``plan``."""
    parser.set_defaults(run=_plan)
    parser.epilog = exit_statuses(
        "the plan meets every limit",
        "no plan found does; the output lists the limits that the best one breaks, by how much, and which "
        "changes would be sufficient",
        "; the best plan so far is printed and written",
    )
    add_problem(parser)
    add = parser.add_argument_group(
        "search",
        "The search stops at the first --max-... reached or, by default, after 200\n"
        "generations without improvement; exact, greedy and enumerate, and auto with a\n"
        "proof, also stop when they are complete.",
    ).add_argument
    add(
        "--method",
        choices=METHODS,
        default="auto",
        metavar="METHOD",
        help=f"{', '.join(METHODS)}; default: %(default)s",
    )
    add(
        "--seed",
        type=int,
        default=0,
        metavar="N",
        help="the same seed gives the same plan; default: %(default)s",
    )
    add(
        "--population",
        type=count,
        metavar="N",
        help="schemes per generation; default: 256, with reinforce 32 (auto, genetic, reinforce, annealing)",
    )
    add_threads(parser, "default: all available cores (exact and greedy use one)")
    add(
        "--max-runtime",
        type=seconds,
        metavar="SECONDS",
        help="stop after this time, as 90, 15min or 1h; if no plan is feasible, the search for sufficient "
        "changes of the limits takes at most as long again",
    )
    add("--max-generations", type=count, metavar="N", help="stop after this many generations")
    add("--max-evaluations", type=count, metavar="N", help="stop after scoring this many schemes")
    add(
        "--max-work",
        type=count,
        metavar="N",
        help="stop after this work, a count equal on every machine",
    )
    add("--first-feasible", action="store_true", help="stop at the first plan that meets every limit")
    add(
        "--for",
        dest="runtime",
        type=_runtime,
        choices=PIPELINES,
        metavar="RUNTIME",
        help="plan only what this runtime can run, with its strategies, equal replicas and its places for "
        f"cuts: {', '.join(PIPELINES)}",
    )
    add(
        "--initial",
        type=Path,
        metavar="PLAN",
        help="start from the scheme of this plan (auto, exact, genetic, reinforce, annealing)",
    )
    add(
        "--checkpoint",
        type=Path,
        metavar="FILE",
        help="keep the state of the search in this file; if it exists, continue from it, to the same result "
        "as if the search had never been ended (stageplan docs long-runs)",
    )
    add(
        "--checkpoint-every",
        type=float,
        default=60.0,
        metavar="SECONDS",
        help="time between two writes of that file; default: %(default)g",
    )
    add = parser.add_argument_group("method reinforce").add_argument
    add("--cell", choices=CELLS, help="cell of the policy's network; default: lstm, or that of --policy")
    add("--policy", type=Path, metavar="FILE", help="continue from a saved policy")
    add("--save-policy", type=Path, metavar="FILE", help="save the trained policy as NumPy .npz")
    add(
        "--accept",
        choices=ACCEPT,
        help="return the best plan (the default) or, with --max-cost, the plan of the shortest duration",
    )
    add_verbosity(parser)
    add_json_output(parser, "write JSON; - for stdout")


def _runtime(text: str) -> str:
    try:
        check_pipelines("it", text)
    except ValueError as error:
        raise argparse.ArgumentTypeError(str(error)) from None
    return text


def _plan(arguments: argparse.Namespace) -> int:
    check_output("--output", arguments.output)
    _check_save_policy(arguments)
    _check_checkpoint(arguments)
    for name, methods in _USES.items():
        if getattr(arguments, name) is not None and arguments.method not in methods:
            raise InputError(
                f"--{name} requires --method {', '.join(methods)}; {arguments.method} ignores it"
            )
    stop = _stop(arguments)
    policy = None if arguments.policy is None else Policy.load(arguments.policy)
    problem = make_problem(arguments)
    initial = None
    if arguments.initial is not None:
        saved = plan_file.read_plan(arguments.initial)
        with about(arguments.initial):
            initial = plan_file.restore(problem, saved)
    within = None if arguments.runtime is None else target(problem, arguments.runtime)
    with search_progress(arguments) as callback:
        result, failed = _search(
            partial(solve, problem) if within is None else within.solve,
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
            checkpoint=arguments.checkpoint,
            checkpoint_every=arguments.checkpoint_every,
        )
        LOGGER.info("%s; %s", _line(result), result.status)
    try:
        interrupted = _deliver_plan(arguments, problem if within is None else within, result)
    finally:
        _save_policy(arguments.save_policy, result)
    print_notes(arguments)
    if failed is not None:
        raise failed
    return interrupts.exit_status() if interrupted else status_of(result.plan.feasible)


def _search(solve: Callable[..., Result], *arguments: Any, **options: Any) -> tuple[Result, OSError | None]:
    """Search; return the plan also if the checkpoint could not be written, with the error."""
    try:
        return solve(*arguments, **options), None
    except OSError as error:
        if isinstance(result := getattr(error, "result", None), Result):
            return result, error
        raise


def _line(result: Result) -> str:
    return search_line(
        result.plan,
        result.plan.problem.goal.objective,
        bound=result.bound,
        gap=result.gap,
        evaluations=result.evaluations,
        work=result.work,
        runtime=result.runtime,
    )


def _save_policy(path: Path | None, result: Result) -> None:
    if path is None:
        return
    if result.policy is None:
        reason = "the search was stopped before its first step"
        print_note(sentence(f"stageplan: note: {path}: no policy was saved, since {reason}"))
    else:
        result.policy.save(path)


def _check_save_policy(arguments: argparse.Namespace) -> None:
    path, output = arguments.save_policy, arguments.output
    if path is None:
        return
    check_output("--save-policy", path)
    if arguments.method != "reinforce":
        raise InputError(f"--save-policy requires --method reinforce; {arguments.method} trains no policy")
    if output is not None and os.path.realpath(output) == os.path.realpath(path):
        raise InputError(f"--save-policy is {path}, the same file as --output; it must be another one")


def _check_checkpoint(arguments: argparse.Namespace) -> None:
    path = arguments.checkpoint
    for name in ("output", "save_policy", "policy", "initial"):
        other = getattr(arguments, name)
        if None not in (path, other) and os.path.realpath(other) == os.path.realpath(path):
            flag = f"--{name.replace('_', '-')}"
            raise InputError(f"--checkpoint is {path}, the same file as {flag}; it must be another one")


def _deliver_plan(arguments: argparse.Namespace, problem: Problem | Target, result: Result) -> bool:
    """Print and write a plan, with repairs if it is infeasible; return whether it was interrupted."""
    changes, values, interrupted = "", result.to_dict(), result.interrupted
    try:
        if not result.plan.feasible and not interrupted:
            repairs = partial(repair, problem) if isinstance(problem, Problem) else problem.repair
            repaired = repairs(max_runtime=arguments.max_runtime)
            changes, values = str(repaired), values | {"repair": repaired.to_dict()}
    except KeyboardInterrupt:
        interrupted = True
    finally:
        deliver(arguments.output, compose(result, *changes.splitlines()), values)
    return interrupted


def _stop(arguments: argparse.Namespace) -> Stop | None:
    """Combine the --max-... flags; None where there are none."""
    asked = (
        (MaxRuntime, arguments.max_runtime),
        (MaxGenerations, arguments.max_generations),
        (MaxEvaluations, arguments.max_evaluations),
        (MaxWork, arguments.max_work),
    )
    criteria: list[Stop] = [criterion(value) for criterion, value in asked if value is not None]
    if arguments.first_feasible:
        criteria.append(FirstFeasible())
    return reduce(or_, criteria) if criteria else None


def add_pareto(parser: argparse.ArgumentParser) -> None:
    """Turn a parser into that of ``pareto``."""
    parser.set_defaults(run=_pareto)
    parser.epilog = exit_statuses(
        "there is a plan, or several, that meet every limit",
        "no plan found meets every limit",
        "; the plans found so far are printed and written",
    )
    add_problem(parser)
    add = parser.add_argument_group("front").add_argument
    add(
        "--against",
        choices=("cost", "price"),
        default="cost",
        help="second axis: total cost, or hourly price",
    )
    add(
        "--points",
        type=int,
        metavar="N",
        help="number of throughputs to plan for; default: 20, unless --gap is given",
    )
    add(
        "--gap",
        type=float,
        metavar="G",
        help="instead: relative optimality gap of the front, such as 0.05",
    )
    add(
        "--max-throughput",
        type=number,
        metavar="X",
        help="highest throughput of the front, examples/s; default: that of the fastest plan",
    )
    add("--max-runtime", type=seconds, metavar="SECONDS", help="stop after this time, as 90, 15min or 1h")
    add_verbosity(parser)
    add_json_output(parser, "write JSON; - for stdout")


def _pareto(arguments: argparse.Namespace) -> int:
    check_output("--output", arguments.output)
    problem = make_problem(arguments)
    stop = None if arguments.max_runtime is None else MaxRuntime(arguments.max_runtime)
    with search_progress(arguments) as callback:
        front = pareto(
            problem,
            against=arguments.against,
            points=arguments.points,
            gap=arguments.gap,
            max_throughput=arguments.max_throughput,
            stop=stop,
            callback=callback,
        )
        LOGGER.info("%.1f s: %s points", front.runtime, f"{len(front.points):,}")
    deliver(arguments.output, front, front.to_dict())
    print_notes(arguments)
    return interrupts.exit_status() if front.interrupted else status_of(bool(front.points))


def add_score(parser: argparse.ArgumentParser) -> None:
    """Turn a parser into that of ``score``."""
    parser.set_defaults(run=_score)
    parser.epilog = exit_statuses("the plan, or one of the schemes, meets every limit", "none does")
    add_problem(parser)
    parser.add_argument(
        "schemes",
        type=Path,
        metavar="SCHEMES",
        help="a plan in JSON, scored for the goal in it unless flags change it; or an .npy of int8, one "
        "scheme per row",
    )
    parser.add_argument(
        "--target",
        type=number,
        metavar="X",
        help="for an .npy: give each stage the fewest devices that reach X examples/s; default: the devices "
        "that are best for the goal",
    )
    add_threads(parser, "for an .npy; default: all available cores")
    add_json_output(
        parser,
        "write the plan as JSON; the scores as JSON (.json) or else NumPy's .npz; - for JSON on stdout",
    )


def _score(arguments: argparse.Namespace) -> int:
    check_output("--output", arguments.output)
    return _score_schemes(arguments) if arguments.schemes.suffix == ".npy" else _score_plan(arguments)


def _score_plan(arguments: argparse.Namespace) -> int:
    if arguments.target is not None:
        raise InputError("--target requires schemes in an .npy; a plan is provisioned for its goal")
    if arguments.threads is not None:
        raise InputError("--threads requires schemes in an .npy; a plan is scored by one thread")
    saved = plan_file.read_plan(arguments.schemes)
    problem = make_problem(arguments, saved.goal)
    with about(arguments.schemes):
        plan = plan_file.restore(problem, saved)
    deliver(arguments.output, plan, plan.to_dict())
    print_notes(arguments)
    return status_of(plan.feasible)


def _score_schemes(arguments: argparse.Namespace) -> int:
    problem = make_problem(arguments)
    schemes = _read_schemes(arguments.schemes, problem)
    problem.scorer(arguments.target)  # checks the target
    with about(arguments.schemes):
        scores = evaluate(problem, schemes, arguments.target, threads=arguments.threads)
    output: Path | None = arguments.output
    text = f"{problem}\n{_summary(problem, scores)}"
    arrays = {name: values for name, values in scores._asdict().items() if values is not None}
    if output in (None, STDOUT) or output.suffix == ".json":
        deliver(output, text, {name: values.tolist() for name, values in arrays.items()})
    else:
        write_and_print(output, lambda stream: np.savez(stream, **arrays), text)
    print_notes(arguments)
    return status_of(bool((scores.violation == 0).any()))


def _read_schemes(path: Path, problem: Problem) -> Schemes:
    with about(path):
        try:
            return as_schemes(problem, map_npy(path), "the array")
        except TypeError as error:
            raise InputError(str(error)) from None


def _summary(problem: Problem, scores: Scores) -> str:
    feasible = scores.violation == 0
    text = f"{len(feasible):,} schemes, {feasible.sum():,} feasible"
    if not len(feasible):
        return text
    fastest = problem.goal.objective == "throughput"
    objective = -scores.throughput if fastest else getattr(scores, problem.goal.objective)
    best = np.lexsort((objective, scores.violation))[0]
    text += f"\nbest: scheme {best}, cost ${scores.cost[best]:,.2f}"
    text += f", throughput {scores.throughput[best]:,.6g} examples/s"
    if scores.price is not None:
        text += f", price ${scores.price[best]:,.4g}/h"
    violation = scores.violation[best]
    return f"{text}, violation {violation:.4g}" if violation else text
