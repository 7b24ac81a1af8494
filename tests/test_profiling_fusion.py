"""Operations that run as one, counted by hand."""

from stageplan.profiling.fusion import fused
from stageplan.profiling.trace import Cut, Operation, Trace, Weight

CUTS = [Cut("a", "block", 0, ()), Cut("b", "block", 4, ())]


def other(flops, bytes_, reads, *writes, weights=()):
    return Operation(flops, bytes_, reads, writes, weights)


def product(flops, bytes_, reads, *writes, weights=(0,)):
    return Operation(flops, bytes_, reads, writes, weights, product=True)


def times(trace, cuts=CUTS):
    return [(operation.flops, operation.bytes) for operation in fused(trace, cuts).operations]


def test_what_is_between_products_runs_as_one():
    """It reads value 0 (10 bytes) and weight 1 (3), and writes value 2 (20); value 1 stays inside."""
    trace = Trace(
        operations=[
            product(100, 1000, (), (0, 10.0)),
            other(1, 33, (0,), (1, 10.0), weights=(1,)),
            other(2, 30, (1,), (2, 20.0)),
            product(100, 1000, (2,), (3, 10.0)),
        ],
        weights={0: Weight("w", 980.0, True), 1: Weight("norm", 3.0, True)},
    )
    assert times(trace) == [(100, 1000), (3, 10 + 3 + 20), (0, 0), (100, 1000)]


def test_what_is_read_later_is_written():
    trace = Trace(
        operations=[
            other(1, 20, (), (0, 10.0)),
            other(1, 20, (0,), (1, 10.0)),
            product(100, 1000, (1,), (2, 10.0)),
            other(1, 30, (0, 2), (3, 10.0)),
        ],
        weights={0: Weight("w", 980.0, True)},
    )
    assert times(trace) == [(2, 20), (0, 0), (100, 1000), (1, 30)]


def test_layers_are_apart():
    trace = Trace(operations=[*(other(1, 20, (i,), (i + 1, 10.0)) for i in range(6))])
    assert times(trace) == [(4, 10), (0, 0), (0, 0), (0, 0), (2, 20), (0, 0)]
    assert [layer.forward.total() for layer in fused(trace, CUTS).layers(CUTS)] == [1, 1]


def test_no_more_bytes_than_before():
    """Of a table of 10,000 bytes some rows are read."""
    table = {0: Weight("table", 10_000.0, True)}
    trace = Trace(operations=[other(0, 40, (), (0, 20.0), weights=(0,))], weights=table)
    assert times(trace) == [(0, 40)]


def test_products_of_the_same_value_run_as_one():
    """The value of 10 bytes is read once; the activation of the first is then behind both."""
    trace = Trace(
        operations=[
            other(1, 20, (), (0, 10.0)),
            product(100, 1020, (0,), (1, 10.0), weights=(0,)),
            other(1, 20, (1,), (2, 10.0)),
            product(50, 520, (0,), (3, 10.0), weights=(1,)),
            other(1, 30, (2, 3), (4, 10.0)),
        ],
        weights={0: Weight("gate", 1000.0, True), 1: Weight("up", 500.0, True)},
    )
    assert times(trace, CUTS[:1]) == [(1, 10), (150, 1530), (2, 30), (0, 0), (0, 0)]
    alone = trace.operations[3]._replace(reads=(2,))
    trace.operations[3] = alone
    assert times(trace, CUTS[:1])[1] == (100, 1020)


def test_attention_in_several_operations_runs_as_one():
    """It reads no mask, which depends on no weights, and writes no scores, of 5,000 bytes."""
    trace = Trace(
        operations=[
            product(100, 1000, (), (0, 10.0)),
            other(0, 900, (), (9, 900.0)),
            product(7, 5020, (0,), (1, 5000.0), weights=()),
            other(5, 10_900, (1, 9), (2, 5000.0)),
            product(8, 5020, (0, 2), (3, 10.0), weights=()),
            product(100, 1000, (3,), (4, 10.0)),
        ],
        weights={0: Weight("w", 980.0, True)},
    )
    together = fused(trace, CUTS[:1])
    attention = together.operations[2]
    assert (attention.flops, attention.bytes, attention.kind) == (15, 20, "attention")
    assert [operation.flops for operation in together.operations] == [100, 0, 15, 0, 0, 100]
    (layer,) = together.layers(CUTS[:1])
    assert layer.workspace == 10 + 900  # the mask is made
    (before,) = trace.layers(CUTS[:1])
    assert before.workspace > 10_000
    three = Trace([*trace.operations, product(1, 10, (4,), (5, 5.0), weights=())], weights=trace.weights)
    assert [operation.kind for operation in fused(three, CUTS[:1]).operations] == [""] * 7


def test_values_in_between_take_no_memory():
    trace = Trace(operations=[*(other(1, 200, (i,), (i + 1, 100.0)) for i in range(4))])
    (layer,) = trace.layers(CUTS[:1])
    assert layer.workspace == 200
    (layer,) = fused(trace, CUTS[:1]).layers(CUTS[:1])
    assert layer.workspace == 100
