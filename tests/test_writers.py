"""Export of plans: what all runtimes share, and the comparison with the default partition."""

import json
import re

import msgspec
import numpy as np
import pytest
from writers import language_model, plan_of

import stageplan as sp
from stageplan.plan_file import PlanDocument, read_plan
from stageplan.writers import RUNTIMES
from stageplan.writers.defaults import balanced, even, to_bounds
from stageplan.writers.partition import Partition


@pytest.mark.parametrize("to", RUNTIMES)
def test_every_runtime_runs_a_plain_plan(to):
    plan = plan_of(language_model(blocks=6), [0] * 3 + [1] * 6)
    exported = sp.export(plan, to)
    assert exported.runtime == to
    assert exported.text.endswith("\n")
    assert exported.comparison.throughput > 0
    assert str(exported) == f"{exported.text}\n{exported.remarks}"


@pytest.mark.parametrize("to", RUNTIMES)
def test_a_plan_of_one_stage(to):
    exported = sp.export(plan_of(language_model(blocks=4), [0] * 7), to)
    if to in ("llama-cpp", "exo"):  # by the memory of devices, of which a plan says nothing
        assert exported.comparison.default_layers is None
        return
    assert exported.comparison.default_layers == (7,)
    assert exported.comparison.default_throughput == pytest.approx(exported.comparison.throughput)


def test_an_unknown_runtime_is_refused():
    plan = plan_of(language_model(blocks=2), [0] * 5)
    with pytest.raises(ValueError, match="to is 'tensorflow'; it must be one of 'torch', 'torchtitan'"):
        sp.export(plan, "tensorflow")
    with pytest.raises(TypeError, match="plan is list; it must be a Plan"):
        sp.export([], "torch")


@pytest.mark.parametrize("to", RUNTIMES)
def test_stages_of_layers_that_are_not_adjacent(to):
    plan = plan_of(language_model(blocks=4), [0, 0, 1, 1, 0, 0, 0], merge="type")
    if to in ("device-map", "json"):
        assert sp.export(plan, to).value
    else:
        with pytest.raises(
            ValueError, match=rf"^{to} cannot run this plan: stage 1 has layers that are not adj"
        ):
            sp.export(plan, to)


@pytest.mark.parametrize("to", [name for name in RUNTIMES if name != "json"])
def test_stages_of_unequal_replicas(to):
    plan = plan_of(language_model(blocks=8, seconds=(1e-3, 5e-4)), [0] * 8 + [1] * 3, counts=(2, 1))
    assert [stage.devices for stage in plan.stages] == [2, 1]
    with pytest.raises(ValueError, match=rf"^{to} cannot run this plan: its stages have 2, 1 replicas"):
        sp.export(plan, to)


@pytest.mark.parametrize(
    ("to", "words"),
    [
        ("torchtitan", "--parallelism.data-parallel-replicate-degree 2"),
        ("vllm", "--data-parallel-size 2"),
        ("sglang", "--dp-size 2"),
    ],
)
def test_stages_of_equal_replicas_are_data_parallel(to, words):
    plan = plan_of(language_model(blocks=6), [0] * 6 + [1] * 3, counts=(2, 2))
    assert [stage.devices for stage in plan.stages] == [2, 2]
    assert words in sp.export(plan, to).text
    with pytest.raises(ValueError, match="its stages have 2 replicas; the runtime runs one of each stage"):
        sp.export(plan, "device-map")


