import gc
from collections import UserDict
from dataclasses import dataclass
from typing import NamedTuple

import pytest

torch = pytest.importorskip("torch")

from networks import Borrowing, Deciding, Residual, Skips, Stack, Tied  # noqa: E402
from torch import nn  # noqa: E402
from torch.utils.checkpoint import checkpoint  # noqa: E402
from torch.utils.flop_counter import FlopCounterMode  # noqa: E402

from stageplan.profiling import torch_module  # noqa: E402
from stageplan.profiling.calls import cuts_at, find_cuts  # noqa: E402


def traced(module, *args, train=True, dtype=torch.float32, layers=None):
    """Layers, tensors and ties of a module, cut where it is said."""
    trace, calls = torch_module.trace(module, args, {}, dtype=dtype, train=train)
    cuts = find_cuts(trace, calls) if layers is None else cuts_at(trace, calls, layers)
    found = trace.layers(cuts)
    return trace, found, trace.tensors(cuts), trace.ties(found, cuts)


def flops(layers, which):
    return sum(kernel[0] * count for layer in layers for kernel, count in getattr(layer, which).items())


class Conv(nn.Module):
    def __init__(self):
        super().__init__()
        self.body = nn.Sequential(
            nn.Conv2d(3, 4, 3), nn.BatchNorm2d(4), nn.ReLU(inplace=True), nn.MaxPool2d(2), nn.Conv2d(4, 5, 3)
        )
        self.out = nn.Linear(5, 2)

    def forward(self, x):
        return self.out(self.body(x).mean((2, 3)))


NETWORKS = {
    "linear": (Stack, (torch.rand(3, 4),)),
    "convolution": (Conv, (torch.rand(2, 3, 16, 16),)),
    "attention": (lambda: nn.TransformerEncoderLayer(8, 2, 16, batch_first=True), (torch.rand(2, 5, 8),)),
    "recurrence": (lambda: nn.LSTM(4, 6, 2, batch_first=True), (torch.rand(2, 5, 4),)),
}


@pytest.fixture
def separate_operations():
    """Keep torch from running a block of attention as one operation, which is not counted."""
    torch.backends.mha.set_fastpath_enabled(False)
    yield
    torch.backends.mha.set_fastpath_enabled(True)


@pytest.mark.parametrize("name", NETWORKS)
@pytest.mark.usefixtures("separate_operations")
def test_operations_are_those_that_torch_counts(name, products_alone):
    make, args = NETWORKS[name]
    _, layers, _, _ = traced(make(), *args, layers=[""])
    module, args = make().to("meta"), [arg.to("meta") for arg in args]
    with FlopCounterMode(display=False) as forward:
        outputs = module(*args)
    with FlopCounterMode(display=False) as backward:
        torch_module.run_backward(outputs)
    assert flops(layers, "forward") == forward.get_total_flops() > 0
    again = (
        2 * 2 * 5 * 5 * 8 if name == "attention" else 0
    )  # its one operation multiplies queries and keys anew
    assert flops(layers, "backward") == backward.get_total_flops() + again


def test_bytes_of_a_layer():
    trace, (layer,), tensors, ties = traced(nn.Linear(4, 8), torch.rand(3, 4), layers=[""])
    assert (tensors, ties) == ({}, ())
    assert sum(weight.bytes for weight in trace.weights.values()) == 4 * (4 * 8 + 8)
    moved = 4 * (3 * 4 + 4 * 8 + 8 + 3 * 8)  # input, weights, output
    assert [kernel for kernel in layer.forward if kernel[0]] == [(2 * 3 * 4 * 8, moved, "")]
    assert layer.workspace == 4 * 3 * 8  # the gradient of its output
    assert layer.saved == 4 * (
        3 * 4 + 3 * 8
    )  # input, for the gradient of its weight, and output, for the loss


def test_the_backward_pass_belongs_to_the_layer_of_its_forward_pass(products_alone):
    _, layers, _, _ = traced(Stack(), torch.rand(3, 4))
    for layer in layers:
        forward, backward = flops([layer], "forward"), flops([layer], "backward")
        if layer.name == "stem":
            assert backward == forward  # the input needs no gradient
        else:
            assert backward == 2 * forward


