import pytest

torch = pytest.importorskip("torch")

from networks import Residual, Returning, Skips, Stack  # noqa: E402
from torch import nn  # noqa: E402

from stageplan.profiling.calls import cuts_at, cuts_at_depth, find_cuts  # noqa: E402
from stageplan.profiling.torch_module import trace  # noqa: E402


def run(module, *args):
    return trace(module, args or (torch.rand(3, 4),), {}, dtype=torch.float32, train=False)


def names(cuts):
    return [cut.name for cut in cuts]


def kinds(cuts):
    return [cut.kind for cut in cuts]


BLOCKS = ["stem", "blocks.0", "blocks.1", "blocks.2", "norm", "out"]


@pytest.mark.parametrize("inner", [(16, 16, 16), (16, 17, 64), (4, 16, 64)])
def test_blocks_alike_or_not_stay_whole(inner):
    cuts = find_cuts(*run(Stack(inner)))
    assert names(cuts) == BLOCKS
    assert kinds(cuts) == ["stem", *["block"] * 3, "norm", "head"]


def test_layers_are_in_the_order_in_which_they_run():
    class Backwards(Stack):
        def forward(self, x):
            x = self.stem(x)
            for block in reversed(self.blocks):
                x = block(x)
            return self.out(self.norm(x))

    assert names(find_cuts(*run(Backwards()))) == ["stem", "blocks.2", "blocks.1", "blocks.0", "norm", "out"]


def test_a_wrapper_is_opened():
    class Wrapper(nn.Module):
        def __init__(self):
            super().__init__()
            self.model = Stack()

        def forward(self, x):
            return self.model(x)

    assert names(find_cuts(*run(Wrapper()))) == [f"model.{name}" for name in BLOCKS]


