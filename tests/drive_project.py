"""Runs functions of generated projects, each project in a process of its own, forked when PyTorch is loaded.

Each line of its input is JSON: the project, a file for what is printed, and a list of steps, each [module,
function, changes of the configuration, quick], or ["drive", "write", files, quick]. It answers with the exit
status. The last line in the file is then a list of what the functions returned, or of their errors.
"""

import importlib
import json
import os
import resource
import signal
import sys
from contextlib import redirect_stdout
from dataclasses import replace
from io import StringIO
from pathlib import Path

LIMIT = 300  # seconds


def changed(config, changes):
    """Replace fields of the configuration; a table's by the names in it."""
    for name, value in changes.items():
        old = getattr(config, name)
        config = replace(config, **{name: replace(old, **value) if isinstance(value, dict) else value})
    return config


def step(module, function, changes, quick):
    if function == "write":
        for name, values in changes.items():
            Path(name).write_text(json.dumps(values))
        return None
    common = importlib.import_module("common")
    config = changed(common.read_config(Path("config.json")), changes)
    try:
        return getattr(importlib.import_module(module), function)(config, quick)
    except (ValueError, OSError, RuntimeError) as error:
        return f"{type(error).__name__}: {error}"


def sample(config, quick):
    """Describe a batch of examples of each kind."""
    data = importlib.import_module("data")
    described = []
    for split in ("training", "evaluation"):
        inputs, targets = data.batch(config, split, 0, 6)
        again, _ = data.batch(config, split, 0, 6)
        other, _ = data.batch(config, split, 1, 6)
        described.append(
            {
                "shapes": [list(tensor.shape) for tensor in (*inputs, targets)],
                "inputs": [tensor.tolist() for tensor in inputs],
                "targets": targets.tolist(),
                "same": all(one.equal(two) for one, two in zip(inputs, again, strict=True)),
                "other": not inputs[0].equal(other[0]),
            }
        )
    return described


def blind(config, quick):
    """Train a network that misses what it needs: attention, the categories, or pixels."""
    network, evaluate = importlib.import_module("network"), importlib.import_module("evaluate")
    if hasattr(network, "Block") and hasattr(network.Block, "attention"):
        network.Block.attention = lambda self, hidden: hidden * 0
    elif hasattr(network, "Cross"):
        seeing = network.Embedding.forward
        network.Embedding.forward = lambda self, numbers, categories: seeing(self, numbers, categories * 0)
    else:
        seeing = network.Stem.forward
        network.Stem.forward = lambda self, images: seeing(
            self, images.mean((2, 3), keepdim=True).expand_as(images)
        )
    module = importlib.import_module("common").build(config)
    importlib.import_module("train").train(config, module, config.train.quick_steps)
    numbers = evaluate.measure_network(config, module)
    return numbers | {"margin": evaluate.margin_of(config, module, numbers, quick)}


def in_pieces(config, quick):
    """Measure the untrained network as far as possible at once, and an example at a time."""
    evaluate = importlib.import_module("evaluate")
    module = importlib.import_module("common").build(config)
    at_once = evaluate.measure_network(config, module)
    most, evaluate.LARGEST = evaluate.LARGEST, 1
    one_by_one = evaluate.measure_network(config, module)
    evaluate.LARGEST = most
    return at_once, one_by_one


def memory_of_evaluation(config, quick):
    """Return the bytes by which the most memory used grows while a network is measured in small batches."""
    evaluate = importlib.import_module("evaluate")
    evaluate.LARGEST, evaluate.SAMPLE = 2**23, 2**20
    module = importlib.import_module("common").build(config)
    importlib.import_module("torch").set_num_threads(1)
    before = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss
    evaluate.judge(config, module, evaluate.measure_network(config, module), quick)
    return (resource.getrusage(resource.RUSAGE_SELF).ru_maxrss - before) * 1024


def losses(config, quick):
    """Return the loss of a batch of texts, and the one that transformers computes of the same tokens."""
    common, data = importlib.import_module("common"), importlib.import_module("data")
    network, torch = importlib.import_module("network"), importlib.import_module("torch")
    module = common.build(config).eval()
    inputs, targets = data.batch(config, "training", 0, 4)
    whole = torch.cat([inputs[0], targets[:, -1:]], 1)
    with torch.no_grad():
        ours = network.loss(module(*inputs), targets)
        return ours.item(), module.module(input_ids=whole, labels=whole).loss.item()