def test_inference_has_no_backward_pass(products_alone):
    _, layers, _, _ = traced(Stack(), torch.rand(3, 4), train=False)
    assert not any(layer.backward or layer.saved for layer in layers)
    assert flops(layers, "forward") == 2 * 3 * (4 * 8 + 3 * 2 * 8 * 16 + 8 * 2)


def test_precision_is_that_of_all_bytes():
    for module, example in ((Stack(), torch.rand(3, 4)), (Tied(), torch.zeros(3, 4, dtype=torch.long))):
        full = traced(module, example)
        half = traced(module, example, dtype=torch.bfloat16)
        assert [w.bytes for w in full[0].weights.values()] == [2 * w.bytes for w in half[0].weights.values()]
        assert full[2] == {key: 2 * bytes_ for key, bytes_ in half[2].items()}


def test_tensors_that_skip_layers():
    _, _, tensors, _ = traced(Skips(), torch.rand(5, 4), layers=["first", "second", "third"])
    # Both parts are put together behind the second layer, before the third.
    assert tensors == {(0, (1,)): 4 * 5 * 4, (1, (2,)): 4 * 5 * 10}


def test_a_tensor_that_two_layers_use_counts_once():
    class Twice(nn.Module):
        def __init__(self):
            super().__init__()
            self.first, self.second, self.third = nn.Linear(4, 4), nn.Linear(4, 4), nn.Bilinear(4, 4, 2)

        def forward(self, x):
            a = self.first(x)
            return self.third(a, self.second(a))

    _, _, tensors, _ = traced(Twice(), torch.rand(5, 4))
    assert tensors == {(0, (1, 2)): 80, (1, (2,)): 80}


def test_a_mask_passes_between_no_layers():
    class Masked(nn.Module):
        def __init__(self):
            super().__init__()
            self.first, self.second = nn.Linear(4, 4), nn.Linear(4, 4)

        def forward(self, x):
            mask = x > 0
            return self.second(self.first(x) * mask) * mask

    _, _, tensors, _ = traced(Masked(), torch.rand(5, 4))
    assert tensors == {(0, (1,)): 80}


@pytest.mark.parametrize(("module", "tied"), [(Tied, ("embed", "head")), (Borrowing, ("embed", "mix"))])
def test_layers_that_share_weights(module, tied):
    _, _, _, ties = traced(module(), torch.zeros(3, 5, dtype=torch.long))
    assert ties == (tied,)


def test_a_lookup_reads_what_it_takes_and_no_more():
    _, layers, _, _ = traced(nn.Embedding(1000, 4), torch.zeros(3, 5, dtype=torch.long), layers=[""])
    assert list(layers[0].forward) == [(0.0, 2 * 4 * 15 * 4, "")]


def test_views_and_empty_tensors_move_nothing():
    class View(nn.Module):
        def __init__(self):
            super().__init__()
            self.layer = nn.Linear(4, 4, bias=False)

        def forward(self, x):
            torch.empty(1000)
            return self.layer(x.view(2, 6, 4)[:, 1:].transpose(0, 1).permute(1, 0, 2)).expand(3, 2, 5, 4)

    trace, _, _, _ = traced(View(), torch.rand(12, 4), train=False)
    moving = [operation for operation in trace.operations if operation.bytes]
    assert sum(operation.flops > 0 for operation in moving) == 1
    assert len(moving) <= 2  # the product, and a copy that its input needs


def test_values_written_in_place_pass_on():
    class InPlace(nn.Module):
        def __init__(self):
            super().__init__()
            self.first, self.second = nn.Linear(4, 4), nn.Linear(4, 4)

        def forward(self, x):
            return self.second(self.first(x).relu_())

    _, _, tensors, _ = traced(InPlace(), torch.rand(5, 4))
    assert tensors == {(0, (1,)): 80}


