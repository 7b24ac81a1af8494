"""Times of a torch module's layers on this machine: the clock is read between layers, in passes of the whole.

On a processor the clock is the CPU time of this process, on one thread, which other processes on the machine
disturb little; on a GPU it is its own events.  The least time of many passes counts.
"""

from __future__ import annotations

import gc
import time
from collections.abc import Iterator, Mapping, Sequence
from contextlib import contextmanager
from functools import partial
from typing import Any, NamedTuple

import numpy as np
import numpy.typing as npt
import torch
from torch import nn

from ..errors import InputError
from .tensors import tensors_in
from .torch_module import run_backward

Array = npt.NDArray[np.float64]

WARM_UP = 2  # passes
ROUND = 4  # passes between looks at the spread
LEAST = 8  # passes
TICK = 1e-9  # seconds: resolution of times


class Times(NamedTuple):
    """Least seconds of each layer over all passes, shape (L,), and the spread of repeats.

    `spread` compares the least time of the odd passes with that of the even ones, as a fraction.
    """

    forward: Array
    backward: Array
    spread: Array
    passes: int

    @property
    def apart(self) -> float:
        """Mean of the spreads, each by its layer's time: the clock is too coarse for the smallest layers."""
        seconds = self.forward + self.backward
        return float(self.spread @ seconds / max(seconds.sum(), TICK))


def measure(
    module: nn.Module,
    args: Sequence[Any],
    kwargs: Mapping[str, Any],
    paths: Sequence[str],
    *,
    train: bool,
    repeats: int,
    max_spread: float,
) -> Times:
    """Measure the layers of a module, in passes of the whole.

    Parameters
    ----------
    module
        Its weights stay as they are; its gradients and its mode (training or not) are put back.
    args, kwargs
        A batch of examples, on the module's device.
    paths
        Of the modules where layers begin, in order; the first layer begins with the pass.
    train
        Whether a backward pass follows each forward pass.
    repeats
        Most passes to run.  It ends early once times repeat within a fifth of `max_spread`.
    max_spread
        Largest mean of the layers' spreads, each by its layer's time.

    Returns
    -------
    Times

    Raises
    ------
    ValueError
        Times do not repeat within `max_spread`.
    """
    with _prepared(module, train), _Stamps(module, paths) as stamps:
        for _ in range(WARM_UP):
            stamps.run(args, kwargs, train)
        samples: list[Array] = []
        while len(samples) < repeats:
            samples.append(stamps.run(args, kwargs, train))
            if (
                len(samples) >= LEAST
                and len(samples) % ROUND == 0
                and _times(samples).apart <= max_spread / 5
            ):
                break
    times = _times(samples)
    if times.apart > max_spread:
        raise InputError(
            f"max_spread is {max_spread:g}, but {len(samples)} repeats are {times.apart:.3g} apart; measure "
            f"with more repeats, or on a machine that does less besides"
        )
    return times


def _times(samples: Sequence[Array]) -> Times:
    passes = np.array(samples)  # shape (passes, 2, L)
    forward, backward = passes.min(axis=0)
    odd, even = (passes[start::2].min(axis=0).sum(axis=0) for start in (0, 1))
    return Times(forward, backward, np.abs(odd - even) / np.maximum(forward + backward, TICK), len(samples))


@contextmanager
def _prepared(module: nn.Module, train: bool) -> Iterator[None]:
    """Run on one thread, without Python's garbage collector, and put the module's state back."""
    threads, training, collects = torch.get_num_threads(), module.training, gc.isenabled()
    gradients = [(weight, weight.grad) for weight in module.parameters()]
    buffers = [(buffer, buffer.clone()) for buffer in module.buffers()]
    for weight, _ in gradients:
        weight.grad = None
    module.train(train)
    torch.set_num_threads(1)
    gc.disable()
    try:
        with torch.set_grad_enabled(train):
            yield
    finally:
        if collects:
            gc.enable()
        torch.set_num_threads(threads)
        module.train(training)
        for weight, gradient in gradients:
            weight.grad = gradient
        with torch.no_grad():
            for buffer, value in buffers:
                buffer.copy_(value)


class _Stamps:
    """Hooks that read the clock where a layer begins, in the forward pass and in the backward pass."""

    def __init__(self, module: nn.Module, paths: Sequence[str]) -> None:
        self.module = module
        self.size = len(paths)
        self.clock = _gpu_clock if _is_on_gpu(module) else time.process_time
        self.stamps: list[tuple[int, Any]] = []  # (layer, reading of the clock where it begins)
        self.handles = list(self._watch(paths))

    def __enter__(self) -> _Stamps:
        return self

    def __exit__(self, *_: object) -> None:
        for handle in self.handles:
            handle.remove()

    def _watch(self, paths: Sequence[str]) -> Iterator[Any]:
        for layer, path in enumerate(paths):
            part = self.module.get_submodule(path)
            yield part.register_forward_pre_hook(partial(self._begin, layer))
            yield part.register_forward_hook(partial(self._watch_gradient, layer))

    def _begin(self, layer: int, *_: Any) -> None:
        self.stamps.append((layer, self.clock()))

    def _watch_gradient(self, layer: int, module: nn.Module, inputs: Any, outputs: Any) -> None:
        """Read the clock when the gradient of a layer's output is computed: its backward pass begins."""
        output = next((tensor for tensor in tensors_in(outputs) if tensor.requires_grad), None)
        if output is not None:
            output.register_hook(partial(self._begin, layer))  # type: ignore[no-untyped-call]

    def run(self, args: Sequence[Any], kwargs: Mapping[str, Any], train: bool) -> Array:
        """Seconds of each layer in one pass, forward and backward, shape (2, L)."""
        self.stamps = []
        self._begin(0)
        outputs = self.module(*args, **kwargs)
        turn = len(self.stamps)
        self._begin(self.size - 1)
        if train:
            run_backward(outputs)
            self._begin(self.size - 1)
        return self._add_up(turn)

    def _add_up(self, turn: int) -> Array:
        layers = [layer for layer, _ in self.stamps]
        seconds = np.diff(_seconds([reading for _, reading in self.stamps]))
        times = np.zeros((2, self.size))
        np.add.at(times[0], layers[:turn], seconds[:turn])
        np.add.at(times[1], layers[turn:-1], seconds[turn:])
        return times


def _is_on_gpu(module: nn.Module) -> bool:
    return any(weight.is_cuda for weight in module.parameters())


def _gpu_clock() -> torch.cuda.Event:
    event = torch.cuda.Event(enable_timing=True)  # type: ignore[no-untyped-call]
    event.record()
    return event


def _seconds(readings: Sequence[Any]) -> Array:
    """Seconds since the first reading of a clock."""
    if isinstance(readings[0], float):
        return np.array(readings)
    torch.cuda.synchronize()
    return np.array([readings[0].elapsed_time(reading) / 1000 for reading in readings])
