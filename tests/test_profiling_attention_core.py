"""Cores of attention in a pass, operation by operation."""

import pytest

from stageplan.profiling.attention_core import attention_cores, layer_cores, note_cores
from stageplan.profiling.trace import Cut, Kernel, Operation, Trace

BYTES = 4.0


def op(reads, writes, weights=(), kind="", product=False):
    return Operation(
        1.0, BYTES, reads, tuple((value, BYTES) for value in writes), weights, kind, False, product
    )


PROJECT = op((0,), (1, 2, 3), weights=(7,), product=True)
SCORES = op((1, 2), (4,), product=True)
SCALE, SOFTMAX, DROP = op((4,), (5,)), op((5,), (6,)), op((6,), (8, 9))
MIX = op((8, 3), (10,), product=True)
OUT = op((10,), (11,), weights=(8,), product=True)


@pytest.mark.parametrize(
    ("operations", "cores"),
    [
        ([PROJECT, SCORES, SCALE, SOFTMAX, DROP, MIX, OUT], [[1, 2, 3, 4, 5]]),
        ([PROJECT, SCORES, op((1,), (20,)), SCALE, SOFTMAX, DROP, MIX], [[1, 3, 4, 5, 6]]),  # one beside it
        (
            [PROJECT, SCORES, op((4,), (10,), weights=(8,), product=True)],
            [],
        ),  # a product with weights follows
        ([PROJECT, SCORES, SCALE], []),  # nothing follows
        ([PROJECT, op((1, 2, 3), (10,), kind="attention", product=True), OUT], []),  # a kernel
    ],
)
def test_a_core_goes_from_a_product_of_values_to_the_next(operations, cores):
    assert attention_cores(operations) == cores


@pytest.mark.parametrize(("second", "kept"), [(6, 3 * BYTES), (3, 0.0)])
def test_layers_keep_what_cores_within_them_make(second, kept):
    saved = dict.fromkeys(enumerate((0, 3, 4, 6, 9, 10)), BYTES)
    trace = Trace(
        operations=[PROJECT, SCORES, SCALE, SOFTMAX, DROP, MIX, OUT],
        saved=saved,
        always={0},
        values={value: value for _, value in saved},
    )
    first, last = layer_cores(trace, [Cut("a", "", 0, ()), Cut("b", "", second, ())])
    assert (first.kept, last.kept) == (kept, 0.0)
    assert first.forward == ({Kernel(1.0, BYTES): 5} if kept else {})
    assert bool(note_cores([first, last])) == (not kept)