def test_frozen_weights_do_not_train():
    module = Stack()
    for weight in module.blocks.parameters():
        weight.requires_grad_(False)
    trace, layers, _, _ = traced(module, torch.rand(3, 4))
    trained = [any(trace.weights[weight].trained for weight in layer.weights) for layer in layers]
    assert trained == [True, False, False, False, True, True]
    assert flops([layers[1]], "backward") == flops([layers[1]], "forward")  # gradients of inputs alone


def test_attention_is_one_operation_whatever_its_mask():
    class Attention(nn.Module):
        def __init__(self, **options):
            super().__init__()
            self.options, self.out = options, nn.Linear(8, 8)

        def forward(self, x):
            query = x.view(2, 6, 4, 2).transpose(1, 2)
            key = query[:, :2] if self.options.get("enable_gqa") else query
            return self.out(
                nn.functional.scaled_dot_product_attention(query, key, key, **self.options)
                .transpose(1, 2)
                .reshape(2, 6, 8)
            )

    found = []
    for options in (
        {},
        {"is_causal": True},
        {"attn_mask": torch.ones(6, 6, dtype=torch.bool)},
        {"attn_mask": torch.zeros(1, 1, 6, 6)},
        {"enable_gqa": True},
    ):
        _, layers, _, _ = traced(Attention(**options), torch.rand(2, 6, 8), layers=[""])
        found.append(flops(layers, "forward"))
        assert [kernel.kind for kernel in layers[0].forward].count("attention") == 1
    pairs = [6 * 6, 6 * 7 / 2, 6 * 6, 6 * 6, 6 * 6]  # causal attention works on each token's past alone
    assert found == [2 * 2 * 2 * 4 * each * 2 + 2 * 12 * 8 * 8 for each in pairs]


def test_a_batch_norm_that_trains_reads_its_inputs_twice():
    size = 4 * 2 * 3 * 5 * 5
    _, (layer,), _, _ = traced(nn.BatchNorm2d(3), torch.rand(2, 3, 5, 5), layers=[""])
    (forward,) = (kernel for kernel in layer.forward if kernel.flops > 10)
    (backward,) = (kernel for kernel in layer.backward if kernel.flops > 10)
    assert 3 * size <= forward.bytes < 3 * size + 200
    assert 5 * size <= backward.bytes < 5 * size + 200  # input and gradient twice, and what it makes


def test_convolutions_are_of_their_kind():
    _, (layer,), _, _ = traced(nn.Conv2d(3, 4, 3), torch.rand(2, 3, 9, 9), layers=[""])
    assert "convolution" in {kernel.kind for kernel in layer.forward}
    assert "convolution" in {kernel.kind for kernel in layer.backward}


def test_the_module_stays_as_it_is():
    module = Conv()
    before = {name: value.clone() for name, value in module.state_dict().items()}
    module.train(False)
    traced(module, torch.rand(2, 3, 16, 16))
    assert not module.training
    assert not module._forward_hooks
    assert all(torch.equal(value, before[name]) for name, value in module.state_dict().items())
    assert all(weight.grad is None for weight in module.parameters())
    gc.collect()


def test_no_memory_is_needed():
    huge = nn.Sequential(*(nn.Linear(100_000, 100_000, device="meta") for _ in range(3)))
    trace, layers, _, _ = traced(huge, torch.empty(2, 100_000, device="meta"))
    assert sum(weight.bytes for weight in trace.weights.values()) > 1e11
    assert [layer.flops for layer in layers] == [4e10] * 3


def test_questions_about_all_values_are_answered(products_alone):
    _, layers, _, _ = traced(Deciding(at_one=False), torch.rand(5, 4))
    assert flops(layers, "forward") == 2 * 5 * 4 * 4


def test_modules_that_depend_on_values_are_refused():
    with pytest.raises(ValueError, match=r"Deciding cannot run without values.*depends on the values"):
        traced(Deciding(at_one=True), torch.rand(5, 4))


