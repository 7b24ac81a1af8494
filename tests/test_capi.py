"""The C API: each function gives Python's own answers, and refuses what is wrong in a sentence."""

import importlib.util
import os
import re
import shlex
import shutil
import subprocess
import sys
import sysconfig
from concurrent.futures import ThreadPoolExecutor
from ctypes import byref, c_void_p, sizeof
from pathlib import Path

import numpy as np
import option_problems
import pytest
from capi_calls import (
    AUTO,
    EXACT,
    FUNCTIONS,
    INVALID,
    OBJECTIVES,
    STATUSES,
    Arrays,
    Goal,
    Plan,
    Result,
    Search,
    Stage,
    address_of,
    call,
    make_problem,
    new,
    set_array,
    structs,
)
from strategies import random_problem

import stageplan as sp
from stageplan import capi

HEADER = Path(sp.get_include()) / "stageplan/capi.h"
PXD = Path(sp.__file__).with_name("capi.pxd")
COMPILER = shlex.split(sysconfig.get_config_var("CC") or "")
needs_compiler = pytest.mark.skipif(
    not COMPILER or shutil.which(COMPILER[0]) is None, reason="there is no C compiler"
)
SMALL = {"compute": [[4.0, 1.0], [2.0, 1.0], [1.0, 2.0]], "price": [1.0, 3.0]}
NOT_A_HANDLE = "problem is not one that problem_new made, or it was freed"


def draw_arguments(seed, **fixed):
    rng = np.random.default_rng(seed)
    shape = {
        "merge": ("adjacent", "type")[seed % 2],
        "split": bool(seed & 2),
        "objective": OBJECTIVES[seed % 3],
        "max_devices_per_stage": 8,
    } | fixed
    layers, types = int(rng.integers(1, 9)), int(rng.integers(1, 5))
    arguments = random_problem(rng, layers, types, **shape)
    if seed % 4 < 2:
        arguments["workspace"] = rng.uniform(0, 2, layers)
    return arguments


def make_scorer(problem, target=0.0):
    scorer = c_void_p()
    assert call("scorer_new", problem, target, byref(scorer)) == ""
    return scorer


def score(scorer, schemes):
    """Cost, time, violation and price of each scheme."""
    scores = np.full((4, len(schemes)), -1.0)
    columns = [column.ctypes.data for column in scores]
    assert call("score", scorer, schemes.ctypes.data, len(schemes), schemes.shape[1], *columns) == ""
    return scores


def provision(problem, scheme):
    plan, stages = Plan(), (Stage * len(scheme))()
    assert call("provision", problem, scheme.ctypes.data, len(scheme), byref(plan), stages) == ""
    return plan, stages[: plan.stages]


def solve(problem, layers, **changes):
    search, result = new(Search), Result()
    for name, value in changes.items():
        setattr(search, name, value)
    scheme, stages = np.full(layers, -1, np.int8), (Stage * layers)()
    assert call("solve", problem, byref(search), layers, byref(result), scheme.ctypes.data, stages) == ""
    return result, scheme, stages[: result.plan.stages]


def check_plan(plan, stages, expected):
    problem = expected.problem
    numbers = (plan.cost, plan.time, plan.price, plan.violation)
    assert numbers == (expected.cost, expected.time, expected.price, expected.violation)
    assert (plan.stages, plan.devices) == (len(stages), sum(stage.devices for stage in expected.stages))
    for ours, stage in zip(stages, expected.stages, strict=True):
        for name in ("label", "devices", "replicas", "in_flight", "time", "compute", "transfer", "memory"):
            assert getattr(ours, name) == getattr(stage, name), name
        assert problem.type_names[ours.type] == stage.type
        assert (ours.first, ours.last) == (stage.layers[0], stage.layers[-1])
        strategies = problem.column_strategy
        if strategies is None:
            assert ours.column == ours.type
        else:
            assert stage.strategy == (strategies[ours.column] if ours.column >= 0 else "")


# The answers are Python's ----------------------------------------------------------------------------------


@pytest.mark.parametrize("seed", range(24))
def test_scores_and_plans_are_those_of_python(seed):
    arguments = draw_arguments(seed)
    expected, problem = sp.Problem.from_arrays(**arguments), make_problem(**arguments)
    rng = np.random.default_rng(seed)
    schemes = rng.integers(0, expected.n_labels, (50, expected.n_layers), dtype=np.int8)
    for target in (0.0, 0.3):
        scorer = make_scorer(problem, target)
        cost, time, violation, price = score(scorer, schemes)
        of_python = sp.evaluate(expected, schemes, target or None)
        np.testing.assert_array_equal([cost, 1 / time, violation], of_python[:3])
        if of_python.price is not None:
            np.testing.assert_array_equal(price, of_python.price)
        assert call("scorer_free", scorer) == ""
    for scheme in schemes[:5]:
        check_plan(*provision(problem, scheme), sp.Plan.of(expected, scheme))
    assert call("problem_free", problem) == ""