@pytest.mark.parametrize(
    "to", ["megatron", "vllm", "sglang", "torchtitan", "tensorrt-llm", "llama-cpp", "exo"]
)
def test_other_models_than_language_models_are_refused(to):
    workload = language_model(blocks=4, kinds=["conv"] * 7)
    with pytest.raises(
        ValueError, match=r"it has no layer of kind block or encoder or decoder, .*\(kinds: conv\)"
    ):
        sp.export(plan_of(workload, [0] * 3 + [1] * 4), to)
    workload = language_model(blocks=4, kinds=["stem", *["block"] * 4, "norm", "head"])
    with pytest.raises(ValueError, match="there is no layer of kind embedding before the blocks"):
        sp.export(plan_of(workload, [0] * 3 + [1] * 4), to)
    workload = language_model(
        blocks=4, kinds=["embedding", "block", "norm", "block", "block", "norm", "head"]
    )
    with pytest.raises(ValueError, match=r"layer layers\.1 is between blocks"):
        sp.export(plan_of(workload, [0] * 3 + [1] * 4), to)


# Stages in turn -----------------------------------------------------------------------------------------

TURNS = "runs the stages in turn, but the throughput of a plan is that of a pipeline"


@pytest.mark.parametrize(
    ("to", "counts"),
    [("llama-cpp", None), ("llama-cpp", (2, 2)), ("exo", None), ("exo", (2, 2)), ("device-map", None)],
)
def test_stages_that_run_in_turn_take_their_sum(to, counts):
    """Also of replicas, each of which takes as many examples fewer; each transfer happens once."""
    workload = language_model(6, seconds=(1e-3, 3e-3), tensor=1e5)
    plan = plan_of(workload, [0] * 6 + [1] * 3, counts=counts, bandwidth=1e8)
    exported = sp.export(plan, to)
    devices = plan.stages[0].devices
    assert exported.comparison.measure == "all stages in turn"
    computes = (6 * 1e-3 + 3 * 3e-3) / devices
    assert exported.comparison.time == pytest.approx(computes + plan.stages[0].transfer)
    assert exported.comparison.time > plan.time
    assert f"{to} {TURNS}" in exported.note


@pytest.mark.parametrize("to", ["llama-cpp", "exo", "device-map"])
def test_stages_that_are_planned_for_a_batch_also_take_their_sum(to):
    plan = plan_of(language_model(4, seconds=(1e-3, 3e-3)), [0] * 3 + [1] * 4, batch=4)
    assert plan.problem.by_options
    assert sp.export(plan, to).comparison.time == pytest.approx(3 * 1e-3 + 4 * 3e-3)


@pytest.mark.parametrize(
    ("limit", "sentence"),
    [
        ({"min_throughput": 100}, "min_throughput: 66.6667, allowed 100"),
        ({"max_duration": 12, "examples": 1000}, "max_duration: 15, allowed 12"),
        ({"max_cost": 0.006, "examples": 1000}, "max_cost: 0.00833333, allowed 0.006"),
    ],
)
def test_limits_that_the_prediction_breaks_are_noted(limit, sentence):
    """Stages of 6 and 9 ms: 111 examples/s as a pipeline, 67 in turn."""
    plan = plan_of(language_model(6, seconds=(1e-3, 3e-3)), [0] * 6 + [1] * 3, **limit)
    assert plan.feasible
    assert f"the prediction breaks the plan's {sentence}" in sp.export(plan, "llama-cpp").note
    assert "breaks" not in sp.export(plan, "vllm").note


@pytest.mark.parametrize("to", ["json", "vllm", "device-map"])
def test_a_default_partition_that_is_faster_is_noted(to):
    """A plan of the least cost need not be the fastest."""
    note = "the runtime's default partition is predicted to be faster (the plan's objective is cost)"
    workload = language_model(6, seconds=(1e-3, 2e-3))
    slow, fast = ([0] * n + [1] * (9 - n) for n in (2, 6))
    for scheme, slower in ((slow, True), (fast, False)):
        exported = sp.export(plan_of(workload, scheme, objective="cost"), to)
        assert (exported.comparison.gain < 1) == slower
        assert (note in exported.note) == slower


# Ranks --------------------------------------------------------------------------------------------------


