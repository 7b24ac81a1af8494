"""Which products are divided among devices where a network has no plan of its own, and whose plan it has."""

import pytest

torch = pytest.importorskip("torch")

from networks import Stack  # noqa: E402
from torch import nn  # noqa: E402
from torch.nn import functional  # noqa: E402

from stageplan.profiling.models import read_model  # noqa: E402
from stageplan.profiling.network import Options  # noqa: E402
from stageplan.profiling.parallel_plan import own_plan, rule  # noqa: E402
from stageplan.profiling.strategies import Division  # noqa: E402


class Part(nn.Module):
    """Products a, b, c and d of one width."""

    def __init__(self):
        super().__init__()
        self.a, self.b, self.c, self.d = (nn.Linear(8, 8) for _ in range(4))


class Gated(Part):
    def forward(self, x):
        return x + self.d(functional.silu(self.a(x)) * self.b(x))


class Attending(Part):
    """Attention with as many heads as the projections have."""

    def forward(self, x):
        q, k, v = (part(x).view(*x.shape[:-1], -1, 2).transpose(1, 2) for part in (self.a, self.b, self.c))
        return x + self.d(functional.scaled_dot_product_attention(q, k, v).transpose(1, 2).flatten(2))


class Fixed(Attending):
    """The same, with the number of heads in its shapes; then two products."""

    def forward(self, x):
        q = self.a(x).view(*x.shape[:-1], 4, 2).transpose(1, 2)
        x = self.b(functional.scaled_dot_product_attention(q, q, q).transpose(1, 2).flatten(2))
        return self.d(self.c(x.softmax(-1)).relu())


class Rotated(Part):
    """Halves of the numbers change places between the products."""

    def forward(self, x):
        left, right = self.a(x).chunk(2, -1)
        return self.b(torch.cat([-right, left], -1))


class Normed(Part):
    def forward(self, x):
        return self.b(self.a(x).softmax(-1)) + self.d(self.c(x).relu())


class Leaking(Part):
    """Something else reads what the first product makes."""

    def forward(self, x):
        made = self.a(x)
        return self.b(made.relu()) + made


class Again(Part):
    """The second product runs twice."""

    def forward(self, x):
        return self.b(self.b(self.a(x).relu()))


class Scaled(Part):
    """A weight for each number is between the products."""

    def __init__(self):
        super().__init__()
        self.scale = nn.Parameter(torch.ones(8))

    def forward(self, x):
        return self.b(self.a(x) * self.scale)


def read(module, example, layers=None):
    return read_model(module, example, Options("train", None, None, None, None, layers), on=None)


def divided(module, layers=("a",), attention=True):
    """Products by columns and by rows; layers begin at modules."""
    network = read(module, torch.rand(2, 3, 8), layers)
    styles = rule(module, network.trace, network.cuts, 2, attention=attention).modules
    return [{path for path, style in styles.items() if style == name} for name in ("colwise", "rowwise")]


@pytest.mark.parametrize(
    ("module", "columns", "rows"),
    [
        (Gated(), {"a", "b"}, {"d"}),
        (Attending(), {"a", "b", "c"}, {"d"}),
        (Rotated(), {"a"}, {"b"}),
        (Normed(), {"c"}, {"d"}),
        (Leaking(), set(), set()),
        (Again(), set(), set()),
        (Scaled(), set(), set()),
    ],
    ids=lambda value: type(value).__name__ if isinstance(value, nn.Module) else "",
)
def test_pairs_have_only_operations_on_each_number_between_them(module, columns, rows):
    assert divided(module) == [columns, rows]


def test_a_product_is_in_one_pair():
    assert divided(nn.Sequential(*(nn.Linear(8, 8) for _ in range(3))), ["0"]) == [{"0"}, {"1"}]


def test_pairs_are_of_one_layer():
    module = nn.Sequential(nn.Linear(8, 8), nn.ReLU(), nn.Linear(8, 8))
    assert divided(module, ["0"]) == [{"0"}, {"2"}]
    assert divided(module, ["0", "2"]) == [set(), set()]
    module = nn.Sequential(*(nn.Linear(8, 8) for _ in range(3)))
    assert divided(module, ["0", "1"]) == [{"1"}, {"2"}]


def test_attention_is_between_products_if_the_number_of_heads_may_change():
    assert divided(Fixed()) == [{"a", "c"}, {"b", "d"}]
    assert divided(Fixed(), attention=False) == [{"c"}, {"d"}]
    part = read(Fixed(), torch.rand(2, 3, 8), ["a"]).divide(Division(2))
    assert part.notes == ("tensor parallelism divides 47.22 % of the weights; whole on each device: a, b",)


def test_torch_attention_is_divided_by_heads_that_a_degree_divides():
    module = nn.TransformerEncoderLayer(8, 4, 16, batch_first=True)
    network = read(module, torch.rand(2, 3, 8), ["self_attn"])
    plain = {"linear1": "colwise", "linear2": "rowwise"}
    styles = [dict(rule(module, network.trace, network.cuts, n, attention=True).modules) for n in (2, 3)]
    assert styles == [plain | {"self_attn": "attention"}, plain]


def test_plans_of_modules_are_taken_first():
    module = Stack()
    assert own_plan(module, Division(2)) == ({}, {})
    module.tp_plan = {
        "stem": "colwise_rep",
        "blocks.*.parts": "replicate",
        "blocks.1.parts.0.weight": "colwise",
    }
    plan = own_plan(module, Division(2))
    assert plan.modules == {"stem": "colwise_rep"} | {f"blocks.{i}.parts": "replicate" for i in range(3)}
    assert plan.parameters == {"blocks.1.parts.0.weight": "colwise"}
    with pytest.raises(ValueError, match="it has no ep_plan, as configurations of experts have"):
        own_plan(module, Division(2, experts=True))
    module.ep_plan = {"blocks.*.parts": "grouped_gemm"}
    plan = own_plan(module, Division(2, experts=True))
    assert plan.modules == {"stem": "colwise_rep"} | {f"blocks.{i}.parts": "grouped_gemm" for i in range(3)}
    assert plan.parameters == {}  # what is below a module with whole experts has their styles alone


def test_pairs_are_found_in_blocks_that_a_plan_leaves_out():
    module = Stack()
    module.tp_plan = {"stem": "colwise_gather_output"}
    part = read(module, torch.rand(2, 4)).divide(Division(2))
    assert part.notes[0].endswith("whole on each device: norm, out")
    module.tp_plan |= {"blocks.0.parts.0": "colwise", "blocks.0.parts.2": "rowwise"}
    part = read(module, torch.rand(2, 4)).divide(Division(2))
    assert "blocks.*.parts.*, norm, out" in part.notes[0]


@pytest.mark.parametrize("plan", [["stem"], {"stem": None}, "colwise"])
def test_plans_are_tables_of_texts(plan):
    module = Stack()
    module.tp_plan = plan
    with pytest.raises(
        ValueError, match=r"strategy tp=2 cannot divide Stack: its tp_plan is .*; it must be a table"
    ):
        read(module, torch.rand(2, 4)).divide(Division(2))


def test_networks_without_pairs_are_refused():
    with pytest.raises(ValueError, match="strategy tp=2 cannot be used: nothing was found that it divides"):
        read(Leaking(), torch.rand(2, 3, 8)).divide(Division(2))
