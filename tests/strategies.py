"""Random problems, as the arguments of ``Problem.from_arrays``.

``problems`` and ``open_problems`` are Hypothesis strategies, which shrink what fails; ``random_problem``
draws from a numpy generator, for plain loops over many problems. Numbers are partly round, so that ties
happen, and limits bind about as often as not.
"""

from collections.abc import Callable
from math import inf
from typing import Any, TypeVar

import numpy as np
from hypothesis import strategies as st

T = TypeVar("T")
Arguments = dict[str, Any]
Tensors = list[tuple[int, tuple[int, ...], float]]

ROUND = (0.5, 1.0, 1.0, 2.0, 3.0, 4.0)
FRACTIONS = (0.0, 0.5, 0.75, 0.9, 1.0)
GOALS = ("min_throughput", "max_duration", "max_cost", "max_price")

# Hypothesis --------------------------------------------------------------------------------------------


def numbers(low: float = 0.01, high: float = 8.0) -> st.SearchStrategy[float]:
    """Draw round numbers and any others between low and high."""
    rounds = [x for x in ROUND if low <= x <= high]
    return st.sampled_from(rounds) | st.floats(low, high, allow_subnormal=False)


def fractions(high: float = 1.0) -> st.SearchStrategy[float]:
    """Draw parallel fractions up to high."""
    return st.sampled_from([x for x in FRACTIONS if x <= high]) | st.floats(0.5, high)


def arrays(elements: st.SearchStrategy[float], *shape: int) -> st.SearchStrategy[Any]:
    """Draw nested lists of the given shape."""
    size, *rest = shape
    inner = arrays(elements, *rest) if rest else elements
    return st.lists(inner, min_size=size, max_size=size)


@st.composite
def compute_tables(draw: st.DrawFn, n_layers: int, n_types: int) -> list[list[float]]:
    """Draw seconds; some layers run on some types only, each on at least one, and some take no time."""
    table: list[list[float]] = draw(arrays(numbers(), n_layers, n_types))
    cells = st.tuples(st.integers(0, n_layers - 1), st.integers(0, n_types - 1))
    for row, column in draw(st.just([]) | st.lists(cells, max_size=4)):
        others = [x for t, x in enumerate(table[row]) if t != column]
        table[row][column] = draw(st.sampled_from([0.0, inf])) if any(x < inf for x in others) else 0.0
    return table


@st.composite
def graph_tensors(draw: st.DrawFn, n_layers: int) -> Tensors:
    """Draw tensors between any two different layers, forwards or backwards, with one consumer or several."""
    if n_layers == 1:
        return []
    tensors = []
    for producer in draw(st.lists(st.integers(0, n_layers - 1), max_size=2 * n_layers)):
        others = [x for x in range(n_layers) if x != producer]
        consumers = draw(st.lists(st.sampled_from(others), min_size=1, max_size=3, unique=True))
        tensors.append((producer, tuple(consumers), draw(st.just(0.0) | numbers())))
    return tensors


@st.composite
def physics(draw: st.DrawFn, n_layers: int, n_types: int, high_fraction: float) -> Arguments:
    """Draw any of the optional terms of the time and the memory of a stage."""
    terms = {
        "send": arrays(st.just(0.0) | numbers(high=2.0), n_layers, n_types),
        "receive": arrays(st.just(0.0) | numbers(high=2.0), n_layers, n_types),
        "compute_parallel": arrays(fractions(high_fraction), n_layers, n_types),
        "transfer_parallel": arrays(fractions(high_fraction), n_types),
        "memory": arrays(st.just(0.0) | numbers(), n_layers),
        "workspace": arrays(st.just(0.0) | numbers(), n_layers),
        "capacity": arrays(st.just(inf) | numbers(1.0, 20.0), n_types),
        "tensors": graph_tensors(n_layers),
        "bandwidth": arrays(st.just(inf) | numbers(0.5, 8.0), n_types),
        "fixed_price": numbers(),
    }
    return draw(st.fixed_dictionaries({}, optional=terms))