def test_stages_of_blocks_are_opened():
    class Stage(nn.Module):
        def __init__(self, width):
            super().__init__()
            self.grow = nn.Linear(width // 2, width)
            self.blocks = nn.Sequential(Residual(width, width), Residual(width, width))

        def forward(self, x):
            return self.blocks(self.grow(x))

    module = nn.Sequential(Stage(8), Stage(32))
    module[1].grow = nn.Linear(8, 32)
    cuts = find_cuts(*run(module))
    assert names(cuts) == ["0.grow", "0.blocks.0", "0.blocks.1", "1.grow", "1.blocks.0", "1.blocks.1"]
    assert kinds(cuts) == ["stem", "block", "block", "linear", "block", "block"]


def test_layers_of_a_chain_are_called_by_their_class():
    module = nn.Sequential(nn.Conv2d(3, 4, 3), nn.ReLU(), nn.BatchNorm2d(4), nn.Flatten(), nn.Linear(144, 2))
    cuts = find_cuts(*run(module, torch.rand(2, 3, 8, 8)))
    assert names(cuts) == ["0", "2", "4"]
    assert kinds(cuts) == ["conv2d", "norm", "linear"]


def test_modules_without_weights_join_the_previous_or_the_first_layer():
    module = nn.Sequential(nn.ReLU(), nn.Linear(4, 4), nn.ReLU(), nn.Linear(4, 4))
    record, calls = run(module)
    cuts = find_cuts(record, calls)
    layers = record.layers(cuts)
    assert [layer.name for layer in layers] == ["1", "3"]
    assert [len(layer.forward) for layer in layers] == [2, 1]  # a product, and the two ReLUs of one size
    assert sum(layers[0].forward.values()) == 3


def test_a_module_that_runs_again_is_refused_or_left_whole():
    with pytest.raises(ValueError, match=r"module 'first' runs again after others; its layers must be given"):
        find_cuts(*run(Returning()))

    class Outer(nn.Module):
        def __init__(self):
            super().__init__()
            self.stem, self.loop, self.out = nn.Linear(4, 4), Returning(), nn.Linear(4, 2)

        def forward(self, x):
            return self.out(self.loop(self.stem(x)))

    assert names(find_cuts(*run(Outer()))) == ["stem", "loop", "out"]


def test_layers_that_are_given():
    record, calls = run(Stack())
    cuts = cuts_at(record, calls, ["blocks.1.parts.2", "stem"])
    assert names(cuts) == ["stem", "blocks.1.parts.2"]
    layers = record.layers(cuts)
    used = {weight for layer in layers for weight in layer.weights}
    assert used == set(record.weights)  # those of other modules belong to the layers that they run in
    total = sum(layer.flops for layer in layers)
    assert total == sum(layer.flops for layer in record.layers(find_cuts(record, calls)))


@pytest.mark.parametrize(
    ("paths", "words"),
    [
        (["stem", "bloc"], r"layers\[1\] is 'bloc'; it must be the path of a module that runs"),
        (["stem", "stem"], r"layers\[1\] is 'stem'; it must not overlap with 'stem'"),
        (
            ["blocks.0.parts", "blocks.0"],
            r"layers\[1\] is 'blocks.0'; it must not overlap with 'blocks.0.parts'",
        ),
    ],
)
def test_wrong_layers_are_refused(paths, words):
    with pytest.raises(ValueError, match=words):
        cuts_at(*run(Stack()), paths)


def test_layers_that_return_are_refused():
    with pytest.raises(ValueError, match=r"layers has 'first', which runs again after others"):
        cuts_at(*run(Returning()), ["first", "second"])
    with pytest.raises(ValueError, match=r"layers has 'first', which runs again after others"):
        cuts_at_depth(*run(Returning()), 1)


def test_layers_of_a_depth():
    record, calls = run(Stack())
    assert names(cuts_at_depth(record, calls, 1)) == BLOCKS
    deep = names(cuts_at_depth(record, calls, 3))
    assert deep[1:3] == ["blocks.0.parts.0", "blocks.0.parts.2"]
    assert names(cuts_at_depth(record, calls, 9)) == deep


def test_a_network_without_lists_is_its_modules():
    assert kinds(find_cuts(*run(Skips()))) == ["linear"] * 3


def test_one_layer_has_the_name_of_its_class():
    assert names(find_cuts(*run(nn.Linear(4, 4)))) == ["Linear"]


class InDict(Stack):
    def __init__(self):
        super().__init__()
        self.blocks = nn.ModuleDict({str(i): block for i, block in enumerate(self.blocks)})

    def forward(self, x):
        x = self.stem(x)
        for block in self.blocks.values():
            x = block(x)
        return self.out(self.norm(x))


class Numbered(Stack):
    def __init__(self):
        super().__init__()
        self.block_0, self.block_1, self.block_2 = self.blocks
        self.norm1, self.norm2 = nn.LayerNorm(8), nn.LayerNorm(8)  # numbered, but without parts
        del self.blocks

    def forward(self, x):
        x = self.block_2(self.block_1(self.block_0(self.stem(x))))
        return self.out(self.norm2(self.norm1(x)))


class Holder(nn.Module):
    """What has the blocks is a module of its own, without a residual connection."""

    def __init__(self, inner):
        super().__init__()
        self.embed, self.inner = nn.Linear(4, 4), inner

    def forward(self, x):
        return self.inner(self.embed(x))


def test_blocks_in_a_table_or_in_numbered_attributes_are_blocks():
    cuts = find_cuts(*run(InDict()))
    assert names(cuts) == BLOCKS
    assert kinds(cuts) == ["stem", *["block"] * 3, "norm", "head"]
    cuts = find_cuts(*run(Numbered()))
    assert names(cuts) == ["stem", "block_0", "block_1", "block_2", "norm1", "norm2", "out"]
    assert kinds(cuts) == ["stem", *["block"] * 3, "norm", "norm", "head"]
    for inner in (InDict(), Numbered()):
        cuts = find_cuts(*run(Holder(inner)))
        assert kinds(cuts)[:5] == ["stem", "stem", *["block"] * 3]


def test_stages_in_numbered_attributes_are_opened():

    class Stages(nn.Module):  # as of a ResNet
        def __init__(self):
            super().__init__()
            self.layer1 = nn.Sequential(Residual(4, 8), Residual(4, 8))
            self.layer2 = nn.Sequential(Residual(4, 64), Residual(4, 64))

        def forward(self, x):
            return self.layer2(self.layer1(x))

    cuts = find_cuts(*run(Stages()))
    assert names(cuts) == ["layer1.0", "layer1.1", "layer2.0", "layer2.1"]
    assert kinds(cuts) == ["block"] * 4


def test_a_small_module_that_runs_again_is_part_of_the_layers_around_it():
    class Normed(nn.Module):
        def __init__(self):
            super().__init__()
            self.stem, self.norm, self.out = nn.Linear(4, 200), nn.LayerNorm(200), nn.Linear(200, 200)

        def forward(self, x):
            return self.norm(self.out(self.norm(self.stem(x))))

    trace, calls = run(Normed())
    cuts = find_cuts(trace, calls)
    assert names(cuts) == ["stem", "out"]
    layers = trace.layers(cuts)
    norm = {number for number, weight in trace.weights.items() if weight.name.startswith("norm")}
    assert norm <= layers[0].weights & layers[1].weights  # both use it
    assert trace.ties(layers, cuts) == (("stem", "out"),)