@pytest.mark.parametrize("seed", range(24))
def test_solving_finds_what_python_finds(seed):
    arguments = draw_arguments(seed)
    expected, problem = sp.Problem.from_arrays(**arguments), make_problem(**arguments)
    stop = sp.NoImprovement(3)
    methods = {"auto": AUTO} | ({"exact": EXACT} if arguments["merge"] == "adjacent" else {})
    for method, code in methods.items():
        result, scheme, stages = solve(problem, expected.n_layers, method=code, stagnation=3, seed=seed)
        of_python = sp.solve(expected, method, seed=seed, stop=stop if method == "auto" else None)
        assert scheme.tolist() == of_python.plan.scheme.tolist()
        check_plan(result.plan, stages, of_python.plan)
        assert STATUSES[result.status] == of_python.status.removesuffix(" over this order")
        bound = 1 / result.bound if expected.goal.objective == "throughput" else result.bound
        assert (bound, result.work) == (of_python.bound, of_python.work)
    assert call("problem_free", problem) == ""


def test_a_budget_of_work_ends_a_search():
    rng = np.random.default_rng(0)
    arguments = {"compute": rng.uniform(1, 5, (60, 6)), "price": rng.uniform(1, 5, 6), "limit": [3.0] * 6}
    arguments |= {"compute_parallel": 0.9, "min_throughput": 0.08}
    problem = make_problem(**arguments)
    few, some = (solve(problem, 60, method=EXACT, work=work)[0] for work in (1, 2_500_000))
    expected = sp.solve(sp.Problem.from_arrays(**arguments), "exact", stop=sp.MaxWork(2_500_000))
    assert STATUSES[some.status] == expected.status == "feasible"
    assert few.work < some.work == expected.work
    assert few.bound <= some.bound == expected.bound
    assert some.plan.cost == expected.plan.cost


def test_infeasible_is_an_answer():
    problem = make_problem(**SMALL, limit=[1, 1], min_throughput=100.0)
    result, _, _ = solve(problem, 3, method=EXACT)
    assert STATUSES[result.status] == "infeasible"
    assert result.bound == np.inf
    assert result.plan.violation > 0


def test_outputs_may_be_absent():
    problem, search, result, plan = make_problem(**SMALL), new(Search), Result(), Plan()
    assert call("solve", problem, byref(search), 3, byref(result), None, None) == ""
    scheme = np.zeros(3, np.int8)
    assert call("provision", problem, scheme.ctypes.data, 3, byref(plan), None) == ""
    scores, scorer = np.empty((3, 1)), make_scorer(problem)
    columns = [column.ctypes.data for column in scores]
    assert call("score", scorer, scheme.ctypes.data, 1, 3, *columns, None) == ""
    assert scores[0, 0] == plan.cost
    assert call("score", scorer, None, 0, 3, None, None, None, None) == ""
    assert FUNCTIONS["score"](scorer, None, 1, 3, None, None, None, None, None) == INVALID


@pytest.mark.parametrize("seed", range(10))
def test_handles_of_a_problem_with_strategies(seed):
    problem = sp.Problem.from_arrays(**option_problems.draw_arguments(np.random.default_rng(seed)))
    handles = capi.Handles(problem, target=0.5)
    schemes = np.random.default_rng(seed).integers(0, problem.n_labels, (20, problem.n_layers), dtype=np.int8)
    at_target = sp.evaluate(problem, schemes, 0.5)
    np.testing.assert_array_equal(score(handles.scorer, schemes)[0], at_target.cost)
    for scheme in schemes[:3]:
        check_plan(*provision(handles.problem, scheme), sp.Plan.of(problem, scheme))
    result, scheme, stages = solve(handles.problem, problem.n_layers, method=EXACT)
    of_python = sp.solve(problem, "exact")
    assert scheme.tolist() == of_python.plan.scheme.tolist()
    assert result.work == of_python.work
    check_plan(result.plan, stages, of_python.plan)