@st.composite
def goals(draw: st.DrawFn) -> Arguments:
    """Draw an objective, whether transfer overlaps, and any of the four limits of a goal."""
    examples = draw(st.sampled_from([1.0, 3600.0, 1e6]))
    scale = {"min_throughput": 0.1, "max_duration": examples, "max_cost": examples / 100, "max_price": 5.0}
    drawn = {name: draw(numbers(0.1)) * scale[name] for name in GOALS if draw(st.integers(0, 2)) == 2}
    objective = draw(st.sampled_from(["cost", "throughput", "price"]))
    return {"examples": examples, "objective": objective, "overlap": draw(st.booleans()), **drawn}


def limits(n_types: int, finite: bool) -> st.SearchStrategy[list[float]]:
    """Draw devices of each type, 0 to 6, and unlimited unless they have to be finite; not all of them 0."""
    counts = st.integers(0, 6).map(float)
    return arrays(counts if finite else counts | st.just(inf), n_types).filter(any)


@st.composite
def merging(draw: st.DrawFn, n_types: int) -> Arguments:
    """Draw how layers merge, with limits; labels of devices need limits."""
    merge, split = draw(st.sampled_from(["adjacent", "type"])), draw(st.booleans())
    finite = split and merge == "type"
    limit = draw(limits(n_types, finite) if finite else st.none() | limits(n_types, finite))
    return {"merge": merge, "split": split, "limit": limit}


def without_workspace_of_merged_types(arguments: Arguments) -> Arguments:
    """Leave out what problems that merge all layers of a type do not take."""
    if arguments["merge"] == "type":
        arguments.pop("workspace", None)
    return arguments


@st.composite
def problems(draw: st.DrawFn, max_layers: int = 8, max_types: int = 3, most_devices: int = 6) -> Arguments:
    """Draw a problem whose stages have few devices, so that provisioning it by trying all counts is cheap."""
    n_layers, n_types = draw(st.integers(1, max_layers)), draw(st.integers(1, max_types))
    return without_workspace_of_merged_types(
        {
            "compute": draw(compute_tables(n_layers, n_types)),
            "price": draw(arrays(st.just(0.0) | numbers(), n_types)),
            "max_devices_per_stage": draw(st.integers(1, most_devices)),
            **draw(physics(n_layers, n_types, 1.0)),
            **draw(merging(n_types)),
            **draw(goals()),
        }
    )


@st.composite
def open_problems(draw: st.DrawFn, max_layers: int = 8, max_types: int = 3) -> Arguments:
    """Draw a problem without limits on devices, which have a price and return less the more there are."""
    n_layers, n_types = draw(st.integers(1, max_layers)), draw(st.integers(1, max_types))
    terms = draw(physics(n_layers, n_types, 0.95))
    return without_workspace_of_merged_types(
        {
            "compute": draw(compute_tables(n_layers, n_types)),
            "price": draw(arrays(numbers(0.1), n_types)),
            **terms,
            "compute_parallel": draw(arrays(fractions(0.95), n_layers, n_types)),
            "transfer_parallel": draw(arrays(fractions(0.95), n_types)),
            **draw(goals()),
            "merge": draw(st.sampled_from(["adjacent", "type"])),
            "objective": "cost",
        }
    )


