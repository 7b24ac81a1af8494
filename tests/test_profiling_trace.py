from collections import Counter

import pytest

from stageplan.profiling.trace import Cut, Kernel, Operation, Trace, Weight


@pytest.fixture
def trace():
    """A chain of three operations, and a fourth that reads the first as well; value 9 is an input."""
    return Trace(
        operations=[
            Operation(1.0, 10.0, (9,), ((0, 5.0),), (0,)),
            Operation(2.0, 20.0, (0,), ((1, 6.0),), ()),
            Operation(3.0, 30.0, (1,), ((2, 7.0),), (1,)),
            Operation(0.0, 40.0, (0, 2, 9), ((3, 8.0),), (0,)),
        ],
        backward=[(3, Kernel(4.0, 1.0)), (0, Kernel(8.0, 2.0)), (0, Kernel(8.0, 2.0))],
        saved={(1, 77): 100.0, (2, 77): 100.0, (0, 77): 100.0, (3, 78): 1.0},
        weights={0: Weight("a", 11.0, True), 1: Weight("b", 12.0, True), 2: Weight("unused", 13.0, True)},
    )


CUTS = [Cut("x", "", 0, (0,)), Cut("y", "", 2, (1, 2))]


def test_layers_add_up_what_lies_between_cuts(trace):
    x, y = trace.layers(CUTS)
    assert (x.forward, x.backward) == (Counter({(1, 10, ""): 1, (2, 20, ""): 1}), Counter({(8, 2, ""): 2}))
    assert (y.forward, y.backward) == (Counter({(3, 30, ""): 1, (0, 40, ""): 1}), Counter({(4, 1, ""): 1}))
    assert (x.flops, y.flops) == (3, 3)


def test_what_several_layers_keep_counts_in_the_first(trace):
    assert [layer.saved for layer in trace.layers(CUTS)] == [100, 1]


def test_inputs_count_in_the_first_layer_that_takes_them_over(trace):
    three = [*CUTS, Cut("z", "", 3, ())]
    assert [layer.inputs for layer in trace.layers(CUTS)] == [0, 6 + 5]
    assert [layer.inputs for layer in trace.layers(three)] == [0, 6, 5 + 7]


def test_workspace_is_what_is_needed_at_a_time(trace):
    """Value 0 is read to the end; each of the others until the next is made."""
    assert trace.needed_bytes() == [5, 5 + 6, 5 + 6 + 7, 5 + 7 + 8]
    x, y = trace.layers(CUTS)
    assert (x.workspace, y.workspace) == (11, 20)


def test_what_depends_on_inputs_alone_has_no_gradient():
    operations = [Operation(0, 1, (9,), ((0, 5.0),), ()), Operation(0, 1, (0,), ((1, 7.0),), (0,))]
    assert Trace(operations).needed_bytes() == [5, 12]
    assert Trace(operations, backward=[(1, Kernel(1.0, 1.0))]).needed_bytes() == [0, 7]


def test_operations_before_the_first_cut_belong_to_the_first_layer(trace):
    (layer,) = trace.layers([Cut("late", "", 3, ())])
    assert layer.flops == 6


def test_a_weight_of_no_layer_belongs_to_those_that_use_it(trace):
    x, y = trace.layers([Cut("x", "", 0, ()), Cut("y", "", 2, ())])
    assert (x.weights, y.weights) == ({0}, {0, 1})


def test_tensors_between_layers(trace):
    assert trace.tensors(CUTS) == {(0, (1,)): 11.0}  # values 0 and 1
    three = [*CUTS, Cut("z", "", 3, ())]
    assert trace.tensors(three) == {(0, (1,)): 6.0, (0, (2,)): 5.0, (1, (2,)): 7.0}


def test_values_of_inputs_alone_pass_between_no_layers():
    trace = Trace(
        operations=[Operation(0, 1, (9,), ((0, 5.0),), ()), Operation(0, 1, (0,), ((1, 5.0),), (0,))]
    )
    assert trace.tensors([Cut("x", "", 0, ()), Cut("y", "", 1, ())]) == {}


def test_ties_are_of_weights_that_several_layers_have_or_use(trace):
    layers = trace.layers(CUTS)
    assert trace.ties(layers, CUTS) == (("x", "y"),)
    trace.operations[3] = trace.operations[3]._replace(weights=())
    assert trace.ties(layers, CUTS) == ()


def test_operators_without_a_formula_are_noted_but_not_without_end():
    trace = Trace(operations=[Operation(1, 10, (), (), ())], backward=[(0, Kernel(1, 30))])
    assert list(trace.notes()) == []
    trace.note_uncounted("odd", 10)
    trace.note_uncounted("odd", 10)
    assert list(trace.notes()) == [
        "no FLOPs formula for odd (2 times), which move 50.0% of all bytes: counted as one FLOP for each "
        "number that they make"
    ]
    for number in range(50):
        trace.note_uncounted(f"odd{number}", 0)
    (note,) = trace.notes()
    assert "odd18 (once), and others, which move" in note
