"""Where parameters and buffers outside the layers are placed."""

import pytest

from stageplan.profiling.network import Network
from stageplan.profiling.outside import add_unused, modules_outside
from stageplan.profiling.trace import Operation, Trace, TracedLayer, Weight


def outside(paths, used=(), layers=("net.embed", "net.layers.0", "net.layers.1", "head")):
    """Modules outside the layers; `used` is (path, layer that uses it, path that the trace names it by)."""
    trace = Trace(weights={n: Weight(name, 4.0, True) for n, (_, _, name) in enumerate(used)})
    traced = [TracedLayer(name, "block", set()) for name in layers]
    for number, (_, layer, _) in enumerate(used):
        traced[layer].weights.add(number)
    names = dict.fromkeys(paths, "") | {path: name for path, _, name in used}
    network = Network("net", trace, [], 1, "fp32", lambda *_: None, names)
    return modules_outside(network, traced)


@pytest.mark.parametrize(
    ("path", "placed"),
    [
        ("net.layers.1.weight", [[], [], [], []]),  # in a layer
        ("net.layers.10.weight", [[], ["net.layers.10"], [], []]),  # not in layers.1
        ("net.rotary.inner.frequencies", [["net.rotary"], [], [], []]),
        ("net.mask", [["net.mask"], [], [], []]),
        ("bias", [["bias"], [], [], []]),
    ],
)
def test_unused_weights_are_placed_by_path(path, placed):
    assert outside([path]) == placed


def test_used_weights_are_placed_with_their_first_user():
    assert outside([], [("net.scale", 2, "net.scale")]) == [[], [], ["net.scale"], []]
    assert outside(["tower.bias"], [("tower.weight", 3, "tower.weight")]) == [[], [], [], ["tower"]]


def test_unused_weights_and_buffers_are_added_to_the_layers_that_they_are_placed_with():
    names = ("net.layers.1.weight", "net.tower.0.weight", "net.layers.0.experts.bias", "head.scale")
    trace = Trace(
        weights={number: Weight(name, 4.0, True) for number, name in enumerate(names)},
        buffers={"net.layers.1.table": 8.0, "frequencies": 2.0, "head.mask": 1.0},
        operations=[Operation(1.0, 1.0, (), (), (0, 2))],
    )
    layers = [
        TracedLayer(name, "block", set()) for name in ("net.embed", "net.layers.0", "net.layers.1", "head")
    ]
    layers[2].weights.add(0)
    layers[3].weights |= {2, 3}
    add_unused(trace, layers)
    assert [layer.unused for layer in layers] == [{1}, set(), set(), {3}]
    assert [layer.weights for layer in layers] == [set(), set(), {0}, {2}]
    assert [layer.buffers for layer in layers] == [2.0, 0.0, 8.0, 1.0]


def test_a_second_name_is_placed_with_the_weight():
    assert outside([], [("decoder.embed.weight", 0, "net.embed.weight")]) == [["decoder"], [], [], []]
