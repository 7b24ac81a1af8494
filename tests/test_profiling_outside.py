"""Where parameters and buffers outside the layers are placed."""

import pytest

from stageplan.profiling.network import Network
from stageplan.profiling.outside import modules_outside
from stageplan.profiling.trace import Trace, TracedLayer, Weight


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
def test_what_is_not_used_is_placed_by_its_path(path, placed):
    assert outside([path]) == placed


def test_what_is_used_is_placed_with_its_first_user():
    assert outside([], [("net.scale", 2, "net.scale")]) == [[], [], ["net.scale"], []]
    assert outside(["tower.bias"], [("tower.weight", 3, "tower.weight")]) == [[], [], [], ["tower"]]


def test_a_second_name_is_placed_with_the_weight():
    assert outside([], [("decoder.embed.weight", 0, "net.embed.weight")]) == [["decoder"], [], [], []]
