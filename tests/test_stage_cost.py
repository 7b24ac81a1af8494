"""A stage cost that a user writes: the built-in one is the same, and errors are one sentence."""

import math
import pickle
import subprocess
import sys
from dataclasses import fields
from typing import Any

import numpy as np
import pytest
from hypothesis import assume, given, settings
from strategies import option_problems, problems

import stageplan as sp
from stageplan.digest import digest_of
from stageplan.listed_options import ListedOptions

numba = pytest.importorskip("numba")


@sp.stage_cost
def amdahl(stage, layers, device):
    """Cost a stage as stageplan does without strategies, schedules and all-reduce."""
    moved = transfer_seconds(stage, layers, device)
    beta = device.transfer_parallel
    memory = layers.sum.memory + layers.max.workspace
    serial, parallel = layers.sum.serial, layers.sum.parallel
    if device.overlap:
        transfer = moved * (1 - beta) + moved * beta / stage.devices
        return max(serial + parallel / stage.devices, transfer), memory
    return serial + moved * (1 - beta) + (parallel + moved * beta) / stage.devices, memory


@numba.njit
def transfer_seconds(stage, layers, device):
    seconds = (stage.in_bytes + stage.out_bytes) / device.bandwidth
    if stage.last + 1 < stage.total:
        seconds += layers.last.send
    if stage.first > 0:
        seconds += layers.first.receive
    return seconds


@sp.stage_cost
def built_in(stage, layers, device):
    """Cost a stage as stageplan does, with a schedule or without."""
    examples = stage.batch / stage.microbatches
    fullest = math.ceil(examples / stage.replicas)
    compute = layers.sum.serial + layers.sum.parallel * stage.share
    moved, beta = transfer_seconds(stage, layers, device), device.transfer_parallel
    transfer = moved * (1 - beta) + moved * beta * stage.share
    rate = device.link if stage.devices <= device.machine else device.network
    reduce = 2.0 * (stage.replicas - 1) / stage.replicas * layers.sum.gradients / rate
    memory = layers.sum.memory + layers.sum.sharded / stage.replicas + fullest * layers.max.workspace
    return (
        max(compute, transfer) if device.overlap else compute + transfer,
        memory,
        fullest * layers.sum.activations / examples,
        compute + transfer,
        (reduce + layers.sum.update) / stage.batch,
    )


def rewritten(problem: sp.Problem, **options: Any) -> sp.Problem:
    """Make the problem with the same cost from the function."""
    runs = np.where(np.isinf(problem.compute), 0, problem.compute)
    return problem.with_stage_cost(
        built_in if problem.by_options else amdahl,
        layers={
            "serial": runs * (1 - problem.compute_parallel),
            "parallel": runs * problem.compute_parallel,
        },
        types={"overlap": np.full(problem.n_types, float(problem.goal.overlap))},
        **options,
    )


def objective_of(plan: sp.Plan) -> float:
    return {"cost": plan.cost, "throughput": plan.time, "price": plan.price}[plan.problem.goal.objective]


def same_plans(problem: sp.Problem, own: sp.Problem, schemes: np.ndarray) -> None:
    """Same devices, and the same bits of times, of all schemes; the same proven objective."""
    for scheme in schemes:
        plan, again = sp.Plan.of(problem, scheme), sp.Plan.of(own, scheme)
        assert plan.feasible == again.feasible
        if plan.feasible:
            assert [(s.devices, s.time, s.replicas, s.strategy) for s in plan.stages] == [
                (s.devices, s.time, s.replicas, s.strategy) for s in again.stages
            ]
            assert (plan.cost, plan.time, plan.price) == (again.cost, again.time, again.price)
            sp.verify(own, again)
    best, found = sp.solve(problem, "exact"), sp.solve(own, "exact")
    assert best.plan.feasible == found.plan.feasible
    if best.plan.feasible:
        assert objective_of(found.plan) == pytest.approx(objective_of(best.plan), rel=1e-9)
        assert found.proven == best.proven


def schemes_of(problem: sp.Problem) -> np.ndarray:
    rng = np.random.default_rng(0)
    return rng.integers(0, problem.n_labels, (8, problem.n_layers)).astype(np.int8)


def whole_bytes(arguments: dict[str, Any]) -> dict[str, Any]:
    """Bytes of tensors whose sums are exact in any order."""
    tensors = [(p, c, float(round(size))) for p, c, size in arguments.get("tensors", [])]
    return arguments | {"tensors": tensors}