@st.composite
def option_problems(draw: st.DrawFn, max_layers: int = 3) -> Arguments:
    """Draw a problem with any of strategies, memory by position, a schedule, all-reduce and their limits."""
    n_layers, n_types = draw(st.integers(1, max_layers)), draw(st.integers(1, 2))
    degrees = [draw(st.lists(st.integers(1, 3), min_size=1, max_size=3)) for _ in range(n_types)]
    n_columns = sum(map(len, degrees))
    schedule = draw(st.sampled_from([None, "gpipe", "1f1b"]))
    microbatches = draw(st.integers(1, 5)) if schedule else None
    table, small = arrays(numbers(), n_layers, n_columns), st.just(0.0) | numbers(high=2.0)
    by_column = arrays(small, n_layers, n_columns)
    terms = {
        "send": by_column,
        "receive": by_column,
        "compute_parallel": arrays(fractions(), n_layers, n_columns),
        "transfer_parallel": arrays(fractions(), n_types),
        "memory": by_column | arrays(small, n_layers),
        **dict.fromkeys(("sharded", "activations", "workspace", "gradients", "update"), by_column),
        "capacity": arrays(st.just(inf) | numbers(1.0, 20.0), n_types),
        "link": arrays(st.just(inf) | numbers(0.5, 8.0), n_types),
        "network": arrays(numbers(0.1), n_types),
        "machine": arrays(st.integers(1, 4).map(float), n_types),
        "tensors": graph_tensors(n_layers),
        "bandwidth": arrays(st.just(inf) | numbers(0.5, 8.0), n_types),
        "fixed_price": numbers(),
        "max_stages": st.integers(1, 3),
        "max_devices_per_stage": st.integers(1, 4),
        "split": st.booleans(),
        "same_strategy": st.booleans(),
        "same_replicas": st.booleans(),
        "equal_shares": st.booleans(),
    }
    drawn = draw(st.fixed_dictionaries({}, optional=terms))
    return {
        "compute": draw(table),
        "price": draw(arrays(st.just(0.0) | numbers(), n_types)),
        "limit": draw(arrays(st.integers(1, 4).map(float), n_types)),
        "column_type": [t for t, strategies in enumerate(degrees) for _ in strategies],
        "column_degree": [degree for strategies in degrees for degree in strategies],
        "schedule": schedule,
        "microbatches": microbatches,
        "batch": draw(st.integers(1, 4)) * (microbatches or 1),
        "whole_machines": "machine" in drawn and draw(st.booleans()),
        **drawn,
        **draw(goals()),
    }


def schemes(n_labels: int, n_layers: int) -> st.SearchStrategy[list[int]]:
    """Draw one label a layer."""
    return st.lists(st.integers(0, n_labels - 1), min_size=n_layers, max_size=n_layers)


# Plain loops -------------------------------------------------------------------------------------------


def redraw(draw: Callable[[], T], fits: Callable[[T], object], most: int = 1000) -> T:
    """Draw until something fits; fail if none of so many draws does."""
    for _ in range(most):
        drawn = draw()
        if fits(drawn):
            return drawn
    raise AssertionError(f"none of {most} draws fits")


def random_numbers(rng: np.random.Generator, ties: bool, *shape: int) -> Any:
    """Draw round numbers for ties, or log-normal ones."""
    return rng.choice(ROUND, shape) if ties else rng.lognormal(0.5, 0.6, shape)


def random_graph_tensors(
    rng: np.random.Generator, n_layers: int, n_tensors: int, ties: bool = False
) -> Tensors:
    """Draw tensors with one to three consumers; some run backwards, most go to the next few layers."""
    tensors = []
    for producer in rng.integers(0, n_layers, n_tensors if n_layers > 1 else 0).tolist():
        near = producer + rng.geometric(0.4, 3) * rng.choice([1, 1, 1, -1], 3)
        others = {int(x) % n_layers for x in near[: rng.integers(1, 4)]} - {producer}
        consumers = tuple(sorted(others)) or ((producer + 1) % n_layers,)
        tensors.append((producer, consumers, float(random_numbers(rng, ties, 1)[0])))
    return tensors


def random_compute(rng: np.random.Generator, n_layers: int, n_types: int, ties: bool, gaps: bool) -> Any:
    """Draw seconds; with gaps, one cell in eight cannot run, but every layer has a type that it runs on."""
    compute = random_numbers(rng, ties, n_layers, n_types)
    if gaps:
        missing = rng.random(compute.shape) < 1 / 8
        missing[np.arange(n_layers), rng.integers(0, n_types, n_layers)] = False
        compute[missing] = inf
    return compute