@pytest.mark.parametrize("to", [name for name in RUNTIMES if name != "device-map"])
def test_ranks_say_stage_replica_and_device_type(to):
    plan = plan_of(language_model(blocks=6), [0] * 6 + [1] * 3, counts=(2, 2))
    exported = sp.export(plan, to)
    by_replica = to in ("vllm", "sglang", "tensorrt-llm", "llama-cpp", "exo", "paddle")
    places = [(0, 0), (1, 0), (0, 1), (1, 1)] if by_replica else [(0, 0), (0, 1), (1, 0), (1, 1)]
    assert list(exported.ranks) == [
        (rank, stage, replica, "ab"[stage]) for rank, (stage, replica) in enumerate(places)
    ]
    table = json.loads(exported.rank_table())
    assert table["runtime"] == to
    assert table["ranks"][1] == dict(zip(("stage", "replica"), places[1], strict=True)) | {
        "rank": 1,
        "device_type": "ab"[places[1][0]],
    }
    second = "ranks 1, 3" if by_replica else "ranks 2, 3"
    assert exported.remarks.splitlines()[1] == f"stage 1 on b: {second}"


def test_many_ranks_are_abbreviated():
    plan = plan_of(language_model(blocks=6), [0] * 9, counts=(12, 12))
    assert [stage.devices for stage in plan.stages] == [12]
    line = "stage 0 on a: ranks 0, 1, 2, 3, 4, 5, 6, 7, ... 11 (12 replicas)"
    assert sp.export(plan, "torch").remarks.startswith(line)


def test_json_has_unequal_replicas_and_ranks():
    plan = plan_of(language_model(blocks=8, seconds=(1e-3, 5e-4)), [0] * 8 + [1] * 3, counts=(2, 1))
    document = json.loads(sp.export(plan, "json").text)
    assert [stage["devices"] for stage in document["stages"]] == [2, 1]
    assert [(rank["stage"], rank["device_type"]) for rank in document["ranks"]] == [
        (0, "a"),
        (0, "a"),
        (1, "b"),
    ]


# Refused ------------------------------------------------------------------------------------------------


def test_infeasible_plans_are_refused():
    plan = plan_of(language_model(blocks=2), [0] * 5, min_throughput=1e6)
    with pytest.raises(ValueError, match=r"^the plan is not feasible: throughput: .*, allowed 1e\+06"):
        sp.export(plan, "vllm")


@pytest.mark.parametrize("to", RUNTIMES)
@pytest.mark.parametrize("mode", ["train", "inference", "decode", None])
def test_a_plan_for_training_is_not_for_serving_and_the_reverse(to, mode):
    plan = plan_of(language_model(blocks=6, mode=mode), [0] * 3 + [1] * 6)
    serving = ("vllm", "sglang", "tensorrt-llm", "llama-cpp", "exo")
    only = dict.fromkeys(serving, "inference") | dict.fromkeys(
        ("torchtitan", "deepspeed", "megatron", "paddle"), "train"
    )
    if mode is None or only.get(to) in (None, "train" if mode == "train" else "inference"):
        assert sp.export(plan, to).value
    else:
        with pytest.raises(
            ValueError, match=rf"{to} cannot run .* mode '{mode}', .*\(profile with --mode {only[to]}\)"
        ):
            sp.export(plan, to)


# Default partitions -------------------------------------------------------------------------------------


def test_the_comparison_is_of_the_same_devices_and_the_same_model():
    """Type b is three times slower; an even split makes it the bottleneck."""
    workload = language_model(blocks=8, seconds=(1e-3, 3e-3))
    plan = plan_of(workload, [0] * 8 + [1] * 3, overlap=True)
    found = sp.export(plan, "torch").comparison
    assert (found.time, found.throughput) == (plan.time, plan.throughput)
    assert found.default_layers == (6, 5)
    other = plan_of(workload, [0] * 6 + [1] * 5, overlap=True)
    assert found.default_time == pytest.approx(other.time, rel=1e-12)
    assert found.gain == found.throughput / found.default_throughput
    assert "gain: 1.67x" in str(found)