@settings(max_examples=60, deadline=None)
@given(problems(max_layers=6).filter(lambda a: a["merge"] == "adjacent"))
def test_the_built_in_cost_as_a_function_gives_the_same_plans(arguments):
    problem = sp.Problem.from_arrays(**whole_bytes(arguments))
    same_plans(problem, rewritten(problem), schemes_of(problem))


@settings(max_examples=60, deadline=None)
@given(option_problems())
def test_with_strategies_schedules_and_memory_by_position_too(arguments):
    problem = sp.Problem.from_arrays(**whole_bytes(arguments))
    assume(min(problem.column_degree) <= (problem.goal.max_devices_per_stage or math.inf))
    same_plans(problem, rewritten(problem), schemes_of(problem))


def test_a_replica_that_no_type_has_the_devices_for_is_refused():
    arrays = {"compute": [[1.0]], "price": [1.0], "column_type": [0], "column_degree": [2]}
    arrays["max_devices_per_stage"] = 1
    with pytest.raises(ValueError, match="no type has the devices for it; limit and max_devices_per_stage"):
        rewritten(sp.Problem.from_arrays(**arrays))


SMALL = sp.Problem.from_arrays(
    [[4.0, 2.0], [2.0, 3.0], [1.0, 1.0]], price=[1.0, 2.0], limit=[4, 4], objective="throughput"
)
RATE = 2.0


def unknown_number(stage, layers, device):
    return layers.sum.flops


def unknown_field(stage, layers, device):
    return stage.name


def unknown_name(stage, layers, device):
    return missing(1.0)  # noqa: F821


def text(stage, layers, device):
    return "a"


def sometimes(stage, layers, device):
    if stage.first > 0:
        return None
    return 1.0


def six(stage, layers, device):
    return (1.0, 2.0, 3.0, 4.0, 5.0, 6.0)


def two_arguments(stage, layers):
    return 1.0


def not_a_number(stage, layers, device):
    return math.nan


def negative_memory(stage, layers, device):
    return 1.0, -2.0


def infinite_memory(stage, layers, device):
    return 1.0, math.inf


def raises(stage, layers, device):
    if stage.last == 2:
        raise ValueError("not here")
    return 1.0


def divides(stage, layers, device):
    return 1 / stage.first


def out_of_range(stage, layers, device):
    return np.zeros(3)[stage.devices + 2]


def random(stage, layers, device):
    return np.random.rand()


@pytest.mark.parametrize(
    ("function", "sentence"),
    [
        (unknown_number, "does not compile: Unknown attribute 'flops'; it must be one of compute, send, rec"),
        (
            unknown_field,
            "does not compile: Unknown attribute 'name'; it must be one of first, last, layers, ",
        ),
        (unknown_name, "does not compile: NameError: name 'missing' is not defined"),
        (text, "returns Literal[str](a); it must return the seconds of the stage, or a tuple of the first"),
        (sometimes, "returns a number only sometimes; it must return the seconds of the stage, or a tuple"),
        (six, "returns UniTuple(float64 x 6); it must return the seconds of the stage, or a tuple of the"),
        (not_a_number, "returns time nan for layers 0 to 0 on type0 with 1 device; it must be 0 or from"),
        (negative_memory, "returns memory -2 for layers 0 to 0 on type0 with 1 device; it must be 0 or f"),
        (infinite_memory, "returns memory inf for layers 0 to 0 on type0 with 1 device; it must be 0 or f"),
        (raises, "raised ValueError: not here"),
        (divides, "raised ZeroDivisionError: division by zero"),
        (out_of_range, "raised IndexError: index is out of bounds"),
        (random, "returns different numbers for the same stage; it must depend on nothing but its arguments"),
    ],
)
def test_a_wrong_function_is_one_sentence_with_its_line(function, sentence):
    cost = sp.stage_cost(function)
    with pytest.raises((sp.InputError, sp.InputTypeError)) as caught:
        SMALL.with_stage_cost(cost)
    said = str(caught.value)
    assert said.startswith(f"stage_cost {function.__name__} {sentence}")
    assert "\n" not in said
    line = int(said.rpartition(f"({__file__}, line ")[2].split(":")[0].rstrip(")"))
    code = function.__code__
    assert line in {code.co_firstlineno, *(number for _, _, number in code.co_lines())}


@pytest.mark.parametrize(
    ("function", "sentence"),
    [
        (
            two_arguments,
            "stage_cost is def two_arguments(stage, layers); it must be def two_arguments(stage, ",
        ),
        (3, "stage_cost is 3; it must be a Python function"),
    ],
)
def test_what_is_no_function_of_a_stage_is_refused(function, sentence):
    with pytest.raises(sp.InputTypeError) as caught:
        sp.stage_cost(function)
    assert str(caught.value).startswith(sentence)


