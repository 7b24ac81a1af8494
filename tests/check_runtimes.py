"""Hold exports against the code of the released runtimes, fetched without their dependencies; run by hand.

    python tests/check_runtimes.py [--downloads FOLDER] [--write]

Plans of several architectures in 2, 3 and 4 stages, with 1 and 2 replicas of 1 and 2 devices, are exported.
The runtime's own code reads each export, and has to give each rank the planned layers; its numbering of ranks
and its default partition have to be the predicted ones.  Only functions and classes that parse, partition or
number ranks are run, cut out of the runtimes' files.  For torch, four processes train by an export, and one
alone.  TensorRT-LLM, llama.cpp and exo are not fetched: their tests follow their documentation.

`--write` updates the lists in ``src/stageplan/data/architectures.json`` from what was fetched; without it
they are compared.  pip downloads about 600 MB.
"""

import argparse
import collections
import enum
import itertools
import json
import os
import shlex
import subprocess
import sys
import tempfile
from contextlib import contextmanager
from functools import cache, reduce
from pathlib import Path
from types import ModuleType, SimpleNamespace
from unittest.mock import patch

import msgspec
import numpy as np
from pipeline_processes import run_workers
from runtime_sources import extract, fetch, other_blocks, sglang_architectures, vllm_architectures

import stageplan as sp

TRIES = 200  # schemes, until all stages have the replicas that are allowed
MODELS = ("llama", "gpt2", "mixtral", "qwen3", "opt", "gpt_neox")
DATA = Path(sp.__file__).parent / "data" / "architectures.json"


@cache
def plans(mode, degrees=(1, 2)):
    """List plans of each model on two types of one speed: stages of random sizes, 1 or 2 replicas.

    A replica runs by tensor parallelism over each of `degrees`.
    """
    rng, made = np.random.default_rng(0), []
    fast = sp.DeviceType(name="a100-80g", price=1.0, capacity=1e15)
    other = sp.DeviceType(name="other", price=1.0, capacity=1e15, like="a100-80g")
    cluster = sp.Cluster(name="two types", types=(fast, other))
    for model in MODELS:
        workload = sp.profile(f"hf:{model}", devices=["a100-80g"], mode=mode, sequence=64)
        blocks = [i for i, layer in enumerate(workload.layers) if layer.kind == "block"]
        for degree, replicas, stages in itertools.product(degrees, (1, 2), (2, 3, 4)):
            goal = sp.Goal(objective="throughput", max_devices_per_stage=replicas * degree)
            problem = sp.Problem(workload if degree == 1 else shared(workload, degree), cluster, goal)
            for _ in range(TRIES):
                cuts = rng.choice(blocks[1:], stages - 1, replace=False)
                scheme = [sum(layer >= cuts) % 2 for layer in range(problem.n_layers)]
                plan = sp.Plan.of(problem, scheme)
                if all(stage.devices == replicas * degree for stage in plan.stages):
                    made.append(plan)
                    break
    return made


def shared(workload, degree):
    """Return a workload whose layers run only by tensor parallelism."""
    layers = [
        msgspec.structs.replace(layer, compute={f"{t}/tp{degree}": s for t, s in layer.compute.items()})
        for layer in workload.layers
    ]
    return msgspec.structs.replace(workload, layers=layers)


def blocks_of(plan):
    """Numbers of the blocks of each stage."""
    kinds = plan.problem.layer_kinds
    first = kinds.index("block")
    return [[i - first for i in stage.layers if kinds[i] == "block"] for stage in plan.stages]


def ranks_match(exported, place):
    """Whether ranks are those of the runtime: `place` gives (stage, replica) of a rank."""
    return all((rank.stage, rank.replica) == place(rank.rank) for rank in exported.ranks)


def counts_agree(plan, exported, counts):
    """Whether predicted default counts of layers are those of the runtime, given its blocks of each stage."""
    kinds = plan.problem.layer_kinds
    first = kinds.index("block")
    last = len(kinds) - kinds[::-1].index("block")
    expected = list(counts)
    expected[0] += first
    expected[-1] += len(kinds) - last
    return list(exported.comparison.default_layers) == expected