def test_a_pipeline_of_one_type():
    workload = language_model(blocks=8)
    plan = plan_of(workload, [0] * 3 + [1] * 4 + [0] * 4, split=True)
    assert [stage.type for stage in plan.stages] == ["a", "a", "a"]
    assert sp.export(plan, "vllm").value == "2,4,2"
    found = sp.export(plan, "torch").comparison
    assert (found.default_layers, found.default_time) == ((4, 4, 3), pytest.approx(4e-3))
    assert found.gain == pytest.approx(1)


def test_the_comparison_counts_tensors_and_keeps_the_devices_of_each_stage():
    workload = language_model(blocks=8, seconds=(1e-3, 3e-3), tensor=1e6)
    plan = plan_of(workload, [0] * 8 + [1] * 3, counts=(2, 2), bandwidth=1e8, overlap=False)
    assert [stage.devices for stage in plan.stages] == [2, 2]
    other = plan_of(workload, [0] * 6 + [1] * 5, counts=(2, 2), bandwidth=1e8, overlap=False)
    assert other.stages[1].bottleneck
    assert other.stages[1].devices == 2
    assert sp.export(plan, "torch").comparison.default_time == pytest.approx(other.time, rel=1e-12)


def test_a_default_partition_that_the_devices_cannot_run():
    workload = language_model(blocks=4, cannot="layers.1")
    found = sp.export(plan_of(workload, [0] * 5 + [1] * 2), "torch").comparison
    assert found.default_layers == (4, 3)
    assert found.default_throughput > 0
    found = sp.export(plan_of(workload, [0] * 4 + [1] * 3), "json").comparison
    assert found.default_throughput > 0
    workload = language_model(blocks=4, cannot="layers.3")
    found = sp.export(plan_of(workload, [0] * 5 + [1] * 2), "torch").comparison
    assert (found.default_throughput, found.default_time) == (0, np.inf)
    assert "gain: it cannot run" in str(found)


def test_a_default_partition_that_does_not_fit_into_memory():
    workload = language_model(blocks=4, memory=1.0)
    plan = plan_of(workload, [0] * 5 + [1] * 2, capacity={"b": 2.0})
    assert plan.feasible
    found = sp.export(plan, "torch").comparison
    assert (found.default_layers, found.default_throughput) == ((4, 3), 0)
    with_workspace = plan.problem.replace(memory=np.zeros(7), workspace=[0, 0, 0, 0, 2.5, 0, 0])
    plan = sp.Plan.of(with_workspace, plan.scheme)
    assert plan.feasible
    assert sp.export(plan, "torch").comparison.default_throughput == 0


def test_even_splits():
    assert even(10, 4) == [3, 3, 2, 2]
    assert to_bounds(even(3, 3)) == (0, 1, 2, 3)


def test_balanced_splits_have_the_least_spread_of_small_cases():
    """Two stages: the dynamic programme is exact there."""
    rng = np.random.default_rng(0)
    for _ in range(100):
        weights = rng.integers(0, 9, rng.integers(3, 9)).astype(float)
        spreads = [abs(weights[:cut].sum() - weights[cut:].sum()) for cut in range(1, len(weights))]
        bounds = balanced(list(weights), 2)
        assert bounds[0] == 0
        assert bounds[-1] == len(weights)
        assert abs(weights[: bounds[1]].sum() - weights[bounds[1] :].sum()) == min(spreads)


# Files --------------------------------------------------------------------------------------------------


def test_a_plan_file_has_what_runtimes_need():
    workload = language_model(blocks=4, tied=True, parameters=True)
    document = plan_of(workload, [0] * 3 + [1] * 4).to_dict()
    assert document["layers"][0] == {"name": "tok_embeddings", "kind": "embedding", "parameters": 40.0}
    assert document["ties"] == [["tok_embeddings", "lm_head"]]
    assert set(document) <= set(PlanDocument.__struct_fields__)
    json.dumps(document)