def test_a_variable_that_changes_after_compilation_is_refused(monkeypatch):
    @sp.stage_cost
    def cost(stage, layers, device):
        return layers.sum.compute / RATE

    assert sp.solve(SMALL.with_stage_cost(cost), "exact").plan.feasible
    monkeypatch.setitem(globals(), "RATE", 3.0)
    with pytest.raises(
        sp.InputError, match="reads the variable RATE, which has changed since it was compiled"
    ):
        SMALL.with_stage_cost(cost)


@pytest.mark.parametrize(
    ("arguments", "sentence"),
    [
        ({"layers": {"own": [1.0]}}, "layers['own'] has shape (1,); it must be (3,) or (3, 2)"),
        ({"layers": {"own": [1.0, 2.0, math.nan]}}, "layers['own'] has a number that is NaN; all must be"),
        ({"layers": {"compute": [1.0, 1.0, 1.0]}}, "layers has the name 'compute'; it must differ from"),
        (
            {"layers": {"not a name": [1.0, 1.0, 1.0]}},
            "layers has the name 'not a name'; it must be a name of",
        ),
        ({"layers": [1.0]}, "layers is [1.0]; it must be a mapping from names to arrays"),
        ({"types": {"own": [1.0]}}, "types['own'] has shape (1,); it must be (2,)"),
        ({"replicas": [0]}, "replicas is 0; it must be a whole number, at least 1"),
        ({"replicas": [9]}, "replicas is [9], and no type has the devices for it"),
        ({"replicas": 4}, "replicas is 4; it must be a sequence of whole numbers"),
        ({"threads": 0}, "threads is 0; it must be"),
    ],
)
def test_wrong_arguments_are_refused(arguments, sentence):
    with pytest.raises((sp.InputError, sp.InputTypeError)) as caught:
        SMALL.with_stage_cost(plain, **arguments)
    assert str(caught.value).startswith(sentence)


@sp.stage_cost
def plain(stage, layers, device):
    return layers.sum.compute / stage.devices


def test_a_function_that_is_not_decorated_is_refused():
    with pytest.raises(sp.InputTypeError, match="it must be a function decorated with stage_cost"):
        SMALL.with_stage_cost(text)


def test_too_many_options_are_refused():
    problem = sp.Problem.from_arrays(np.ones((2000, 1)), price=[1.0])
    with pytest.raises(sp.InputError, match="there must be at most 134,217,728 in all"):
        problem.with_stage_cost(plain)


def test_all_that_a_stage_is_is_known():
    """The function sees the same as a loop in Python over the layers."""
    own = np.array([[1.0, 2.0], [5.0, 3.0], [2.0, 7.0]])
    problem = sp.Problem.from_arrays(
        [[4.0, 2.0], [2.0, 3.0], [1.0, 1.0]], price=[1.0, 2.0], limit=[2, 2], split=True,
        tensors=[(0, (1, 2), 8.0), (2, (0,), 4.0)], memory=[1.0, 2.0, 4.0],
    )  # fmt: skip
    filled = problem.with_stage_cost(all_fields, layers={"own": own}, types={"speed": [3.0, 5.0]})
    for first in range(3):
        for last in range(first, 3):
            for t in range(2):
                of = filled.options.of(first, last, t, 3)
                inside = slice(first, last + 1)
                into = 8.0 * (first > 0) + 4.0 * (first == 0 and last < 2)
                out = 8.0 * (first == 0 and last < 2) + 4.0 * (first > 0 and last == 2)
                memory = sum([1.0, 2.0, 4.0][first : last + 1])
                ends = own[inside, t].sum(), own[inside, t].max(), own[first, t], own[last, t]
                fields = [*ends, [3.0, 5.0][t], into, out, memory]
                expected = [sum(x * 10.0**i for i, x in enumerate(fields)) + r / 8 for r in (1, 2)]
                assert filled.options.time[of].tolist() == expected[:1]
                assert filled.options.devices[of].tolist() == [1]


@sp.stage_cost
def all_fields(stage, layers, device):
    return (
        layers.sum.own
        + 10 * layers.max.own
        + 100 * layers.first.own
        + 1000 * layers.last.own
        + 10_000 * device.speed
        + 100_000 * stage.in_bytes
        + 1_000_000 * stage.out_bytes
        + 10_000_000 * layers.sum.memory
        + stage.replicas / 8
    )