def test_handles_without_a_target_score_exactly():
    problem = sp.Problem.from_arrays(**SMALL)
    schemes = np.array([[0, 1, 0], [1, 1, 1]], np.int8)
    handles = capi.Handles(problem)
    np.testing.assert_array_equal(score(handles.scorer, schemes)[0], sp.evaluate(problem, schemes).cost)


def test_handles_are_freed_with_their_object():
    handles = capi.Handles(sp.Problem.from_arrays(**SMALL))
    problem, scorer = handles.problem, handles.scorer
    del handles
    assert call("problem_free", problem) == NOT_A_HANDLE
    assert call("scorer_free", scorer) == NOT_A_HANDLE.replace("problem", "scorer")


@pytest.mark.parametrize(
    ("arguments", "error", "sentence"),
    [
        ((1,), TypeError, "problem is int; it must be a Problem"),
        (
            (sp.Problem.from_arrays(**SMALL), 0),
            ValueError,
            "target is 0; it must be a finite number, more than 0",
        ),
        (
            (sp.Problem.from_arrays(**SMALL), "1"),
            TypeError,
            "target is '1'; it must be a finite number, more than 0",
        ),
        (
            (sp.Problem.from_arrays(**SMALL), 1e-70),
            ValueError,
            "target is 1e-70; it must be 0 or from 1e-60 to 1e60 examples/s",
        ),
    ],
)
def test_handles_refuse_what_is_wrong(arguments, error, sentence):
    with pytest.raises(error) as raised:
        capi.Handles(*arguments)
    assert str(raised.value) == sentence
    assert isinstance(raised.value, sp.StageplanError)


def test_handles_refuse_a_plan_cost():
    """A function of Python's, which lives no longer than its problem."""
    pytest.importorskip("numba")

    @sp.plan_cost
    def rent(stages, plan):
        return plan.price

    with pytest.raises(sp.InputError) as raised:
        capi.Handles(sp.Problem.from_arrays(**SMALL, plan_cost=rent))
    assert str(raised.value) == "problem has the plan_cost rent; the C API takes problems without one"


def test_a_scorer_outlives_its_problem():
    problem = make_problem(**SMALL)
    scorer, schemes = make_scorer(problem, 1.0), np.zeros((1, 3), np.int8)
    before = score(scorer, schemes)
    assert call("problem_free", problem) == ""
    np.testing.assert_array_equal(score(scorer, schemes), before)
    assert call("scorer_free", scorer) == ""


def test_threads_share_a_problem_and_a_scorer():
    arguments = draw_arguments(0, merge="adjacent", limits=True)
    expected, problem = sp.Problem.from_arrays(**arguments), make_problem(**arguments)
    schemes = np.random.default_rng(0).integers(
        0, expected.n_labels, (2000, expected.n_layers), dtype=np.int8
    )
    scorer, exact = make_scorer(problem, 0.3), make_scorer(problem)

    def work(thread):
        result, _, _ = solve(problem, expected.n_layers, method=EXACT)
        plan, _ = provision(problem, schemes[thread])
        return score(scorer, schemes), score(exact, schemes[:50]), result.plan.cost, plan.cost

    with ThreadPoolExecutor(8) as pool:
        found = list(pool.map(work, range(8)))
    at_target = sp.evaluate(expected, schemes, 0.3)
    for thread, (scores, exact_scores, best, cost) in enumerate(found):
        np.testing.assert_array_equal(scores[0], at_target.cost)
        np.testing.assert_array_equal(exact_scores, found[0][1])
        assert best == found[0][2]
        assert cost == sp.Plan.of(expected, schemes[thread]).cost


# What is refused -------------------------------------------------------------------------------------------


def field(name, value, of="goal"):
    """A change of one field of the structs."""

    def change(arrays, goal):
        setattr(arrays if of == "arrays" else goal, name, value)

    return change


def array(name, values):
    """A change of one array."""
    return lambda arrays, goal: set_array(arrays, name, values)


def graph(producer=0, size=1.0, consumers=(1,), end=1):
    """A change to arrays with one tensor."""

    def change(arrays, goal):
        arrays.tensors = 1
        for name, value in (("producer", [producer]), ("bytes", [size]), ("consumers_end", [end])):
            set_array(arrays, name, value)
        set_array(arrays, "consumers", consumers)

    return change