def random_fractions(rng: np.random.Generator, ties: bool, *shape: int) -> Any:
    """Draw parallel fractions."""
    return rng.choice(FRACTIONS, shape) if ties else rng.uniform(0.8, 0.99, shape)


def random_limits(rng: np.random.Generator, n_types: int, finite: bool) -> Any:
    """Draw devices of each type, one in eight 0 and one in eight unlimited or 12, but not all of them 0."""
    limit = rng.choice([0, 1, 2, 3, 4, 6, 8, 12 if finite else inf], n_types)
    limit[rng.integers(n_types)] = rng.integers(2, 9)
    return limit


def random_goal(rng: np.random.Generator, reach: float) -> Arguments:
    """Draw any of the limits of a goal, about a time that is within reach."""
    examples = float(rng.choice([1.0, 3600.0, 1e6]))
    tau = reach * float(rng.uniform(0.5, 2.0))
    goal = {
        "min_throughput": 1 / tau,
        "max_duration": examples * tau * float(rng.uniform(0.8, 1.5)),
        "max_cost": examples * tau / 3600 * float(rng.uniform(5, 60)),
        "max_price": float(rng.uniform(5, 60)),
    }
    return {"examples": examples} | {name: x for name, x in goal.items() if rng.random() < 0.4}


def random_problem(
    rng: np.random.Generator,
    n_layers: int,
    n_types: int,
    *,
    ties: bool | None = None,
    parallel: bool | None = None,
    transfers: bool | None = None,
    graph: bool | None = None,
    memory: bool | None = None,
    limits: bool | None = None,
    goals: bool | None = None,
    gaps: bool | None = None,
    **fixed: Any,
) -> Arguments:
    """Draw a problem.

    Parameters
    ----------
    rng : numpy.random.Generator
    n_layers, n_types : int
    ties : bool or None
        Round numbers. This and each following switch: on, off, or None for either with even chances.
    parallel, transfers, graph, memory, limits, goals, gaps : bool or None
        Parallel fractions below 1; send and receive; tensors and bandwidth; memory and capacity; limits on
        devices; limits of the goal; types that cannot run some layers.
    **fixed
        Arguments of ``Problem.from_arrays`` as they are to be, say ``max_devices_per_stage=4``.

    Returns
    -------
    dict
        Arguments of ``Problem.from_arrays``.
    """

    def on(switch: bool | None) -> bool:
        drawn = bool(rng.random() < 0.5)
        return drawn if switch is None else switch

    even, device_labels = on(ties), bool(fixed.get("split")) and fixed.get("merge") == "type"
    drawn: Arguments = {
        "compute": random_compute(rng, n_layers, n_types, even, on(gaps)),
        "price": random_numbers(rng, even, n_types),
        "fixed_price": float(rng.choice([0.0, 1.0, 2.5])),
        "overlap": on(None),
    }
    if on(parallel):
        drawn["compute_parallel"] = random_fractions(rng, even, n_layers, n_types)
        drawn["transfer_parallel"] = random_fractions(rng, even, n_types)
    if on(transfers):
        drawn["send"] = random_numbers(rng, even, n_layers, n_types) / 4
        drawn["receive"] = random_numbers(rng, even, n_layers, n_types) / 4
    if on(graph):
        drawn["tensors"] = random_graph_tensors(rng, n_layers, 2 * n_layers, even)
        drawn["bandwidth"] = 4 * random_numbers(rng, even, n_types)
    if on(memory):
        drawn["memory"] = random_numbers(rng, even, n_layers)
        drawn["capacity"] = n_layers / 2 * random_numbers(rng, even, n_types)
    if on(limits) or device_labels:
        drawn["limit"] = random_limits(rng, n_types, finite=device_labels)
    if on(goals):
        drawn |= random_goal(rng, reach=n_layers / 3)
    return drawn | fixed
