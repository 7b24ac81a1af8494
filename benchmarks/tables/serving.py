"""Serving: estimated decoding over published, and the cheapest plan of a large model for a rate of tokens.

python -m benchmarks.tables.serving [decode] [plan]; default: both.
"""

import json
import sys
import tempfile
from pathlib import Path
from statistics import median

from msgspec.structs import replace

import stageplan as sp

# Tokens/s of one sequence in bf16 on 1 to 8 A100-80G, power-limited to 330 W, after a prompt of 5 tokens (200
# more are decoded): the README of gpt-fast (github.com/pytorch-labs/gpt-fast, commit 0f925b5).
PUBLISHED = {
    "llama-2-7b": {1: 104.9, 2: 168.84, 4: 254.02, 8: 328.43},
    "llama-2-70b": {2: 21.32, 4: 38.01, 8: 62.50},
}
LLAMA_3_70B = {
    "model_type": "llama", "architectures": ["LlamaForCausalLM"], "hidden_size": 8192,
    "num_hidden_layers": 80, "num_attention_heads": 64, "num_key_value_heads": 8, "intermediate_size": 28672,
    "vocab_size": 128256, "max_position_embeddings": 8192, "rms_norm_eps": 1e-5,
}  # fmt: skip
DEVICES = {"h100-sxm": 8, "a100-40g": 16}
CONTEXT, SEQUENCES, RATE = 8192, 256, 4000.0  # tokens, sequences, tokens/s


def decode() -> None:
    """Estimated over published tokens/s."""
    errors = []
    for network, rates in PUBLISHED.items():
        workload = sp.profile(
            f"hf:{network}",
            devices=["a100-80g"],
            mode="decode",
            context=105,
            precision="bf16",
            strategies=["tp=2,4,8"],
        )
        for degree, rate in rates.items():
            column = "a100-80g" if degree == 1 else f"a100-80g/tp{degree}"
            estimated = 1 / sum(layer.compute[column] for layer in workload.layers)
            ratio = estimated / rate
            errors.append(abs(ratio - 1))
            print(f"{network}, {degree} devices: {rate} tokens/s, estimated {estimated:.1f}: {ratio:.2f}")
    print(f"decoding: median {median(errors):.1%}, worst {max(errors):.0%} of {len(errors)}")


def plan() -> None:
    """Cheapest plan that decodes at a rate, of those with 1 to 8 groups of sequences, and its vLLM flags."""
    cluster = sp.make_cluster([f"{name}:{count}" for name, count in DEVICES.items()])
    goal = sp.Goal(objective="price", min_throughput=RATE, split=True, same_strategy=True, same_replicas=True)
    found = []
    with tempfile.TemporaryDirectory() as folder:
        (Path(folder) / "config.json").write_text(json.dumps(LLAMA_3_70B))
        for groups in (1, 2, 4, 8):
            workload = sp.profile(
                f"hf:{folder}",
                devices=[*DEVICES],
                mode="decode",
                context=CONTEXT,
                concurrency=SEQUENCES,
                batch=SEQUENCES // groups,
                precision="bf16",
                strategies=["tp=2,4,8"],
            )
            workload = replace(workload, name="llama-3-70b")
            result = sp.solve(sp.Problem(workload, cluster, goal), stop=sp.MaxRuntime(60))
            print(f"{groups} groups: {result.status}, {result.plan.throughput:,.0f} tokens/s")
            found += [result] if result.plan.feasible else []
    best = min(found, key=lambda result: (round(result.plan.price, 6), -result.plan.throughput))
    print(best)
    print(sp.export(best.plan, "vllm"))


if __name__ == "__main__":
    parts = {"decode": decode, "plan": plan}
    for part in sys.argv[1:] or parts:
        parts[part]()