REFUSED = [
    (field("size", 4, "arrays"), f"arrays.size is 4; it must be {sizeof(Arrays)}, as arrays_init sets it"),
    (field("layers", 0, "arrays"), "layers is 0; it must be from 1 to 4096"),
    (field("layers", -3, "arrays"), "layers is -3; it must be from 1 to 4096"),
    (field("layers", 5000, "arrays"), "layers is 5000; it must be from 1 to 4096"),
    (field("types", 0, "arrays"), "types is 0; it must be from 1 to 128"),
    (field("types", 129, "arrays"), "types is 129; it must be from 1 to 128"),
    (field("compute", None, "arrays"), "compute is NULL; it must be given"),
    (field("price", None, "arrays"), "price is NULL; it must be given"),
    (
        field("fixed_price", np.nan, "arrays"),
        "fixed_price is nan; it must be 0 or from 1e-60 to 1e60 $/hour",
    ),
    (
        array("compute", [[4, 1], [2, np.nan], [1, 2]]),
        "compute[1, 1] is nan; "
        "it must be 0 or from 1e-60 to 1e60 seconds, or inf where the type cannot run the layer",
    ),
    (
        array("compute", [[4, 1], [np.inf, np.inf], [1, 2]]),
        "compute[1] is inf on every type; at least one type must run the layer",
    ),
    (array("price", [1, -1]), "price[1] is -1; it must be 0 or from 1e-60 to 1e60 $/hour"),
    (
        array("limit", [1, 0.5]),
        "limit[1] is 0.5; it must be a whole number of devices, 0 or more, or inf for no limit",
    ),
    (array("send", np.full((3, 2), -1)), "send[0, 0] is -1; it must be 0 or from 1e-60 to 1e60 seconds"),
    (
        array("compute_parallel", np.full((3, 2), 2)),
        "compute_parallel[0, 0] is 2; it must be between 0 and 1",
    ),
    (array("memory", [1, np.inf, 1]), "memory[1] is inf; it must be 0 or from 1e-60 to 1e60 bytes"),
    (field("tensors", -1, "arrays"), "tensors is -1; it must be 0 or more"),
    (field("tensors", 1, "arrays"), "producer is NULL; it must be given"),
    (graph(producer=3), "producer[0] is 3; it must be a layer from 0 to 2"),
    (graph(consumers=[-1]), "consumers[0] is -1; it must be a layer from 0 to 2"),
    (graph(end=-1), "consumers_end[0] is -1; it must be 0 or more"),
    (graph(size=np.nan), "bytes[0] is nan; it must be from 0 to 1e60 bytes"),
    (field("size", 0), f"goal.size is 0; it must be {sizeof(Goal)}, as goal_init sets it"),
    (field("objective", 3), "objective is 3; it must be from 0 to 2"),
    (field("merge", -1), "merge is -1; it must be from 0 to 1"),
    (field("overlap", 2), "overlap is 2; it must be from 0 to 1"),
    (field("split", 2), "split is 2; it must be from 0 to 1"),
    (field("max_devices_per_stage", 0), "max_devices_per_stage is 0; it must be from 1 to 1048576"),
    (field("examples", np.nan), "examples is nan; it must be from 1e-60 to 1e60"),
    (field("min_throughput", -1), "min_throughput is -1; it must be from 1e-60 to 1e60 examples/s"),
    (field("max_cost", 0), "max_cost is 0; it must be from 1e-60 to 1e60 $"),
    (
        field("objective", 1),
        "objective is 'throughput', which nothing bounds on type 0; "
        "give limit, max_devices_per_stage or, where it has a price, max_price",
    ),
]


@pytest.mark.parametrize(("change", "sentence"), REFUSED, ids=[sentence for _, sentence in REFUSED])
def test_a_problem_is_refused(change, sentence):
    arrays, goal = structs(**SMALL)
    change(arrays, goal)
    problem = c_void_p()
    assert call("problem_new", byref(arrays), byref(goal), byref(problem)) == sentence
    assert problem.value is None


def test_absent_structs_are_refused():
    arrays, goal = structs(**SMALL)
    problem = c_void_p()
    for given, sentence in [
        ((None, byref(goal), byref(problem)), "arrays is NULL; it must be given"),
        ((byref(arrays), None, byref(problem)), "goal is NULL; it must be given"),
        ((byref(arrays), byref(goal), None), "problem is NULL; it must be given"),
    ]:
        assert call("problem_new", *given) == sentence
    for name in ("arrays_init", "goal_init", "search_init"):
        FUNCTIONS[name](None)