def test_modules_that_cannot_run_or_train_are_refused():
    with pytest.raises(ValueError, match="Stack cannot run without values, on the meta device: "):
        traced(Stack(), torch.rand(3, 5))
    with pytest.raises(ValueError, match="none of its outputs depends on weights that train"):
        traced(Stack().requires_grad_(False), torch.rand(3, 4))


def test_any_exception_of_a_module_is_reported():
    class Asserting(Stack):
        def forward(self, x):
            assert len(x) == 3, "three rows"  # as modules check their inputs
            return super().forward(x)

    with pytest.raises(ValueError, match=r"Asserting cannot run .*: three rows"):
        traced(Asserting(), torch.rand(5, 4))


class Itself(Residual):
    """Its copy is itself."""

    def __deepcopy__(self, memo):
        return self


@pytest.mark.parametrize("make", [Residual, Itself])
def test_hooks_are_gone_where_it_fails(make):
    module = make().to("meta")
    with pytest.raises(ValueError, match=r"cannot run .* \(called with 3x5\)"):
        traced(module, torch.rand(3, 5))
    assert not any(part._forward_hooks or part._forward_pre_hooks for part in module.modules())
    traced(module, torch.rand(3, 8))


@pytest.mark.parametrize(
    ("shape", "mask"),
    [((2, 3, 8), None), ((2, 3, 5, 2, 8), None), ((2, 3, 5, 2, 8), (2, 2)), ((1, 3, 2, 5, 2, 8), (5, 2, 2))],
)
def test_attention_of_any_rank_is_one_operation(shape, mask):
    class Attention(nn.Module):
        def __init__(self):
            super().__init__()
            self.layer = nn.Linear(8, 8)

        def forward(self, x):
            query = self.layer(x)
            bias = None if mask is None else torch.zeros(mask)
            found = nn.functional.scaled_dot_product_attention(query, query, query, bias)
            assert found.shape == x.shape
            return found

    trace, _ = torch_module.trace(Attention(), (torch.rand(shape),), {}, dtype=torch.float32, train=True)
    [attention] = [operation for operation in trace.operations if operation.kind == "attention"]
    heads = torch.zeros(shape).numel() // (shape[-2] * 8)
    assert attention.flops == 4 * heads * shape[-2] ** 2 * 8


def test_attention_is_put_back():
    attention = nn.functional.scaled_dot_product_attention
    with pytest.raises(ValueError, match="cannot run"):
        traced(Stack(), torch.rand(3, 5))
    assert nn.functional.scaled_dot_product_attention is attention
    assert torch.backends.mha.get_fastpath_enabled()


@dataclass(frozen=True)
class Parts:
    first: torch.Tensor
    rest: dict
    count: int = 1


class Pair(NamedTuple):
    first: torch.Tensor
    rest: object


class Record(nn.Module):
    """Takes tensors in containers, and gives what it makes in one of a class."""

    def __init__(self, kind):
        super().__init__()
        self.kind, self.layer = kind, nn.Linear(4, 4)

    def forward(self, x):
        y = self.layer(x.first) + x.rest["more"][0]
        return self.kind(y, {"more": [y]})


@pytest.mark.parametrize("kind", [Parts, Pair])
def test_tensors_are_found_in_containers_of_any_kind(kind, products_alone):
    given = kind(torch.ones(2, 4), UserDict(more=[torch.ones(2, 4)]))
    _, (layer,), _, _ = traced(Record(kind), given, layers=["layer"])
    assert layer.flops == 2 * 2 * 4 * 4
    assert flops([layer], "backward") == layer.flops
    assert given.first.device.type == "cpu"
    assert given.rest["more"][0].dtype == torch.float32


def test_a_compiled_module_is_traced_without_compiling():
    compiled = []

    def backend(graph, inputs):
        compiled.append(graph)
        return graph.forward

    module = nn.Sequential(nn.Linear(3, 4), nn.ReLU(), nn.Linear(4, 2))
    _, layers, _, _ = traced(module, torch.zeros(5, 3))
    _, found, _, _ = traced(torch.compile(module, backend=backend), torch.zeros(5, 3))
    assert not compiled
    assert [layer.forward for layer in found] == [layer.forward for layer in layers]


