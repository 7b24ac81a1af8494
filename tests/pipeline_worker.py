"""A rank: trains a tiny GPT-2, whose embeddings and head are tied, in two stages; writes its losses.

Arguments: the rank, a folder to meet in, and the replicas of each stage.
"""

import json
import sys
from pathlib import Path

import torch
import torch.distributed as dist
from torch import nn
from torch.distributed.device_mesh import init_device_mesh
from torch.distributed.pipelining import Schedule1F1B, pipeline
from torch.nn.functional import cross_entropy
from transformers import GPT2Config, GPT2LMHeadModel
from writers import plan_of

import stageplan as sp

BLOCKS = [f"model.transformer.h.{i}" for i in range(4)]
NAMES = ["model.transformer.wte", "model.transformer.wpe", *BLOCKS, "model.transformer.ln_f", "model.lm_head"]
MICROBATCHES = 4


class Logits(nn.Module):
    """GPT-2 from tokens to logits."""

    def __init__(self):
        super().__init__()
        torch.manual_seed(0)
        sizes = {"vocab_size": 50, "n_embd": 16, "n_layer": 4, "n_head": 2, "n_positions": 16}
        no_dropout = {"resid_pdrop": 0.0, "attn_pdrop": 0.0, "embd_pdrop": 0.0}
        self.model = GPT2LMHeadModel(
            GPT2Config(**sizes, **no_dropout, use_cache=False, bos_token_id=0, eos_token_id=0)
        )

    def forward(self, tokens):
        return self.model(input_ids=tokens).logits


def loss_of(logits, tokens):
    return cross_entropy(logits[:, :-1].flatten(0, 1), tokens[:, 1:].flatten())


def planned(replicas=1):
    layers = [sp.Layer(name=name, compute={"a": 3e-3, "b": 2e-3}) for name in NAMES]
    workload = sp.Workload(name="gpt2", layers=layers, ties=[(NAMES[0], NAMES[-1])])
    return plan_of(workload, [0] * 3 + [1] * 5, counts=(replicas, replicas))  # uneven: one block, and three


def batches():
    torch.manual_seed(1)
    return [torch.randint(0, 50, (2 * MICROBATCHES, 12)) for _ in range(4)]


def train_whole():
    """Losses of one process."""
    model, losses = Logits(), []
    optimizer = torch.optim.SGD(model.parameters(), lr=0.5)
    for tokens in batches():
        optimizer.zero_grad()
        loss = sum(loss_of(model(part), part) for part in tokens.chunk(MICROBATCHES)) / MICROBATCHES
        loss.backward()
        optimizer.step()
        losses.append(loss.item())
    return losses


def train_stage(module, stage, reduce, part=slice(None)):
    """Losses of a part of each batch, in the last stage."""
    schedule = Schedule1F1B(stage, n_microbatches=MICROBATCHES, loss_fn=loss_of)
    optimizer = torch.optim.SGD(module.parameters(), lr=0.5)
    found = []
    for batch in batches():
        tokens, losses = batch[part], []
        optimizer.zero_grad()
        schedule.step(*([tokens] if stage.is_first else []), target=tokens, losses=losses)
        reduce()
        optimizer.step()
        found += [torch.stack(losses).mean().item()] if losses else []
    return found


def stages_of(way, rank):
    """(Module, stage, what to call before the optimizer's step) of a rank."""
    model, plan, example, device = Logits(), planned(), batches()[0][:2], torch.device("cpu")
    if way == "export":
        text = {}
        exec(sp.export(plan, "torch").text, text)
        pipe = pipeline(model, (example,), split_spec=text["SPLIT_SPEC"])
        return pipe.get_stage_module(rank), pipe.build_stage(rank, device), text["tie"](pipe, rank)
    split = sp.split_module(model, plan, (example,))
    reduce = split.tie(rank) if way == "split_module" else lambda: None
    return split.modules[rank], split.stage(rank, device), reduce


def train_replica(rank, replicas):
    """Losses of a replica of a stage, on its part of each batch, as an exported text says."""
    text = {}
    exec(sp.export(planned(replicas), "torch").text, text)
    index, _ = text["RANKS"][rank]
    mesh = init_device_mesh("cpu", (len(text["STAGES"]), replicas), mesh_dim_names=("stage", "replica"))
    examples = 2 * MICROBATCHES // replicas
    pipe = pipeline(Logits(), (batches()[0][: examples // MICROBATCHES],), split_spec=text["SPLIT_SPEC"])
    reduce = text["tie"](pipe, index)
    module = pipe.get_stage_module(index)
    stage = pipe.build_stage(index, torch.device("cpu"), mesh["stage"].get_group())

    def synchronize():
        reduce()
        text["average"](module, mesh["replica"].get_group())

    begin = mesh["replica"].get_local_rank() * examples
    return train_stage(module, stage, synchronize, slice(begin, begin + examples))


def main(rank, folder, replicas):
    torch.set_num_threads(1)
    dist.init_process_group("gloo", init_method=f"file://{folder}/meet", rank=rank, world_size=2 * replicas)
    if replicas > 1:
        losses = {"replica": train_replica(rank, replicas)}
    else:
        losses = {way: train_stage(*stages_of(way, rank)) for way in ("split_module", "export", "untied")}
        losses["whole"] = train_whole() if rank else []
    Path(folder, f"{rank}.json").write_text(json.dumps(losses))
    dist.destroy_process_group()


if __name__ == "__main__":
    main(int(sys.argv[1]), sys.argv[2], int(sys.argv[3]))
