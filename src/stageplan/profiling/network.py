"""How a network is read, and the result: common to modules and ONNX files."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from types import MappingProxyType
from typing import TYPE_CHECKING, Any, NamedTuple, get_args

from ..errors import InputError
from ..workload import SERVING, Mode
from .strategies import Division
from .trace import Cut, Trace

if TYPE_CHECKING:
    from .torch_times import Times

MODES = get_args(Mode)
PRECISIONS = ("fp32", "tf32", "fp16", "bf16")


class Options(NamedTuple):
    """How a network is read, as in `stageplan.profile`."""

    mode: Mode
    precision: str | None
    batch: int | None
    sequence: int | None
    shape: Sequence[int] | None
    layers: Sequence[str] | int | None
    axes: Mapping[str, int] | None = None

    @property
    def train(self) -> bool:
        """Whether there is a backward pass."""
        return self.mode == "train"

    @property
    def serves(self) -> bool:
        """Whether it reads prompts or decodes, so that its examples are made up."""
        return self.mode in SERVING

    def examples(self) -> int:
        """Count the examples of a generated batch.

        Raises
        ------
        ValueError
            `batch` and `shape` contradict each other.
        """
        if self.shape is None:
            return self.batch or 1
        if self.batch not in (None, self.shape[0]):
            raise InputError(
                f"batch is {self.batch}; it must be the first of shape, {self.shape[0]}, or absent"
            )
        return self.shape[0]


class Network(NamedTuple):
    """A network, read.

    Attributes
    ----------
    names : dict of str to str
        Path of each parameter and buffer of a module, and the name of that weight in the trace.
    architecture : str
        Class of a network of transformers, or ``""``.
    sequence : int or None
        Tokens of an example, if it has tokens.
    notes : tuple of str
        What was assumed or left out, a sentence each.
    config
        Configuration of a network of transformers, or None.
    measure : callable
        Measures its layers: (repeats, max_spread) -> times.
    divide : callable or None
        Makes the part of it that one of several devices has; None if it cannot be divided.
    """

    name: str
    trace: Trace
    cuts: list[Cut]
    batch: int
    precision: str
    measure: Callable[[int, float], Times]
    names: Mapping[str, str] = MappingProxyType({})
    architecture: str = ""
    sequence: int | None = None
    notes: tuple[str, ...] = ()
    config: Any = None
    divide: Callable[[Division], Network] | None = None