@sp.stage_cost
def rises_again(stage, layers, device):
    """Cost a stage that is fastest on three devices, cannot run on two, and needs less memory on more."""
    if stage.devices == 2:
        return math.inf, 0.0
    return layers.sum.compute * (1 + (stage.devices - 3) ** 2), 4.0 / stage.devices


def test_times_need_not_fall_and_dominated_options_are_left_out():
    problem = SMALL.replace(limit=[6, 6]).with_stage_cost(rises_again)
    of = problem.options.of(0, 1, 0, 3)
    assert problem.options.devices[of].tolist() == [1, 3, 4, 5, 6]
    problem = problem.replace(capacity=[1.0, 1.0])
    result = sp.solve(problem, "exact")
    assert result.status == "optimal"
    assert result.plan.time == sp.solve(problem, "enumerate").plan.time
    assert {stage.devices for stage in result.plan.stages} == {4}


@sp.stage_cost
def last_left_out(stage, layers, device):
    """Cost a stage that gains nothing from more devices than layers, and cannot run where it begins at 1."""
    if stage.first == 1:
        return math.inf
    return layers.sum.compute / min(stage.devices, stage.layers)


@sp.stage_cost
def late_hole(stage, layers, device):
    """Cost a stage which in the last row only cannot run on two devices."""
    if stage.first == stage.total - 1 and stage.devices == 2:
        return math.inf
    return layers.sum.compute / stage.devices


def explicit(problem: sp.Problem) -> sp.Problem:
    """Make the problem with arrays of devices and replicas."""
    arrays = {f.name: getattr(problem.options, f.name) for f in fields(problem.options)}
    return sp.Problem._of(problem._fields() | {"options": ListedOptions(**arrays)}, problem.goal)


def devices_of(problem: sp.Problem, first: int, last: int, type_: int = 0) -> list[int]:
    options = problem.options
    return options.devices[options.of(first, last, type_, problem.n_layers)].tolist()


@pytest.mark.parametrize("threads", [1, 3])
@pytest.mark.parametrize(
    ("cost", "counted", "of_two_layers", "of_layer_1", "of_the_last"),
    [
        ("plain", True, [1, 2, 3, 4], [1, 2, 3, 4], [1, 2, 3, 4]),
        ("last_left_out", True, [1, 2], [], [1]),
        ("rises_again", False, [1, 3, 4], [1, 3, 4], [1, 3, 4]),
        ("late_hole", False, [1, 2, 3, 4], [1, 2, 3, 4], [1, 3, 4]),
    ],
)
def test_devices_are_counted_where_none_is_left_out_before_another(
    cost, counted, of_two_layers, of_layer_1, of_the_last, threads, tmp_path
):
    problem = SMALL.with_stage_cost(globals()[cost], threads=threads)
    options, arrays = problem.options, explicit(problem)
    assert options.counted == counted
    assert devices_of(problem, 0, 1) == of_two_layers
    assert devices_of(problem, 1, 1) == devices_of(problem, 1, 2, 1) == of_layer_1
    assert devices_of(problem, 2, 2) == of_the_last
    assert options.devices.dtype == np.int32
    assert not options.devices.flags.writeable
    assert np.array_equal(options.replicas, options.devices)
    problem.save(tmp_path / "filled.npz")
    for other in (arrays, sp.Problem.load(tmp_path / "filled.npz"), pickle.loads(pickle.dumps(problem))):
        assert other == problem
        assert hash(other) == hash(problem)
        assert digest_of(other) == digest_of(problem)
    for method in ("exact", "greedy", "genetic"):
        of_both = [sp.solve(p, method, stop=sp.MaxGenerations(5), seed=0).plan for p in (problem, arrays)]
        assert of_both[0].stages == of_both[1].stages


@pytest.mark.parametrize(
    "goal", [{"max_devices_per_stage": 3}, {"same_replicas": True}, {"schedule": "1f1b"}]
)
def test_counted_options_are_chosen_as_those_of_arrays(goal):
    if "schedule" in goal:
        goal = goal | {"batch": 8, "microbatches": 2}
    problem = SMALL.replace(**goal).with_stage_cost(last_left_out)
    arrays = explicit(problem)
    assert problem.options.counted == ("same_replicas" not in goal)
    found, expected = (sp.solve(p, "exact") for p in (problem, arrays))
    assert (found.status, found.plan.stages) == (expected.status, expected.plan.stages)
    sp.verify(arrays, found.plan)


