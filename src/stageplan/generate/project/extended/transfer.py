"""Measures how many bytes a second two processes pass on to each other."""

from __future__ import annotations

import os
import sys
import tempfile
import time
from datetime import timedelta

import torch
import torch.distributed as dist
import torch.multiprocessing

NUMBERS = 2**20  # of the tensor that is sent
PATIENCE = timedelta(minutes=1)  # to wait for the other process


def transfer(repeats: int = 10) -> float:
    """Return the bytes that a process sends or receives in a processor second of all its threads.

    One of these copies them, and another one waits meanwhile.
    """
    use_loopback()
    with tempfile.TemporaryDirectory() as folder:
        context = torch.multiprocessing.get_context(start_method())
        other = context.Process(target=_exchange, args=(1, folder, repeats))
        other.start()
        seconds = _exchange(0, folder, repeats)
        other.join()
    return 2 * 4 * NUMBERS / seconds


def use_loopback() -> None:
    """Let processes that all are on this machine find each other there."""
    if sys.platform == "linux":
        os.environ.setdefault("GLOO_SOCKET_IFNAME", "lo")


def start_method() -> str:
    """Return how to start processes: forked, with PyTorch loaded, unless a GPU is in use."""
    forks = "fork" in torch.multiprocessing.get_all_start_methods() and not torch.cuda.is_initialized()
    return "fork" if forks else "spawn"


def _exchange(rank: int, folder: str, repeats: int) -> float:
    """Send a tensor to and fro between two processes; return the least processor seconds."""
    meeting = f"file://{folder}/meeting"
    dist.init_process_group("gloo", init_method=meeting, rank=rank, world_size=2, timeout=PATIENCE)
    tensor, times = torch.empty(NUMBERS), []
    for _ in range(1 + repeats):
        begin = time.process_time()
        for sends in (rank == 0, rank == 1):
            dist.send(tensor, 1 - rank) if sends else dist.recv(tensor, 1 - rank)
        times.append(time.process_time() - begin)
    dist.destroy_process_group()
    return min(times[1:])
