"""llama.cpp's arguments, read back by its rule of which device has a layer."""

import re
import shlex
from bisect import bisect_right
from itertools import accumulate

import msgspec
from hypothesis import given
from hypothesis import strategies as st
from writers import language_model, plan_of

import stageplan as sp


def devices(words, blocks):
    """Return the GPU of each block and of the output, by its number, or "CPU": `load_tensors`."""
    options = dict(zip(words[::2], words[1::2], strict=True))
    layers = int(options["--n-gpu-layers"])
    start, active = max(blocks + 1 - layers, 0), min(layers, blocks + 1)
    shares = [float(x) for x in options.get("--tensor-split", "1").split(",")]
    ends = [x / sum(shares) for x in accumulate(shares)]
    found = []
    for layer in range(blocks + 1):
        on_cpu = layer < start or layer - start >= active
        found.append("CPU" if on_cpu else bisect_right(ends, (layer - start) / active))
    for override in options.get("--override-tensor", "").split(","):
        pattern, _, buffer = override.rpartition("=")
        for layer in range(blocks + 1) if pattern else ():
            name = f"blk.{layer}.ffn_up.weight" if layer < blocks else "output.weight"
            if re.search(pattern, name):
                found[layer] = buffer
    return found


def plan_on(types, counts):
    """Plan a stage for each of some types, with so many blocks."""
    names = sorted(set(types))
    workload = language_model(sum(counts))
    layers = [msgspec.structs.replace(x, compute=dict.fromkeys(names, 1e-3)) for x in workload.layers]
    cluster = sp.Cluster(name="lab", types=[sp.DeviceType(name=name, price=1.0) for name in names])
    goal = sp.Goal(objective="throughput", max_devices_per_stage=1, split=True)
    problem = sp.Problem(sp.Workload(name="model", layers=layers), cluster, goal)
    scheme, sizes = [], [counts[0] + 1, *counts[1:-1], counts[-1] + 2]
    sizes = sizes if len(counts) > 1 else [counts[0] + 3]
    for number, (name, size) in enumerate(zip(types, sizes, strict=True)):
        labels = [i for i, t in enumerate(problem.label_types) if problem.type_names[t] == name]
        scheme += [labels[number % 2]] * size
    return sp.Plan.of(problem, scheme)


@given(
    st.lists(
        st.tuples(st.sampled_from(["gpu", "rtx", "cpu-genoa"]), st.integers(1, 9)), min_size=1, max_size=6
    )
)
def test_every_block_is_on_its_device(stages):
    types, counts = zip(*stages, strict=True)
    exported = sp.export(plan_on(types, counts), "llama-cpp")
    assert shlex.split(exported.text) == exported.value
    gpus = [i for i, type_ in enumerate(types) if not type_.startswith("cpu")]
    expected = [
        gpus.index(number) if number in gpus else "CPU"
        for number, count in enumerate(counts)
        for _ in range(count)
    ]
    assert devices(exported.value, sum(counts)) == [*expected, expected[-1]]


def test_gpus_alone():
    exported = sp.export(plan_of(language_model(6), [0] * 3 + [1] * 6), "llama-cpp")
    assert exported.text == "--n-gpu-layers 7 --split-mode layer --tensor-split 2,5\n"
    assert exported.note.startswith("its GPUs must be, in order (--device): a, b; llama-cpp runs the stages")
    assert "default partition: none, as it is by the free memory" in str(exported.comparison)


def test_processors_between_and_behind_gpus():
    text = sp.export(plan_on(["cpu", "gpu", "cpu"], [2, 3, 2]), "llama-cpp").text
    assert text == r"--n-gpu-layers 6 --override-tensor 'blk\.(5|6)\.=CPU,^output=CPU'" + "\n"
    assert sp.export(plan_on(["cpu"], [4]), "llama-cpp").text == "--n-gpu-layers 0\n"