def test_a_module_that_overrides_call_is_the_outermost_call():
    class Called(Stack):
        def __call__(self, *args):  # without hooks
            return self.forward(*args)

    assert traced(Called(), torch.rand(3, 4))[1] == traced(Stack(), torch.rand(3, 4))[1]

    class Leaf(nn.Linear):
        __call__ = nn.Linear.forward

    _, (layer,), _, _ = traced(Leaf(4, 4), torch.rand(3, 4))
    assert layer.flops == 2 * 3 * 4 * 4


class Rerunning(nn.Module):
    """Runs its blocks again for the backward pass: each by itself, or all at once."""

    def __init__(self, how, reentrant):
        super().__init__()
        self.blocks = nn.ModuleList(
            nn.Sequential(nn.Linear(8, width), nn.GELU(), nn.Linear(width, 8)) for width in (16, 32, 64)
        )
        self.stem, self.how, self.reentrant = nn.Linear(8, 8), how, reentrant

    def forward(self, x):
        def run(x, blocks):
            for block in blocks:
                x = block(x)
            return x

        x = self.stem(x)
        if self.how == "all":
            return checkpoint(run, x, self.blocks, use_reentrant=self.reentrant)
        for block in self.blocks:
            x = checkpoint(block, x, use_reentrant=self.reentrant) if self.how == "each" else block(x)
        return x


@pytest.mark.parametrize("reentrant", [True, False])
@pytest.mark.parametrize("how", ["each", "all"])
def test_checkpointing_runs_a_layer_again_in_its_own_backward_pass(how, reentrant):
    paths = ["stem", *(f"blocks.{i}" for i in range(3))]
    _, plain, _, _ = traced(Rerunning("plain", reentrant), torch.rand(2, 8), layers=paths)
    _, layers, _, _ = traced(Rerunning(how, reentrant), torch.rand(2, 8), layers=paths)
    assert [layer.flops for layer in layers] == [layer.flops for layer in plain]
    assert flops(layers[:1], "backward") == flops(plain[:1], "backward")
    for layer, other in zip(layers[1:], plain[1:], strict=True):
        again = flops([layer], "backward") - flops([other], "backward")
        assert layer.flops / 2 <= again <= layer.flops  # torch stops early, once it has what was kept
    assert sum(layer.saved for layer in layers) < sum(layer.saved for layer in plain) / 2


@pytest.mark.parametrize("embedding", [nn.Embedding, nn.EmbeddingBag])
def test_embeddings_with_sparse_gradients(embedding):
    module = nn.Sequential(embedding(1000, 4, sparse=True), nn.Linear(4, 2))
    _, layers, _, _ = traced(module, torch.zeros(3, 5, dtype=torch.long))
    moved = sum(kernel[1] * count for kernel, count in layers[0].backward.items())
    assert 0 < moved < 1000 * 4 * 4  # rows of the gradient, not all


class Buffers(nn.Module):
    """A table, and quantised weights."""

    def __init__(self):
        super().__init__()
        self.register_buffer("table", torch.zeros(100), persistent=False)
        self.register_buffer("weight", torch.zeros(4, 4, dtype=torch.int8))
        self.register_buffer("again", self.table)

    def forward(self, x):
        return x @ self.weight.to(x.dtype) + self.table[:4]


def test_buffers_are_tables_or_quantised_weights():
    trace, layers, tensors, _ = traced(
        nn.Sequential(Buffers(), nn.Linear(4, 4), Buffers()), torch.rand(3, 4), dtype=torch.bfloat16
    )
    assert [layer.name for layer in layers] == ["0", "1", "2"]
    assert {weight.name: weight.bytes for weight in trace.weights.values() if not weight.trained} == {
        "0.weight": 16,
        "2.weight": 16,
    }
    assert trace.buffers == {"0.table": 200, "2.table": 200}
    assert tensors == {(0, (1,)): 24, (1, (2,)): 24}