def shell(text):
    """Environment that a shell script exports, and the words of its last line."""
    lines = text.replace("\\\n", "").splitlines()
    exports = dict(line.removeprefix("export ").split("=", 1) for line in lines if line.startswith("export "))
    return exports, shlex.split(lines[-1].removeprefix("# "))


def option(words, flag, default=1):
    return int(words[words.index(flag) + 1]) if flag in words else default


# Runtimes: each yields whether an export agrees --------------------------------------------------------


def vllm(release):
    path = release.folder / "vllm/distributed/utils.py"
    envs = SimpleNamespace(VLLM_PP_LAYER_PARTITION=None)
    indices = extract(path, "get_pp_indices", envs=envs, logger=SimpleNamespace(info=print_nothing))[
        "get_pp_indices"
    ]
    arguments = (release.folder / "vllm/engine/arg_utils.py").read_text()
    for plan in plans("inference"):
        exported = sp.export(plan, "vllm")
        environment, words = shell(exported.text)
        assert all(word in arguments for word in words if word.startswith("--"))
        stages, replicas = option(words, "--pipeline-parallel-size"), option(words, "--data-parallel-size")
        blocks = sum(map(len, blocks_of(plan)))
        envs.VLLM_PP_LAYER_PARTITION = environment["VLLM_PP_LAYER_PARTITION"]
        agrees = ranges(indices, blocks, stages) == blocks_of(plan)
        envs.VLLM_PP_LAYER_PARTITION = None
        agrees &= counts_agree(plan, exported, map(len, ranges(indices, blocks, stages)))
        degree = option(words, "--tensor-parallel-size")
        ranks = np.arange(replicas * stages * degree)  # its initialize_model_parallel
        order = ranks.reshape(replicas, stages, degree)
        agrees &= ranks_match(exported, lambda rank, order=order: place_in(order, rank)[1::-1])
        yield agrees


def sglang(release):
    path = release.folder / "sglang/srt/distributed/utils.py"
    indices = extract(path, "get_pp_indices", os=os)["get_pp_indices"]
    arguments = (release.folder / "sglang/srt/server_args.py").read_text()
    pipelines = set(json.loads(DATA.read_text())["sglang"]["pipelines"])
    for plan in plans("inference"):
        if plan.problem.conditions.architecture not in pipelines:
            continue
        exported = sp.export(plan, "sglang")
        environment, words = shell(exported.text)
        assert all(word.lstrip("-").replace("-", "_") in arguments for word in words if word.startswith("--"))
        stages, replicas = option(words, "--pp-size"), option(words, "--dp-size")
        blocks = sum(map(len, blocks_of(plan)))
        with patch.dict(os.environ, environment):
            agrees = ranges(indices, blocks, stages) == blocks_of(plan)
        agrees &= counts_agree(plan, exported, map(len, ranges(indices, blocks, stages)))
        degree = option(words, "--tp-size")
        ranks = np.arange(replicas * stages * degree)  # a group of processes for each replica
        order = ranks.reshape(replicas, stages, degree)
        agrees &= ranks_match(exported, lambda rank, order=order: place_in(order, rank)[1::-1])
        yield agrees