def calls_with(problem, scorer, layers=3, scheme=(0, 0, 0)):
    """A call of each function that takes a handle."""
    genes = np.array(scheme, np.int8)
    numbers = [column.ctypes.data for column in np.empty((4, 1))]
    return {
        "scorer_new": lambda: call("scorer_new", problem, 0.0, byref(c_void_p())),
        "score": lambda: call("score", scorer, genes.ctypes.data, 1, layers, *numbers),
        "provision": lambda: call("provision", problem, genes.ctypes.data, layers, byref(Plan()), None),
        "solve": lambda: call("solve", problem, byref(new(Search)), layers, byref(Result()), None, None),
    }


def test_absent_foreign_and_freed_handles_are_refused():
    problem = make_problem(**SMALL)
    scorer = make_scorer(problem)
    foreign = np.arange(16, dtype=np.uint64)
    odd = c_void_p(problem.value + 1)
    sentences = {"problem": NOT_A_HANDLE, "scorer": NOT_A_HANDLE.replace("problem", "scorer")}
    for wrong in (c_void_p(foreign.ctypes.data), odd):
        for name, refused in calls_with(wrong, wrong).items():
            assert refused() == sentences["scorer" if name == "score" else "problem"]
        assert call("problem_free", wrong) == sentences["problem"]
        assert call("scorer_free", wrong) == sentences["scorer"]
    for name, refused in calls_with(scorer, problem).items():  # a handle of another kind
        assert refused() == sentences["scorer" if name == "score" else "problem"]
    for name, refused in calls_with(None, None).items():
        assert refused() == f"{'scorer' if name == 'score' else 'problem'} is NULL; it must be given"
    assert call("problem_free", None) == call("scorer_free", None) == ""
    assert call("problem_free", problem) == call("scorer_free", scorer) == ""
    for name, refused in calls_with(problem, scorer).items():
        assert refused() == sentences["scorer" if name == "score" else "problem"]
    assert call("problem_free", problem) == sentences["problem"]
    assert call("scorer_free", scorer) == sentences["scorer"]


def test_too_little_memory_is_an_error():
    """The tables of a scorer at a target are larger than what is left."""
    pytest.importorskip("resource")
    code = """
import resource
import numpy as np
import stageplan as sp
from stageplan import capi
problem = sp.Problem.from_arrays(np.ones((1000, 16)), price=np.ones(16))
used = int(open("/proc/self/statm").read().split()[0]) * resource.getpagesize()
resource.setrlimit(resource.RLIMIT_AS, (used + 2**26, used + 2**26))
try:
    capi.Handles(problem, target=1.0)
except MemoryError as error:
    print(error)
"""
    if not Path("/proc/self/statm").exists():
        pytest.skip("the memory of a process is not in /proc")
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True)
    assert done.stdout == "too little memory is available\n"


def test_many_handles_are_made_and_freed():
    arrays, goal = structs(**SMALL)
    problem = c_void_p()
    for _ in range(2000):
        assert call("problem_new", byref(arrays), byref(goal), byref(problem)) == ""
        assert call("problem_free", problem) == ""


def test_other_numbers_of_layers_are_refused():
    problem = make_problem(**SMALL)
    for name, refused in calls_with(problem, make_scorer(problem), layers=4, scheme=(0, 0, 0, 0)).items():
        if name != "scorer_new":
            assert refused() == "layers is 4; it must be 3, as in the problem"


@pytest.mark.parametrize("target", [0.0, 1.0])
def test_genes_that_are_not_labels_are_refused(target):
    problem = make_problem(**SMALL)
    schemes = np.array([[0, 1, 0], [0, 2, -1]], np.int8)
    columns = [column.ctypes.data for column in np.empty((4, 2))]
    sentence = call("score", make_scorer(problem, target), schemes.ctypes.data, 2, 3, *columns)
    assert sentence == "schemes[1, 1] is 2; it must be a label from 0 to 1"
    sentence = call("provision", problem, schemes[1].ctypes.data, 3, byref(Plan()), None)
    assert sentence == "scheme[0, 1] is 2; it must be a label from 0 to 1"


@pytest.mark.parametrize("target", [-1.0, np.nan, np.inf])
def test_targets_are_refused(target):
    scorer = c_void_p()
    sentence = call("scorer_new", make_problem(**SMALL), target, byref(scorer))
    assert re.fullmatch(r"target is \S+; it must be 0 or from 1e-60 to 1e60 examples/s", sentence)
    assert scorer.value is None