# Strategies and schedules -------------------------------------------------------------------------------


def shared_plan(strategies=("tp2", "tp2"), counts=(4, 4), **goal):
    """Plan two stages, each by its strategy: 2 devices for each replica, or 1 where it is ""."""
    plain = language_model(blocks=6)
    layers = [
        msgspec.structs.replace(
            layer, compute={f"{t}/{s}" if s else t: 1e-3 for t, s in zip("ab", strategies, strict=True)}
        )
        for layer in plain.layers
    ]
    types = [
        sp.DeviceType(name=name, price=1.0, limit=count, strategies={"half": 2})
        for name, count in zip("ab", counts, strict=True)
    ]
    workload = sp.Workload(name="model", layers=layers)
    problem = sp.Problem(
        workload, sp.Cluster(name="lab", types=types), sp.Goal(objective="throughput", **goal)
    )
    return sp.Plan.of(problem, [0] * 4 + [1] * 5)


SCHEDULED = {"schedule": "1f1b", "microbatches": 3, "batch": 12}


@pytest.mark.parametrize(
    ("to", "words"),
    [
        ("megatron", ["--tensor-model-parallel-size 2 ", "--micro-batch-size 2 ", "--global-batch-size 12 "]),
        ("paddle", ['"mp_degree": 2,', '{"accumulate_steps": 3, "micro_batch_size": 2}']),
        (
            "torchtitan",
            [
                "--parallelism.tensor-parallel-degree 2 ",
                "--parallelism.pipeline-parallel-schedule 1F1B ",
                "--parallelism.pipeline-parallel-microbatch-size 2 ",
                "--training.local-batch-size 6 ",
                "--parallelism.data-parallel-replicate-degree 2 ",
            ],
        ),
    ],
)
def test_training_takes_tensor_parallelism_and_the_schedule(to, words):
    exported = sp.export(shared_plan(**SCHEDULED), to)
    for word in words:
        assert word in exported.text
    replicas = [(0, 0), (0, 1), (1, 0), (1, 1)] if to != "paddle" else [(0, 0), (1, 0), (0, 1), (1, 1)]
    places = [place for place in replicas for _ in range(2)]
    assert [(rank.stage, rank.replica) for rank in exported.ranks] == places


@pytest.mark.parametrize(("to", "flag"), [("vllm", "--tensor-parallel-size 2"), ("sglang", "--tp-size 2")])
def test_serving_takes_tensor_parallelism(to, flag):
    assert f" {flag}" in sp.export(shared_plan(), to).text
    with pytest.raises(
        ValueError, match=rf"^{to} cannot run this plan: it is planned for schedule '1f1b'; the"
    ):
        sp.export(shared_plan(**SCHEDULED), to)


def test_one_device_a_replica_runs_by_the_schedule():
    plan = shared_plan(("", ""), (2, 2), **SCHEDULED)
    assert sp.export(plan, "torch").note.startswith("run it with Schedule1F1B and 3 microbatches")
    assert (
        "train_micro_batch_size_per_gpu 2, gradient_accumulation_steps 3" in sp.export(plan, "deepspeed").note
    )
    document = sp.export(plan, "json").value
    assert {name: document[name] for name in SCHEDULED} == SCHEDULED


def test_json_has_strategies():
    stages = sp.export(shared_plan(("tp2", "half"), (4, 2)), "json").value["stages"]
    assert [(s["devices"], s["replicas"], s["strategy"]) for s in stages] == [(2, 1, "tp2"), (2, 1, "half")]