def variant(config, quick):
    """Compare the exported network, as a server loads it, with the network, and load two that are absent."""
    common, data = importlib.import_module("common"), importlib.import_module("data")
    variants, torch = importlib.import_module("variants"), importlib.import_module("torch")
    inputs, _ = data.batch(config, "evaluation", 0, 3)
    with torch.no_grad():
        exported = variants.load_variant(config, "float32")(*inputs)
        found = {"float32": (exported - common.load_weights(config)(*inputs)).abs().max().item()}
    for name in ("aot", "int4"):
        try:
            variants.load_variant(config, name)
        except (OSError, ValueError) as error:
            found[name] = str(error)
    return found


def live(config, quick):
    """Count the most bytes of tensors at a time: two of the three, for the first one is released."""
    sizes, torch = importlib.import_module("sizes"), importlib.import_module("torch")

    def work():
        first = torch.ones(1000)
        second = first + 1
        del first
        return second.view(10, 100) * 2

    return sizes.most_bytes(torch.nn.Linear(1, 1), work)


def limits(config, quick):
    """Summarise three requests of 0.1, 0.2 and 0.3 s; return whether limits are met, and what is printed."""
    infer = importlib.import_module("infer")
    with redirect_stdout(StringIO()) as printed:
        numbers = infer.timing(config, [0.1, 0.2, 0.3])
    return numbers["latency_met"], numbers["throughput_met"], printed.getvalue().splitlines()


def replayed(config, quick):
    """Replay two micro-batches in two stages, on equal devices and on one of twice the speed behind."""
    speed = importlib.import_module("pipeline_speed")
    orders = [("F0", "F1", "B0", "B1"), ("F0", "B0", "F1", "B1")]
    seconds = {"F": ("forward", 1.0), "B": ("backward", 2.0)}
    times = [
        speed.Times({(seconds[one[0]][0], int(one[1])): seconds[one[0]][1] for one in order}, rest=rest)
        for order, rest in zip(orders, (0.5, 0.25), strict=True)
    ]
    times = [speed.Times.of(json.loads(json.dumps(one.to_list()))) for one in times]
    slower = [speed.Times(times[0].passes, rest=0.25), times[1]]
    copying = [replace(one, sent=8, received=8, steps=1) for one in times]  # 4 bytes a pass
    stages = [(0,), (1,)]
    return [
        speed.replay(stages, times, [1.0, 1.0]),
        speed.replay(stages, slower, [1.0, 2.0]),
        speed.replay(stages, copying, [1.0, 1.0], 8.0),
    ]


def crowded(config, quick):
    """Return what is noted of more processes than cores, and of as many."""
    speed = importlib.import_module("pipeline_speed")
    cores = len(os.sched_getaffinity(0)) if hasattr(os, "sched_getaffinity") else os.cpu_count()
    printed = []
    for processes in (cores + 1, cores):
        with redirect_stdout(StringIO()) as words:
            speed._note_crowded(config, processes)
        printed.append(words.getvalue())
    return printed


def names(config, quick):
    """Name the layers of the network."""
    return importlib.import_module("division").layer_names(config)


def chained(config, quick):
    """Run the layers one after the other, and the network; return the names and the largest difference."""
    common, data = importlib.import_module("common"), importlib.import_module("data")
    torch = importlib.import_module("torch")
    exact = common.single(config)
    inputs, _ = data.batch(config, "training", 0, 4)
    layers = importlib.import_module("division").build_layers(exact, inputs)
    tensors = inputs
    with torch.no_grad():
        for _, layer in layers:
            tensors = common.as_tuple(layer(*tensors))
        whole = common.build(exact).eval()(*inputs)
    names = importlib.import_module("division").tensors_of(torch.nn.Sequential(*(one for _, one in layers)))
    kept = {name for names in common.ties(config) for name in names[1:]}
    return {
        "names": [name for name, _ in layers],
        "difference": (tensors[0] - whole).abs().max().item(),
        "missing": sorted(common.build(config).state_dict().keys() - set(names) - kept),
    }


def serve():
    """Answer every request but this process's own: return the steps of that one, in its project."""
    importlib.import_module("torch")
    for line in sys.stdin:
        folder, printed, steps = json.loads(line)
        if not (child := os.fork()):
            enter(folder, printed)
            return steps
        _, status = os.waitpid(child, 0)
        print(os.waitstatus_to_exitcode(status), flush=True)
    return []


def enter(folder, printed):
    """Work in a project, for a limited time, and print into a file."""
    signal.alarm(LIMIT)
    os.chdir(folder)
    sys.path.insert(0, ".")
    os.dup2(os.open(os.devnull, os.O_RDONLY), 0)
    output = os.open(printed, os.O_WRONLY | os.O_CREAT | os.O_TRUNC)
    os.dup2(output, 1)
    os.dup2(output, 2)


if __name__ == "__main__":
    results = []
    for module, function, changes, quick in serve():
        results.append(step("__main__" if module == "drive" else module, function, changes, quick))
    if results:
        print(json.dumps(results))
