"""Plans made for a runtime: its export takes all of them, and no plan that it takes is better."""

import re
from dataclasses import replace
from itertools import product

import msgspec
import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from writers import language_model, plan_of

import stageplan as sp
from stageplan.writers import PIPELINES, target

ARCHITECTURES = ("", "LlamaForCausalLM", "BertForMaskedLM", "JambaForCausalLM")
NUMBERS = {"cost": "cost", "throughput": "time", "price": "price"}


@st.composite
def language_models(draw):
    """Draw a model of few layers, on two device types with strategies, and a goal."""
    blocks = draw(st.integers(1, 3))
    ends = draw(st.sampled_from([("norm", "head"), ("norm", "head"), ("head",), ()]))
    front = draw(st.sampled_from([("embedding",), ("embedding",), ("embedding", "stem")]))
    kinds = [*front, *["block"] * blocks, *ends]
    names = [f"{kind}{i}" for i, kind in enumerate(kinds)]
    seconds = st.sampled_from([0.25, 0.5, 1.0, 2.0, 3.0])
    strategies = draw(
        st.sampled_from(
            [(), ("tp2",), ("recompute",), ("tp2", "recompute"), ("half", "tp2"), ("ep2", "tp2+recompute")]
        )
    )
    types = draw(st.sampled_from(["a", "b", "ab"]))
    columns = ["a", "b", *(f"{t}/{s}" for s in strategies for t in types)]
    layers = [
        sp.Layer(
            name=name, kind=kind, compute={c: draw(seconds) for c in columns}, memory=draw(seconds),
            activations={c: draw(seconds) / (1 + c.endswith("recompute")) for c in columns},
        )
        for name, kind in zip(names, kinds, strict=True)
    ]  # fmt: skip
    ties = draw(st.sampled_from([(), ((names[0], names[-1]),), ((names[-1], names[len(front)]),)]))
    workload = sp.Workload(
        name="net",
        layers=layers,
        ties=[tie for tie in ties if tie[0] != tie[1]],
        architecture=draw(st.sampled_from(ARCHITECTURES)),
        mode=draw(st.sampled_from([None, None, None, "train", "inference", "decode"])),
        zero=draw(st.sampled_from([None, None, 0, 1, 2])),
    )
    types = [
        sp.DeviceType(
            name=name, price=draw(seconds), limit=draw(st.integers(1, 5)), strategies={"half": 2},
            capacity=draw(st.sampled_from([None, 4.0, 8.0, 16.0])),
        )
        for name in "ab"
    ]  # fmt: skip
    schedule = draw(st.sampled_from([None, None, "gpipe", "1f1b", "1f1b"]))
    microbatches = draw(st.integers(1, 3)) if schedule else None
    goal = sp.Goal(
        objective=draw(st.sampled_from(sorted(NUMBERS))),
        schedule=schedule,
        microbatches=microbatches,
        batch=draw(st.integers(1, 6)) * microbatches if microbatches else None,
        split=draw(st.booleans()),
    )
    return sp.Problem(workload, sp.Cluster(name="lab", types=types), goal)


def taken(plan, runtime):
    try:
        return bool(sp.export(plan, runtime).text)
    except ValueError:
        return False