@pytest.mark.parametrize(
    ("to", "plan", "sentence"),
    [
        ("megatron", {"schedule": "gpipe"}, "it is planned for schedule 'gpipe'; the runtime runs '1f1b'"),
        ("paddle", {"schedule": "gpipe"}, "it is planned for schedule 'gpipe'; the runtime runs '1f1b'"),
        (
            "deepspeed",
            {},
            "stage 1 runs on 2 devices by strategy 'tp2'; the runtime takes none, or recomputation, named",
        ),
        ("exo", {}, "stage 1 runs on 2 devices by strategy 'tp2'; the runtime runs each replica on one"),
        ("device-map", {"counts": (2, 2)}, "stage 1 runs on 2 devices by strategy 'tp2'; the runtime runs"),
        (
            "device-map",
            {"strategies": ("", ""), "counts": (1, 1)},
            "it is planned for schedule '1f1b'; the runtime has no schedule of its own",
        ),
        (
            "megatron",
            {"strategies": ("half", "tp2")},
            "stage 1 runs on 2 devices by strategy 'half'; the runtime takes none, or tensor parallelism",
        ),
        (
            "torchtitan",
            {"strategies": ("", "tp2"), "counts": (2, 4)},
            "its stages have replicas of 1, 2 devices; the runtime runs all stages with the same tensor",
        ),
        (
            "torchtitan",
            {"batch": 9, "strategies": ("", ""), "counts": (2, 2)},
            "a microbatch has 3 examples for 2 replicas; the runtime gives each the same number",
        ),
    ],
)
def test_strategies_and_schedules_that_a_runtime_cannot_run(to, plan, sentence):
    with pytest.raises(ValueError, match=f"^{to} cannot run this plan: {re.escape(sentence)}"):
        sp.export(shared_plan(**SCHEDULED | plan), to)


def test_recomputation_is_exported_where_the_runtime_has_it():
    plan = shared_plan(("recompute", "recompute"), **SCHEDULED)
    assert "--recompute-granularity full " in sp.export(plan, "megatron").text
    assert "recompute" not in sp.export(shared_plan(**SCHEDULED), "megatron").text
    selective = sp.export(shared_plan(("selective", "selective"), **SCHEDULED), "megatron").text
    assert "--recompute-granularity selective \\\n--recompute-modules core_attn " in selective
    with pytest.raises(ValueError, match="stage 1 runs on 1 devices by strategy 'recompute'; the runtime"):
        sp.export(plan, "torchtitan")
    with pytest.raises(ValueError, match="its stages have strategies 'recompute', ''; the runtime runs all"):
        sp.export(shared_plan(("recompute", ""), **SCHEDULED), "megatron")
    assert "activation_checkpoint_interval=1, **arguments" in sp.export(plan, "deepspeed").text


@pytest.mark.parametrize(
    ("to", "words"),
    [
        (
            "megatron",
            [
                "--tensor-model-parallel-size 2 ",
                "--expert-model-parallel-size 2 ",
                "--expert-tensor-parallel-size 1 ",
            ],
        ),
        (
            "torchtitan",
            ["--parallelism.tensor-parallel-degree 2 ", "--parallelism.expert-parallel-degree 2 "],
        ),
        ("vllm", ["--tensor-parallel-size 2 --enable-expert-parallel"]),
        ("sglang", ["--tp-size 2 --ep-size 2"]),
        ("tensorrt-llm", ["tensor_parallel_size: 2\n", "moe_expert_parallel_size: 2\n"]),
    ],
)
def test_expert_parallelism(to, words):
    goal = SCHEDULED if to in ("megatron", "torchtitan") else {}
    text = sp.export(experts_plan("ep2", **goal), to).text
    for word in words:
        assert word in text
    assert "expert" not in sp.export(experts_plan("tp2", **goal), to).text
    if to == "megatron":
        both = sp.export(experts_plan("ep2+recompute", **goal), to).text
        assert "--recompute-granularity full" in both
        assert "--expert-model-parallel-size 2 " in both


