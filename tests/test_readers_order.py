import pytest
from hypothesis import given
from hypothesis import strategies as st

from stageplan._core import OrderSplits
from stageplan.readers.order import Devices, _splice, find_cycle, linear_order, refuse_cycle


@st.composite
def graphs(draw):
    """Work of n nodes, and the edges of a graph without cycles whose nodes are numbered at random."""
    n = draw(st.integers(1, 12))
    number = draw(st.permutations(range(n)))
    pairs = [(number[a], number[b]) for b in range(n) for a in range(b)]
    edges = draw(st.lists(st.sampled_from(pairs), max_size=20)) if pairs else []
    return draw(st.lists(st.floats(0, 9), min_size=n, max_size=n)), edges


def tensors_of(edges, seconds=1.0):
    producers = dict.fromkeys(a for a, _ in edges)
    return [(a, sorted({b for before, b in edges if before == a}), seconds) for a in producers]


@given(graphs())
def test_order_is_topological_and_repeatable(graph):
    work, edges = graph
    devices = [Devices(3, work)]
    order = linear_order(edges, tensors_of(edges), devices)
    assert sorted(order) == list(range(len(work)))
    assert all(order.index(a) < order.index(b) for a, b in edges)
    assert linear_order(edges, tensors_of(edges), devices) == order


def test_a_chain_has_one_order():
    assert linear_order([(2, 0), (0, 1)], [], [Devices(2, [1.0] * 3)]) == [2, 0, 1]


def test_branches_stay_together():
    """Two chains between a fork and a join: an order that changes between them is cut dearly."""
    edges = [(0, 1), (1, 2), (2, 3), (3, 9), (0, 5), (5, 6), (6, 7), (7, 9)]
    number = {node: index for index, node in enumerate(sorted({node for edge in edges for node in edge}))}
    edges = [(number[a], number[b]) for a, b in edges]
    devices = [Devices(2, [1.0] * len(number))]
    order = linear_order(edges, tensors_of(edges), devices)
    by_turns = [0, 1, 4, 2, 5, 3, 6, 7]
    splits = OrderSplits(tensors_of(edges), devices)
    score, _ = splits.score(order)
    assert score == 4 + 2
    assert splits.score(by_turns) > (score, 0)


def test_the_best_order_takes_better_pieces_of_the_others():
    candidates = [[0, 1, 2, 3, 4, 5], [0, 2, 1, 3, 5, 4]]
    wanted = [0, 1, 2, 3, 5, 4]

    def score(order):
        return float(sum(a != b for a, b in zip(order, wanted, strict=True))), 0.0

    assert _splice((score(candidates[0]), candidates[0]), candidates, score) == wanted


@pytest.mark.parametrize(
    ("edges", "cycle"),
    [
        ([], None),
        ([("a", "b"), ("b", "c"), ("a", "c")], None),
        ([("a", "b"), ("b", "c"), ("c", "b")], {"b", "c"}),
    ],
)
def test_find_cycle(edges, cycle):
    found = find_cycle(edges)
    assert (set(found) if found else found) == cycle


def test_a_cycle_is_named_in_the_direction_of_its_edges():
    edges = [(1, 2), (2, 3), (3, 1)]
    found = find_cycle(edges)
    assert set(zip(found, found[1:] + found[:1], strict=True)) == set(edges)


def test_a_long_cycle_is_named_in_short():
    edges = [(node, (node + 1) % 100) for node in range(100)]
    with pytest.raises(
        ValueError, match=r"in a cycle of 100 nodes, \d+ -> .* -> \.\.\. -> \d+; there must be none"
    ):
        refuse_cycle(edges)
    refuse_cycle(edges[1:])
