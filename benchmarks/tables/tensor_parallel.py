"""Figures of tensor parallelism: the part of one process, predicted, and run in two processes here.

python -m benchmarks.tables.tensor_parallel

A decoder of 4 blocks trains by the plan of its configuration in transformers, in one process and in two,
which meet by gloo; times are CPU seconds of a process with one thread.  The prediction has the part of one
process from a profile measured here, and the all-reduces from the time of two of them.
"""

import torch

import stageplan as sp
from benchmarks.support.tensor_parallel import decoder, example, gradient_bytes, run
from stageplan.profiling.machine import hardware_name

SIZES = {
    "hidden_size": 512,
    "intermediate_size": 1408,
    "num_hidden_layers": 4,
    "num_attention_heads": 8,
    "num_key_value_heads": 4,
    "vocab_size": 4096,
}
BATCH, TOKENS, DEGREE, STEPS = 4, 256, 2, 8
LARGE = 2.0**21  # bytes of the larger all-reduce


def main() -> None:
    ran = run(SIZES, BATCH, TOKENS, DEGREE, STEPS)
    latency = max(rank.reduce_small for rank in ran)
    link = LARGE * 2 * (DEGREE - 1) / DEGREE / (max(rank.reduce_large for rank in ran) - latency)
    here = sp.Device(
        name="here",
        peak={"fp32": 1e11},
        memory=1e10,
        memory_bandwidth=1e10,
        link=link,
        link_latency=latency,
        link_fraction=1.0,
        per_machine=DEGREE,
        hardware_names=[hardware_name("cpu")],
    )
    torch.set_num_threads(1)
    workload = sp.profile(
        decoder(SIZES),
        example(BATCH, TOKENS),
        measure="here",
        catalogue={"here": here},
        strategies=[f"tp={DEGREE}"],
        optimizer="sgd",
        max_spread=0.2,
    )
    column = f"here/tp{DEGREE}"
    whole, part = (sum(layer.compute[name] for layer in workload.layers) for name in ("here", column))
    together = ", ".join(f"{rank.together:.9g}" for rank in ran)
    print(f"loss alone {ran[0].alone:.9g}, together {together}")
    had = ", ".join(str(rank.bytes) for rank in ran)
    print(f"bytes of weights a process: predicted {gradient_bytes(workload, column):.0f}, had {had}")
    print(f"all-reduce by gloo: {latency * 1e6:.0f} us, {link / 1e9:.2f} GB/s")
    slowest = max(rank.whole for rank in ran)
    print(f"a step of one process: {whole:.4f} s in the profile, {slowest:.4f} s with the other beside it")
    slowest = max(rank.step for rank in ran)
    print(
        f"a step of one of {DEGREE} processes: predicted {part:.4f} s, took {slowest:.4f} s, "
        f"predicted / taken {part / slowest:.2f}"
    )


if __name__ == "__main__":
    main()