def test_experts_of_all_replicas_are_divided_by_vllm():
    note = "experts are divided among all replicas, which takes less memory than planned"
    assert sp.export(experts_plan("ep2", limit=4), "vllm").note == note
    assert sp.export(experts_plan("tp2", limit=4), "vllm").note == ""


def experts_plan(strategy, limit=2, **goal):
    """Plan two stages of two devices each, or of `limit` devices."""
    problem = shared_plan(counts=(2, 2), **goal).problem
    columns = {"column_type": [0, 1], "column_degree": [2, 2], "column_strategy": [strategy] * 2}
    plain = sp.Problem.from_arrays(
        problem.compute,
        problem.price,
        limit=[limit] * 2,
        objective="throughput",
        same_replicas=True,
        **columns,
        **goal,
    )
    plain = plain.replace(layer_kinds=problem.layer_kinds, layer_names=problem.layer_names)
    return sp.Plan.of(plain, [0] * 4 + [1] * 5)


@pytest.mark.parametrize("to", ["paddle", "torch", "deepspeed", "llama-cpp", "exo", "device-map"])
def test_expert_parallelism_is_refused_by_others(to):
    with pytest.raises(
        ValueError, match=f"^{to} cannot run this plan: stage 1 runs on 2 devices by strategy 'ep2'; the"
    ):
        sp.export(experts_plan("ep2"), to)


@pytest.mark.parametrize(
    ("to", "zero", "words"),
    [
        ("megatron", 1, "--use-distributed-optimizer"),
        ("deepspeed", 1, "zero_optimization of stage 1"),
        ("torchtitan", 2, "--parallelism.data-parallel-shard-degree 2 "),
        ("torchtitan", 3, "--parallelism.fsdp-reshard-after-forward always "),
        ("json", 3, '"replicas": 2'),
    ],
)
def test_what_replicas_divide_is_set_where_the_runtime_has_it(to, zero, words):
    def exported(stage):
        workload = language_model(6, mode="train", zero=stage)
        written = sp.export(plan_of(workload, [0] * 6 + [1] * 3, counts=(2, 2)), to)
        return f"{written.text}{written.note}"

    assert words in exported(zero)
    assert words not in exported(0) or to == "json"


@pytest.mark.parametrize(("to", "zero", "most"), [("megatron", 2, 1), ("deepspeed", 3, 1), ("torch", 1, 0)])
def test_what_replicas_cannot_divide_is_refused(to, zero, most):
    workload = language_model(6, mode="train", zero=zero)
    sentence = rf"by ZeRO stage {zero}; the runtime has at most stage {most} .*\(profile with --zero {most}\)"
    with pytest.raises(ValueError, match=sentence):
        sp.export(plan_of(workload, [0] * 6 + [1] * 3, counts=(2, 2)), to)


def test_the_comparison_is_by_iterations_and_counts_memory():
    """Of 9 layers of 1 ms the plan has 4 and 5, like the default; with 3 and 6 of them it is slower."""
    exported = sp.export(shared_plan(("", ""), (1, 1), **SCHEDULED), "json")
    assert exported.comparison.measure == "iteration"
    assert exported.comparison.time == pytest.approx((2 * 5 + 9) / 3 * 1e-3)
    assert exported.comparison.default_layers == (5, 4)
    assert exported.comparison.gain == pytest.approx(1)


def test_listed_options_have_no_comparison():
    problem = sp.Problem.from_options(2, price=[1.0], first=[0], last=[1], type=[0], devices=[1], time=[2.0])
    exported = sp.export(sp.Plan.of(problem, [0, 0]), "json")
    assert exported.comparison.default_throughput is None


def test_a_plan_file_has_strategies(tmp_path):
    plan = shared_plan(**SCHEDULED)
    (tmp_path / "plan.json").write_text(json.dumps(plan.to_dict()))
    saved = read_plan(tmp_path / "plan.json")
    assert Partition.of_saved(saved) == Partition.of(plan)