@pytest.mark.parametrize(
    ("name", "value", "sentence"),
    [
        ("size", 1, f"search.size is 1; it must be {sizeof(Search)}, as search_init sets it"),
        ("method", 2, "method is 2; it must be from 0 to 1"),
        ("population", 1, "population is 1; it must be from 2 to 2147483647"),
        ("stagnation", 0, "stagnation is 0; it must be from 1 to 2147483647"),
    ],
)
def test_a_search_is_refused(name, value, sentence):
    search = new(Search)
    setattr(search, name, value)
    problem = make_problem(**SMALL)
    assert call("solve", problem, byref(search), 3, byref(Result()), None, None) == sentence


def test_exact_refuses_stages_that_are_not_intervals():
    search = new(Search)
    search.method = EXACT
    sentence = call(
        "solve", make_problem(**SMALL, merge="type"), byref(search), 3, byref(Result()), None, None
    )
    assert sentence.startswith("method 'exact' needs merge 'adjacent'")


# Headers ---------------------------------------------------------------------------------------------------


def declared(text, struct):
    """The fields of a struct, in order."""
    body = re.sub(r"/\*.*?\*/|#.*?$", "", struct.search(text)[1], flags=re.S | re.M)
    names = re.findall(r"(\w+)(?:\[\w+\])?\s*(?=[,;\n]|$)", body)
    return [name for name in names if name not in ("pass", "")]


@pytest.mark.parametrize("struct", [Arrays, Goal, Search, Plan, Stage, Result])
def test_the_header_and_the_pxd_declare_the_same_fields(struct):
    name = struct.__name__
    in_header = re.compile(rf"typedef struct stageplan_{name.lower()} {{(.*?)}} ", re.S)
    in_pxd = re.compile(rf"ctypedef struct {name} .*?:\n((?:        .*\n)+)")
    fields = [field[0] for field in struct._fields_]
    assert declared(HEADER.read_text(), in_header) == declared(PXD.read_text(), in_pxd) == fields


@needs_compiler
@pytest.mark.parametrize("standard", ["c99", "c++11"])
def test_the_header_is_valid(standard):
    language = "c++" if "+" in standard else "c"
    command = [*COMPILER, "-x", language, f"-std={standard}", "-Wall", "-Wextra", "-pedantic", "-Werror"]
    done = subprocess.run([*command, "-fsyntax-only", HEADER], capture_output=True, text=True, check=False)
    assert (done.returncode, done.stderr) == (0, "")


# What the page of documentation shows ----------------------------------------------------------------------

PAGE = Path(sp.__file__).with_name("docs") / "compiled-callers.md"
RUN_PLANNER = """
import numpy as np, planner
compute, price = np.array([[4.0, 1.0], [2.0, 1.0], [1.0, 2.0]]), np.array([1.0, 3.0])
print(planner.plan(compute, price, 1.0))
compute[1, 1] = np.nan
try:
    planner.plan(compute, price, 1.0)
except ValueError as error:
    print(error)
"""


def block(head):
    """A block of code of the page, by the line that it begins with, or its language."""
    return re.search(rf"^```{head}\n(.*?)^```$", PAGE.read_text(), re.M | re.S)[1]


@needs_compiler
@pytest.mark.skipif(importlib.util.find_spec("Cython") is None, reason="Cython is not installed")
def test_another_package_is_built_and_run(tmp_path):
    (tmp_path / "planner.pyx").write_text("# cython: language_level=3\n" + block("cython"))
    (tmp_path / "setup.py").write_text(block("python"))
    build = [sys.executable, "setup.py", "-q", "build_ext", "--inplace"]
    subprocess.run(build, cwd=tmp_path, env=os.environ | {"CFLAGS": "-O0"}, check=True)
    run = [sys.executable, "-c", RUN_PLANNER]
    done = subprocess.run(run, cwd=tmp_path, capture_output=True, text=True, check=True)
    answer, sentence = done.stdout.splitlines()
    best = sp.solve(sp.Problem.from_arrays(**SMALL, min_throughput=1.0), "exact")
    assert answer == repr((best.plan.cost, best.bound, True, [stage.devices for stage in best.plan.stages]))
    assert sentence.startswith("compute[1, 1] is nan; it must be 0 or from")


def test_numba_calls_a_function_by_its_capsule():
    pytest.importorskip("numba")
    names = {}
    exec(block("python numba"), names)
    assert names["address"] == address_of("score")
    scores = sp.evaluate(names["problem"], names["schemes"], 20_000)
    assert names["best"] == np.lexsort((scores.cost, scores.violation))[0]
    assert names["cheapest"](0, names["schemes"], np.empty((3, 1000))) == -1