def test_replicas_that_are_not_counted_are_kept():
    problem = SMALL.with_stage_cost(plain, replicas=[2, 4])
    assert not problem.options.counted
    assert devices_of(problem, 0, 1) == [2, 4]


def test_the_options_do_not_depend_on_the_number_of_threads():
    rng = np.random.default_rng(3)
    problem = sp.Problem.from_arrays(rng.uniform(1, 2, (40, 3)), price=[1.0, 2.0, 3.0], limit=[9, 9, 9])
    one, four = (problem.with_stage_cost(plain, threads=threads) for threads in (1, 4))
    assert one == four


def test_a_layer_that_a_type_cannot_run_is_not_offered_there():
    problem = sp.Problem.from_arrays([[1.0, 2.0], [math.inf, 2.0]], price=[1.0, 1.0], limit=[2, 2])
    options = problem.with_stage_cost(plain).options
    assert options.time[options.of(0, 0, 0, 2)].tolist() == [1.0, 0.5]
    assert options.time[options.of(0, 1, 0, 2)].size == options.time[options.of(1, 1, 0, 2)].size == 0


def test_a_filled_problem_keeps_to_the_goal_that_the_function_has_read(tmp_path):
    problem = SMALL.replace(batch=8).with_stage_cost(plain)
    assert problem.replace(max_price=4.0).goal.max_price == 4.0
    problem.save(tmp_path / "filled.npz")
    again = sp.Problem.load(tmp_path / "filled.npz")
    assert again == problem
    for filled in (problem, again):
        with pytest.raises(sp.InputError, match=r"^batch is 16; it must be 8, for which the stage cost gave"):
            filled.replace(batch=16)


@pytest.mark.parametrize("method", ["genetic", "reinforce", "random", "greedy", "auto"])
def test_all_methods_search_among_the_options(method):
    problem = SMALL.with_stage_cost(plain)
    best = sp.solve(problem, "exact").plan
    result = sp.solve(problem, method, stop=sp.MaxGenerations(5), population=16)
    sp.verify(problem, result.plan)
    assert result.plan.time >= best.time


def test_machine_code_is_kept_beside_the_source_file(tmp_path):
    script = tmp_path / "model.py"
    script.write_text(
        "import stageplan as sp\n@sp.stage_cost\ndef cost(stage, layers, device):\n"
        "    return layers.sum.compute / stage.devices\n"
        "problem = sp.Problem.from_arrays([[2.0]], price=[1.0], limit=[2], objective='throughput')\n"
        "print(sp.solve(problem.with_stage_cost(cost), 'exact').plan.time)\n"
    )
    command = [sys.executable, str(script)]
    first, second = (
        subprocess.run(command, capture_output=True, text=True, check=True).stdout for _ in range(2)
    )
    assert (first, second) == ("1.0\n", "1.0\n")
    assert len(list((tmp_path / "__pycache__").glob("model.cost_*.nbc"))) == 1


def test_a_file_may_be_imported_by_two_names(tmp_path):
    """Machine code names the module that it is of, which another process may know by another name."""
    package = tmp_path / "package"
    package.mkdir()
    (package / "__init__.py").touch()
    (package / "model.py").write_text(
        "import stageplan as sp\n@sp.stage_cost\ndef cost(stage, layers, device):\n"
        "    return layers.sum.compute / stage.devices\n"
        "problem = sp.Problem.from_arrays([[2.0]], price=[1.0], limit=[2])\n"
        "print(problem.with_stage_cost(cost).options.time.tolist())\n"
    )
    for path, name in ((package, "model"), (tmp_path, "package.model")):
        code = f"import sys; sys.path.insert(0, {str(path)!r}); import {name}"
        run = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, cwd=tmp_path)
        assert run.stdout == "[2.0, 1.0]\n", run.stderr


def test_functions_of_one_name_are_told_apart():
    """Those of one file, of one name and on one line, that differ in a constant or in what they call."""

    def double(x):
        return 2.0 * x

    def triple(x):
        return 3.0 * x

    def make(function):
        scale = numba.njit(function)

        @sp.stage_cost
        def cost(stage, layers, device):
            return scale(layers.sum.compute)

        return SMALL.with_stage_cost(cost).options.time[0]

    assert [make(double), make(triple), make(double)] == [8.0, 12.0, 8.0]


def test_without_numba_the_extra_is_named(monkeypatch):
    monkeypatch.setitem(sys.modules, "numba", None)
    with pytest.raises(
        ImportError, match=r'numba is required for a stage_cost; pip install "stageplan\[numba\]"'
    ):
        SMALL.with_stage_cost(plain)