def megatron(release):
    core = release.folder / "megatron/core"
    layer_type = extract(core / "transformer/enums.py", "LayerType", enum=enum)["LayerType"]
    parallel_state = SimpleNamespace(get_virtual_pipeline_model_parallel_world_size=lambda: None)
    layout_class = extract(
        core / "transformer/pipeline_parallel_layer_layout.py",
        "PipelineParallelLayerLayout",
        LayerType=layer_type,
        parallel_state=parallel_state,
        copy=__import__("copy"),
        re=__import__("re"),
        lru_cache=lambda: lambda function: function,
    )["PipelineParallelLayerLayout"]
    numbering = extract(
        core / "parallel_state.py", "generate_masked_orthogonal_rank_groups", "RankGenerator"
    )["RankGenerator"]
    for plan in plans("train"):
        exported = sp.export(plan, "megatron")
        words = shlex.split(exported.text.replace("\\\n", ""))
        stages = option(words, "--pipeline-model-parallel-size")
        layout = layout_class(words[words.index("--pipeline-model-parallel-layout") + 1], stages)
        layout.validate_layer_layout(option(words, "--num-layers"), None)
        agrees = [layout.get_layer_id_list(pp_rank=rank) for rank in range(stages)] == blocks_of(plan)
        degree = option(words, "--tensor-model-parallel-size")
        replicas = len(exported.ranks) // (stages * degree)
        made = numbering(tp=degree, ep=1, dp=replicas, pp=stages, cp=1, order="tp-cp-ep-dp-pp")
        groups = enumerate(made.get_ranks("pp"))  # one for each device of each replica
        places = {rank: (s, g // degree) for g, group in groups for s, rank in enumerate(group)}
        yield agrees and ranks_match(exported, places.get)


def torchtitan(release):
    import torch
    from torch import nn

    folder = release.folder / "torchtitan"
    tyro = import_tyro(release.folder.parent)
    config_class = extract(
        folder / "config/configs.py", "ParallelismConfig", Literal=__import__("typing").Literal, torch=torch
    )["ParallelismConfig"]
    parallelism = __import__("dataclasses").dataclass(kw_only=True)(without_future(config_class))
    registry = tyro.constructors.ConstructorRegistry()
    rule = extract(folder / "config/manager.py", "list_str_rule", tyro=tyro)["list_str_rule"]
    rule.__annotations__ = {"type_info": tyro.constructors.PrimitiveTypeInfo}
    registry.primitive_rule(rule)
    split = extract(
        folder / "distributed/pipeline_parallel.py",
        "_split_module",
        "_generate_llm_fqn_per_model_part",
        copy=__import__("copy"),
        nn=nn,
        ModuleDict=nn.ModuleDict,
        ModuleList=nn.ModuleList,
    )
    decoder = (folder / "models/common/decoder.py").read_text()
    assert all(f"self.{name} =" in decoder for name in ("tok_embeddings", "layers", "norm", "lm_head"))
    config = __import__("dataclasses").make_dataclass(
        "Config", [("parallelism", parallelism, __import__("dataclasses").field(default_factory=parallelism))]
    )
    for plan in plans("train"):
        try:
            exported = sp.export(plan, "torchtitan")
        except ValueError:  # another form of model, or tied weights
            continue
        words = shlex.split(exported.text.replace("\\\n", ""))
        parsed = tyro.cli(config, args=words, registry=registry).parallelism
        blocks = sum(map(len, blocks_of(plan)))
        model = nn.Module()
        for name in ("tok_embeddings", "norm", "lm_head"):
            setattr(model, name, nn.Identity())
        model.layers = nn.ModuleDict({str(i): nn.Identity() for i in range(blocks)})
        stages = [split["_split_module"](model, part) for part in parsed.module_fqns_per_model_part]
        agrees = [[int(name) for name in stage.layers] for stage in stages] == blocks_of(plan)
        last = len(stages) - 1
        for name, place in (("tok_embeddings", 0), ("norm", last), ("lm_head", last)):
            agrees &= [getattr(stage, name) is not None for stage in stages] == [
                number == place for number in range(len(stages))
            ]
        agrees &= parsed.pipeline_parallel_degree == len(plan.stages)
        default = split["_generate_llm_fqn_per_model_part"](len(stages), blocks)
        agrees &= tuple(map(len, default)) == exported.comparison.default_layers
        replicas, degree = parsed.data_parallel_replicate_degree, parsed.tensor_parallel_degree
        ranks = np.arange(replicas * len(stages) * degree)  # its build_mesh
        order = ranks.reshape(len(stages), replicas, degree)
        yield agrees and ranks_match(exported, lambda rank, order=order: place_in(order, rank)[:2])


def without_future(config_class):
    """Evaluate the annotations of a class, which `extract` keeps as text, in the class's own module."""
    from typing import Literal

    config_class.__annotations__ = {
        name: eval(text, {"Literal": Literal})  # of a released package's own file
        for name, text in config_class.__annotations__.items()
    }
    return config_class


def import_tyro(folder):
    """Install tyro, torchtitan's parser of flags, into a folder, and import it from there."""
    target = folder / "tyro"
    pip = [sys.executable, "-m", "pip", "install", "--quiet", "--target", target, "tyro"]
    subprocess.run(pip, check=True, stderr=subprocess.DEVNULL)
    sys.path.append(str(target))
    import tyro

    return tyro


def deepspeed(release):
    runtime = release.folder / "deepspeed/runtime"
    topology = extract(
        runtime / "pipe/topology.py",
        "ProcessTopology",
        "PipeDataParallelTopology",
        namedtuple=collections.namedtuple,
        cartesian_product=itertools.product,
    )["PipeDataParallelTopology"]
    set_bounds = extract(runtime / "pipe/module.py", "_set_bounds")["_set_bounds"]
    balanced = extract(runtime / "utils.py", "partition_balanced", "partition_uniform")["partition_balanced"]

    class PipelineModule:
        """As much of the constructor as sets the topology and calls the hook."""

        _set_bounds = set_bounds

        def __init__(self, layers, num_stages, rank, replicas):
            self._topo, self.global_rank = topology(num_pp=num_stages, num_dp=replicas), rank
            self._partition_layers(method="parameters")

    class Spec:
        key = "tied"

    modules = {"deepspeed": ModuleType("deepspeed"), "deepspeed.pipe": ModuleType("deepspeed.pipe")}
    modules["deepspeed.pipe"].PipelineModule = PipelineModule
    modules["deepspeed.pipe"].TiedLayerSpec = Spec
    for plan in plans("train", (1,)):
        exported, namespace = sp.export(plan, "deepspeed"), {}
        with patch.dict(sys.modules, modules):
            exec(exported.text, namespace)
        agrees, replicas = True, len(exported.ranks) // len(plan.stages)
        for rank in exported.ranks:
            layers = [Spec()] * plan.problem.n_layers
            made = namespace["PlannedPipeline"](layers, rank=rank.rank, replicas=replicas)
            held = tuple(range(made._local_start, made._local_stop))
            coordinates = made._topo.get_coord(rank.rank)
            agrees &= held == plan.stages[rank.stage].layers and coordinates.data == rank.replica
            agrees &= plan.stages[rank.stage].type == rank.device_type
        bounds = balanced(list(plan.problem.parameters), len(plan.stages))
        agrees &= tuple(np.diff(bounds)) == exported.comparison.default_layers
        yield agrees


def paddle(release):
    fleet = release.folder / "paddle/distributed/fleet"
    segment = extract(
        fleet / "meta_parallel/parallel_layers/pp_layers.py",
        "SegmentLayers",
        nn=SimpleNamespace(Layer=type(None)),
        re=__import__("re"),
        math=__import__("math"),
    )["SegmentLayers"]
    topology = extract(
        fleet / "base/topology.py",
        "CommunicateTopology",
        collections=collections,
        product=itertools.product,
        reduce=reduce,
    )["CommunicateTopology"]

    class Shared:
        layer_name = "tied"

    def pipeline_layer(layers, num_stages, seg_method):
        return segment(layers, num_stages, method=seg_method).do_segment()

    name = "paddle.distributed.fleet.meta_parallel"
    module = ModuleType(name)
    module.PipelineLayer, module.SharedLayerDesc = pipeline_layer, Shared
    for plan in plans("train"):
        exported, namespace = sp.export(plan, "paddle"), {}
        with patch.dict(sys.modules, {name: module}):
            exec(exported.text, namespace)
        layers, stages = [Shared()] * plan.problem.n_layers, len(plan.stages)
        bounds = namespace["planned_pipeline"](layers)
        agrees = [tuple(range(*pair)) for pair in itertools.pairwise(bounds)] == [
            stage.layers for stage in plan.stages
        ]
        uniform = segment(layers, stages, method="uniform").do_segment()
        agrees &= tuple(np.diff(uniform)) == exported.comparison.default_layers
        degree = plan.stages[0].devices // plan.stages[0].replicas
        dims = [len(exported.ranks) // (stages * degree), stages, 1, 1, 1, degree]
        coordinates = topology(dims=dims).get_coord
        yield agrees and ranks_match(exported, lambda rank, of=coordinates: (of(rank).pipe, of(rank).data))


def torch_processes(folder):
    """Yield whether four processes that train by an export have the losses of one."""
    losses = run_workers(folder / "one", replicas=1)[1]["whole"]
    replicas = [rank["replica"] for rank in run_workers(folder / "two", replicas=2)[2:]]
    means = np.mean(replicas, axis=0)
    yield len(means) == len(losses) and np.allclose(means, losses, rtol=0, atol=1e-6)


def ranges(indices, blocks, stages):
    return [list(range(*indices(blocks, rank, stages))) for rank in range(stages)]


def place_in(order, rank):
    """Indices of a rank in an array of ranks."""
    return tuple(int(index) for index in np.argwhere(order == rank)[0])


def print_nothing(*_):
    pass


# Everything ---------------------------------------------------------------------------------------------

RUNTIMES = {
    "vllm": (vllm, "vllm", "vllm/"),
    "sglang": (sglang, "sglang", "sglang/srt/"),
    "megatron": (megatron, "megatron-core", "megatron/"),
    "torchtitan": (torchtitan, "torchtitan", "torchtitan/"),
    "deepspeed": (deepspeed, "deepspeed", "deepspeed/runtime/"),
    "paddle": (paddle, "paddlepaddle", "paddle/distributed/fleet/"),
}


def architectures(releases):
    """What ``data/architectures.json`` should be."""
    import transformers

    serving = {
        name: (listed(releases[name].folder), releases[name].version)
        for name, listed in (("vllm", vllm_architectures), ("sglang", sglang_architectures))
    }
    package = {"vllm": "vLLM", "sglang": "SGLang"}
    return {
        name: {
            "package": package[name],
            "version": version,
            "pipelines": sorted(pipelines),
            "no_pipelines": sorted(rest),
        }
        for name, ((pipelines, rest), version) in serving.items()
    } | {
        "megatron": {
            "package": "transformers",
            "version": transformers.__version__,
            "other_blocks": sorted(other_blocks()),
        }
    }


@contextmanager
def downloads_in(folder):
    """Folder for downloads: the one that is given, or a temporary one."""
    if folder is not None:
        yield folder
        return
    with tempfile.TemporaryDirectory() as made:
        yield Path(made)


def main():
    parser = argparse.ArgumentParser(description="Hold exports against the code of the released runtimes.")
    parser.add_argument("--downloads", type=Path, help="keep downloads here, and use those that are there")
    parser.add_argument("--write", action="store_true", help="update the lists of architectures")
    arguments = parser.parse_args()
    with downloads_in(arguments.downloads) as downloads, tempfile.TemporaryDirectory() as folder:
        releases = {
            runtime: fetch(name, prefix, downloads, Path(folder))
            for runtime, (_, name, prefix) in RUNTIMES.items()
        }
        found = architectures(releases)
        if arguments.write:
            DATA.write_text(json.dumps(found, indent=1) + "\n", encoding="utf-8")
        failed = json.loads(DATA.read_text(encoding="utf-8")) != found
        print(f"lists of architectures {'differ: run with --write' if failed else 'agree'}")
        for runtime, (check, _, _) in RUNTIMES.items():
            agree = list(check(releases[runtime]))
            failed |= not agree or not all(agree)
            print(
                f"{runtime:12}{releases[runtime].version:10}{sum(agree):4} of {len(agree)} agree", flush=True
            )
        import torch

        agree = list(torch_processes(Path(folder)))
        failed |= not all(agree)
        print(f"{'torch':12}{torch.__version__:10}{sum(agree):4} of {len(agree)} agree")
    return int(failed)


if __name__ == "__main__":
    sys.exit(main())