@settings(max_examples=150)
@given(language_models(), st.sampled_from(PIPELINES))
def test_the_runtime_takes_the_plan_and_none_that_is_better(problem, runtime):
    schemes = product(range(problem.n_labels), repeat=problem.n_layers)
    try:
        within = target(problem, runtime)
    except ValueError:  # not even of a single stage
        assert not any(taken(sp.Plan.of(problem, [label] * problem.n_layers), runtime) for label in (0, 1))
        return
    found = within.solve("exact")
    number = NUMBERS[problem.goal.objective]
    if found.plan.feasible:
        assert found.status.startswith("optimal")
        assert taken(found.plan, runtime)
        sp.verify(found.plan.problem, found.plan)
    limit = getattr(found.plan, number) * (1 - 1e-9) if found.plan.feasible else np.inf
    same = found.plan.problem  # with the runtime's limits
    plans = (
        sp.Plan.of(same, scheme)
        for scheme in list(schemes)[:: max(1, problem.n_labels**problem.n_layers // 256)]
    )
    better = [plan for plan in plans if plan.feasible and getattr(plan, number) < limit]
    assert not any(taken(plan, runtime) for plan in better)


def test_layers_that_a_runtime_keeps_together_are_one():
    plan = plan_of(language_model(4, tied=True), [0] * 7, counts=(2, 2))
    assert target(plan.problem, "vllm").begins == (0, 2, 3, 4)
    assert target(plan.problem, "megatron").begins == (0, 1, 2, 3, 4, 5)
    assert target(plan.problem, "torch").begins == tuple(range(7))
    assert target(plan.problem, "torchtitan").begins == (0,)
    blocks = plan_of(language_model(4, tied=("layers.1", "layers.2")), [0] * 7).problem
    assert target(blocks, "megatron").begins == (0, 1, 2, 4, 5)
    assert target(blocks, "vllm").begins == (0, 2, 3, 4)


def test_callbacks_see_plans_of_all_layers():
    problem = plan_of(language_model(4, tied=True), [0] * 7, counts=(2, 2)).problem
    seen = []
    result = sp.solve_for(problem, "vllm", "genetic", stop=sp.MaxGenerations(3), callback=seen.append)
    assert seen[-1].plan == result.history[-1].plan == result.plan
    assert all(len(progress.scheme) == problem.n_layers for progress in seen)
    again = sp.solve_for(problem, "vllm", "genetic", stop=sp.MaxGenerations(3), initial=result)
    assert again.plan == result.plan


def test_an_architecture_without_pipelines_is_one_stage():
    problem = plan_of(language_model(4, architecture="MambaForCausalLM"), [0] * 7).problem
    plan = sp.solve_for(problem.replace(split=True, objective="throughput", limit=[4, 4]), "sglang").plan
    assert len(plan.stages) == 1


@pytest.mark.parametrize("runtime", ["llama-cpp", "exo", "device-map"])
def test_runtimes_that_run_stages_in_turn_are_refused(runtime):
    problem = plan_of(language_model(4), [0] * 7).problem
    sentence = (
        f"runtime is '{runtime}', which runs its stages in turn; it must be a runtime with pipelines: torch, "
    )
    with pytest.raises(ValueError, match=re.escape(sentence)):
        sp.solve_for(problem, runtime)


def scheduled():
    layers = [
        msgspec.structs.replace(layer, compute={"a": 2e-3, "a/half": 1e-3, "b": 3e-3})
        for layer in language_model(4).layers
    ]
    types = [sp.DeviceType(name=name, price=1.0, limit=8, strategies={"half": 2}) for name in "ab"]
    goal = sp.Goal(objective="throughput", schedule="1f1b", microbatches=2, batch=16)
    workload = sp.Workload(name="model", layers=layers)
    return sp.Problem(workload, sp.Cluster(name="lab", types=types), goal)


def test_the_goal_has_the_limits_of_the_runtime():
    plan = sp.solve_for(scheduled(), "megatron").plan
    assert plan.problem.goal.same_replicas
    assert plan.problem.goal.equal_shares
    assert not plan.problem.goal.same_strategy  # without 'half' there is only one
    assert plan.problem.column_strategy == ("", "")
    assert sp.solve_for(scheduled(), "json").plan.problem == scheduled()


def test_arguments_of_the_search():
    problem = plan_of(language_model(4, tied=True), [0] * 3 + [1] * 4, counts=(1, 1)).problem
    initial = np.array([[0, 0, 0, 1, 1, 1, 1]], np.int8)
    stop = sp.MaxGenerations(1)
    found = sp.solve_for(problem, "vllm", "genetic", initial=initial, stop=stop, seed=3)
    assert found.plan.scheme.size == 7
    assert found.seed == 3

    def fail(progress):
        raise RuntimeError("enough")

    with pytest.raises(RuntimeError) as caught:
        sp.solve_for(problem, "vllm", "genetic", callback=fail)
    assert caught.value.result.plan.scheme.size == 7


def test_repairs_are_of_plans_that_the_runtime_can_run():
    problem = plan_of(language_model(4, memory=1.0), [0] * 7, capacity={"a": 2.0, "b": 2.0}).problem
    found = target(problem.replace(max_devices_per_stage=1), "vllm").repair()
    assert found.suggestions
    assert all(taken(replace(each.plan), "vllm") for each in found.suggestions)


@pytest.mark.parametrize(
    ("problem", "runtime", "sentence"),
    [
        (scheduled(), "vllm", "it is planned for schedule '1f1b'; the runtime has no schedule of its own"),
        (
            plan_of(language_model(2, mode="train"), [0] * 5).problem,
            "sglang",
            "its workload was profiled for mode 'train', and the runtime only serves models",
        ),
        (
            plan_of(language_model(2, kinds=["conv"] * 5), [0] * 5).problem,
            "vllm",
            "it has no layer of kind block or encoder or decoder, which the runtime counts",
        ),
        (
            plan_of(language_model(2), [0] * 5, merge="type").problem,
            "torch",
            "merge is 'type'; it must be 'adjacent'",
        ),
        (
            sp.Problem.from_arrays([[1.0]], [1.0], column_type=[0], column_degree=[2], batch=2),
            "deepspeed",
            "it knows none of the strategies of the device types: tp2",
        ),
        (
            sp.Problem.from_options(1, price=[1.0], first=[0], last=[0], type=[0], devices=[1], time=[2.0]),
            "torch",
            "it lists the options of stages, whose strategies are not known",
        ),
    ],
)
def test_problems_that_a_runtime_cannot_run_at_all(problem, runtime, sentence):
    with pytest.raises(ValueError, match="can run no plan of this problem: ") as caught:
        sp.solve_for(problem, runtime)
    assert f"{runtime} can run no plan of this problem: {sentence}" in str(caught.value)


def test_unknown_runtimes_are_refused():
    with pytest.raises(ValueError, match="runtime is 'tensorflow'; it must be one of 'torch'"):
        sp.solve_for(scheduled(), "tensorflow")
    with pytest.raises(TypeError, match="problem is list; it must be a Problem"):
        sp.solve_for([], "torch")
