import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from stageplan._core import OrderSplits
from stageplan.readers.order import Devices


@st.composite
def graphs(draw):
    """An order of n nodes, their work, and tensors that run in any direction."""
    n = draw(st.integers(1, 7))
    nodes = st.integers(0, n - 1)
    seconds = st.sampled_from([0.0, 0.5, 1.0, 3.0])
    order = draw(st.permutations(range(n)))
    work = draw(st.lists(seconds, min_size=n, max_size=n))
    drawn = draw(st.lists(st.tuples(nodes, st.sets(nodes, min_size=1), seconds), max_size=6))
    tensors = [(p, sorted(used - {p}), size) for p, used, size in drawn if used - {p}]
    return order, work, tensors


def load(stage, work, tensors, transfers):
    entering = sum(size for p, used, size in tensors if p not in stage and stage & set(used))
    leaving = sum(size for p, used, size in tensors if p in stage and set(used) - stage)
    return sum(work[node] for node in stage) + transfers * (entering + leaving)


@given(graphs())
def test_interval_loads_are_those_of_the_definition(graph):
    order, work, tensors = graph
    splits = OrderSplits(tensors, [Devices(1, work), Devices(1, work, transfers=False)])
    for table, transfers in zip(splits.loads(order), (1, 0), strict=True):
        for i, j in np.ndindex(table.shape):
            stage = set(order[i : j + 1])
            expected = load(stage, work, tensors, transfers) if stage else np.inf
            assert table[i, j] == pytest.approx(expected, abs=1e-12)


def least_load(order, work, tensors, devices):
    """Least largest load over all splits of the order, by trying them all."""
    best = np.inf if order else 0.0
    for index, kind in enumerate(devices):
        rest = [k._replace(number=k.number - (i == index)) for i, k in enumerate(devices)]
        for end in range(1, len(order) + 1) if kind.number else ():
            stage = load(set(order[:end]), kind.work, tensors, kind.transfers)
            best = min(best, max(stage, least_load(order[end:], work, tensors, rest)))
    return best


@given(graphs(), st.integers(0, 2), st.integers(1, 2))
def test_the_score_is_the_least_largest_load(graph, first, second):
    order, work, tensors = graph
    devices = [Devices(first, work), Devices(second, [2 * time for time in work], transfers=False)]
    score, _ = OrderSplits(tensors, devices).score(order)
    assert score == pytest.approx(least_load(order, work, tensors, devices), abs=1e-12)


def test_fewer_devices_break_ties():
    work = [1.0, 1.0, 1.0, 1.0]
    cheap, dear = ([(1, (2,), size)] for size in (0.0, 1.0))
    devices = [Devices(4, work)]
    assert OrderSplits(cheap, devices).score([0, 1, 2, 3]) < OrderSplits(dear, devices).score([0, 1, 2, 3])


def test_a_long_order_is_cut_on_a_grid():
    n = 3 * OrderSplits.MOST_CUTS
    tensors = [(node, (node + 1,), 1e-3) for node in range(n - 1)]
    score, _ = OrderSplits(tensors, [Devices(3, [1.0] * n)]).score(list(range(n)))
    assert score == pytest.approx(OrderSplits.MOST_CUTS, rel=0.01)
