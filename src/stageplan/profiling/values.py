"""Values of small tensors on the meta device, where they follow from the example and from constants alone.

Tokens, masks, positions, sizes of images and what is computed from them decide what a network does: which
rows are taken, how often a loop runs.  They are computed beside the pass, on the processor.  What depends on
weights has no values; but what a network chooses by it, as the experts of a token, is assumed to be spread
evenly over all choices.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import contextmanager
from typing import Any

import torch
from torch import Tensor, nn
from torch.multiprocessing.reductions import StorageWeakRef
from torch.overrides import TorchFunctionMode
from torch.utils._python_dispatch import TorchDispatchMode, _disable_current_modes

from ..errors import InputError
from .tensors import map_tensors, stored_in, tensors_in, to_meta

aten = torch.ops.aten

LARGEST = 2**18  # elements of a tensor with values
LARGEST_WHOLE = 2**23  # of one of whole numbers, such as the experts of all tokens
MOST_BYTES = 2**28  # of all values

RANDOM = torch.Tag.nondeterministic_seeded
BY_VALUES = {torch.Tag.dynamic_output_shape, torch.Tag.data_dependent_output}

# Operators whose result depends on the shapes of tensors alone.
OF_SHAPE = {
    aten.zeros_like,
    aten.ones_like,
    aten.full_like,
    aten.new_zeros,
    aten.new_ones,
    aten.new_full,
}
EMPTY = {aten.empty, aten.empty_like, aten.empty_strided, aten.new_empty}


# Operators that choose or order numbers, and which of their outputs says where these were.
CHOOSES = {aten.topk: 1, aten.argmax: 0, aten.argmin: 0, aten.max: 1, aten.min: 1, aten.sort: 1}


UNKNOWN = "what it does depends on the values of a tensor"


class UnknownError(InputError):
    """What a network does depends on values that are not known."""


class Values:
    """Values of tensors on the meta device; a copy of a storage holds those of all its views."""

    def __init__(self) -> None:
        self._copies: dict[int, Tensor] = {}  # storage -> its bytes
        self._storages: dict[
            int, StorageWeakRef
        ] = {}  # storages with values, so that no address is used twice
        self._bytes = 0

    def hold(self, value: Tensor) -> Tensor:
        """Make a tensor on the meta device that has the values of another one, if that is small enough."""
        tensor = torch.empty_like(value, device="meta")
        self.note(tensor, value)
        return tensor

    def given(self, value: Any, dtype: torch.dtype) -> Any:
        """Put the tensors in an example on the meta device, floating-point ones in a precision."""

        def move(tensor: Tensor) -> Tensor:
            moved: Tensor = to_meta(tensor, dtype)
            if tensor.device.type == "cpu":
                with _disable_current_modes():
                    self.note(moved, tensor.detach())
            return moved

        return map_tensors(value, move)

    def note_buffers(self, twin: nn.Module, module: nn.Module) -> None:
        """Note the values of a module's buffers, except large ones such as quantised weights."""
        found = dict(twin.named_buffers())
        for name, buffer in module.named_buffers():
            is_whole = name in found and found[name].shape == buffer.shape  # not divided among devices
            if is_whole and buffer.device.type == "cpu" and buffer.numel() <= LARGEST:
                self.note(found[name], buffer)

    def of(self, tensor: Tensor) -> Tensor | None:
        """Values of a tensor, or None where they are not known."""
        if tensor.device.type == "cpu":
            return tensor
        if tensor.layout is not torch.strided:
            return None
        if not tensor.numel():
            return _like(tensor)
        copy = self._copies.get(tensor.untyped_storage()._cdata)
        if copy is None or _is_large(tensor):
            return None
        whole = copy.view(tensor.dtype)
        return whole.as_strided(tensor.shape, tensor.stride(), tensor.storage_offset())

    def _has(self, tensor: Tensor) -> bool:
        """Whether the values of a tensor are known."""
        if tensor.device.type == "cpu":
            return True
        if tensor.layout is not torch.strided:
            return False
        return tensor.untyped_storage()._cdata in self._copies or not tensor.numel()

    def number(self, tensor: Tensor) -> Any:
        """Value of a tensor of one number.

        Raises
        ------
        UnknownError
            It is not known.
        """
        value = self.of(tensor)
        if value is None:
            raise UnknownError(UNKNOWN)
        return value.item()

    def call(self, func: Any, args: Sequence[Any], kwargs: Mapping[str, Any]) -> Any:
        """Call an operator on the meta device, and compute its values where those of its inputs are known.

        Raises
        ------
        UnknownError
            The shape of its result, or the result itself, depends on values that are not known.
        """
        packet = func.overloadpacket
        if not BY_VALUES.isdisjoint(func.tags):
            if packet in (aten.index, aten.masked_select):
                args = self._with_indices(args)
                packet, func = aten.index, aten.index.Tensor
            if packet is not aten.index or _has_masks(args):
                return self._called_by_values(func, args, kwargs)
        tensors = tensors_in((args, kwargs))
        if packet is aten._to_copy and torch.device(kwargs.get("device") or "meta").type == "cpu":
            value = self.of(args[0])
            if value is None:
                raise UnknownError(UNKNOWN)
            return func(value, **kwargs)
        if _is_on_cpu(tensors, kwargs):
            return func(*args, **kwargs)
        if any(tensor.device.type == "cpu" for tensor in tensors):
            args, kwargs = map_tensors(args, self._on_meta), map_tensors(kwargs, self._on_meta)
            tensors = tensors_in((args, kwargs))
        result = func(*args, **kwargs)
        if not func.is_view:
            self._follow(func, args, kwargs, tensors, tensors_in(result))
        return result

    def _called_by_values(self, func: Any, args: Sequence[Any], kwargs: Mapping[str, Any]) -> Any:
        known = self.known((args, kwargs))
        if known is None:
            raise UnknownError(UNKNOWN)
        values, named = known
        return map_tensors(func(*values, **_on_cpu(named)), self.hold)

    def _with_indices(self, args: Sequence[Any]) -> tuple[Any, ...]:
        """Arguments of an index, where known masks among the indices become the places that are true."""
        tensor, indices = args[0], args[1]
        if isinstance(indices, Tensor):  # of a masked selection
            shape = torch.broadcast_shapes(tensor.shape, indices.shape)  # type: ignore[no-untyped-call]
            tensor, indices = tensor.expand(shape), [indices.expand(shape)]
        found: list[Tensor | None] = []
        for index in indices:
            mask = None if index is None or index.dtype not in (torch.bool, torch.uint8) else self.of(index)
            found += [index] if mask is None else map(self.hold, mask.nonzero().unbind(1))
        return tensor, found

    def _on_meta(self, tensor: Tensor) -> Tensor:
        return self.hold(tensor) if tensor.device.type == "cpu" and tensor.dim() else tensor

    def _follow(
        self,
        func: Any,
        args: Sequence[Any],
        kwargs: Mapping[str, Any],
        read: Sequence[Tensor],
        made: Sequence[Tensor],
    ) -> None:
        """Compute the values of a result, or forget those that are written over by others."""
        packet = func.overloadpacket
        is_known = packet in OF_SHAPE or all(self._has(tensor) for tensor in read)
        if is_known and self._compute(func, args, kwargs, made):
            return
        if func._schema.is_mutable:
            self._forget(args, kwargs, made)
        elif (place := CHOOSES.get(packet, len(made))) < len(made):
            self._choose(args[0], made[place], _dimension(func, args, kwargs))

    def _compute(
        self, func: Any, args: Sequence[Any], kwargs: Mapping[str, Any], made: Sequence[Tensor]
    ) -> bool:
        """Compute the values of a result; returns whether there are some."""
        if _is_arbitrary(func) or any(map(_is_large, made)):
            return False
        given = (_like(args[0]), *args[1:]) if func.overloadpacket in OF_SHAPE else args
        known = self.known((given, kwargs))
        if known is None:
            return False
        values, named = known
        try:
            computed = tensors_in(func(*values, **_on_cpu(named)))
        except Exception:  # not every operator supports every precision on the processor
            return False
        if not func._schema.is_mutable:
            for tensor, value in zip(made, computed, strict=True):
                self.note(tensor, value)
        return True

    def _choose(self, among: Tensor, chosen: Tensor, dim: int | None) -> None:
        """Spread the places that an operator chooses evenly over a dimension, or over all numbers."""
        even = torch.arange(chosen.numel(), device="cpu") % (
            among.numel() if dim is None else among.shape[dim]
        )
        if dim is None or chosen.dim() < among.dim():
            self.note(chosen, even.reshape(chosen.shape))
        else:
            self.note(chosen, even.reshape(chosen.movedim(dim, -1).shape).movedim(-1, dim))

    def known(self, value: Any) -> Any:
        """Arguments with values in place of tensors, or None where some are not known."""
        tensors = tensors_in(value)
        values = {id(tensor): known for tensor in tensors if (known := self.of(tensor)) is not None}
        if not all(id(tensor) in values for tensor in tensors):
            return None
        return map_tensors(value, lambda tensor: values[id(tensor)])

    def _forget(self, args: Sequence[Any], kwargs: Mapping[str, Any], made: Sequence[Tensor]) -> None:
        written = [*made, *tensors_in(args[:1]), *tensors_in(kwargs.get("out"))]
        for tensor in stored_in(written):
            self._drop(tensor.untyped_storage()._cdata)

    def _drop(self, storage: int) -> None:
        copy = self._copies.pop(storage, None)
        if copy is not None:
            self._bytes -= copy.numel() * copy.element_size()

    def note(self, tensor: Tensor, value: Tensor) -> None:
        """Note the values of a tensor, if that is small enough."""
        if tensor.layout is not torch.strided or not tensor.numel() or _is_large(tensor):
            return
        storage = tensor.untyped_storage()
        if self._bytes + storage.nbytes() > MOST_BYTES:
            gone = [key for key in self._copies if self._storages[key].expired()]  # type: ignore[no-untyped-call]
            for other in gone:
                self._drop(other)
        if self._bytes + storage.nbytes() > MOST_BYTES:
            return
        copy = torch.zeros(storage.nbytes() // tensor.element_size(), dtype=tensor.dtype, device="cpu")
        view = copy.as_strided(tensor.shape, tensor.stride(), tensor.storage_offset())
        view.copy_(value)
        self._drop(storage._cdata)
        self._copies[storage._cdata] = copy
        self._storages[storage._cdata] = StorageWeakRef(storage)  # type: ignore[no-untyped-call]
        self._bytes += copy.numel() * copy.element_size()


class Followed(TorchDispatchMode):  # type: ignore[no-untyped-call]
    """Follows the values of what runs, such as the making of a network."""

    def __init__(self, values: Values) -> None:
        super().__init__()  # type: ignore[no-untyped-call]
        self._values = values

    def __torch_dispatch__(
        self, func: Any, types: Any, args: tuple[Any, ...] = (), kwargs: dict[str, Any] | None = None
    ) -> Any:
        if func.overloadpacket is aten._local_scalar_dense:
            return self._values.number(args[0])
        return self._values.call(func, args, kwargs or {})


class Constants(TorchFunctionMode):
    """Tensors that a module makes from numbers, with their values."""

    def __init__(self, values: Values) -> None:
        super().__init__()
        self._values = values

    def __torch_function__(
        self, func: Callable[..., Any], types: Any, args: Sequence[Any] = (), kwargs: Any = None
    ) -> Any:
        kwargs = kwargs or {}
        if func is Tensor.__format__ and (value := self._values.of(args[0])) is not None:
            return format(value, *args[1:])
        if func not in (torch.tensor, torch.as_tensor) or kwargs.get("requires_grad"):
            return func(*args, **kwargs)
        known = self._values.known(args)
        if known is None:
            return func(*args, **kwargs)
        with _disable_current_modes():
            made = func(*known, **{**kwargs, "device": "cpu"})
            is_there = torch.device(kwargs.get("device") or "meta").type == "cpu"
            return made if is_there else self._values.hold(made)


def _dimension(func: Any, args: Sequence[Any], kwargs: Mapping[str, Any]) -> int | None:
    """Dimension in which an operator chooses; None where it chooses among all numbers."""
    place, argument = next(
        (
            (place, argument)
            for place, argument in enumerate(func._schema.arguments)
            if argument.name == "dim"
        ),
        (0, None),
    )
    if argument is None:
        return None
    dim = args[place] if place < len(args) else kwargs.get("dim", argument.default_value)
    return None if dim is None else int(dim)


def _is_on_cpu(tensors: Sequence[Tensor], kwargs: Mapping[str, Any]) -> bool:
    """Whether an operator runs on the processor, where tensors have values."""
    device = kwargs.get("device")
    if device is not None:
        return torch.device(device).type == "cpu"
    return bool(tensors) and all(tensor.device.type == "cpu" for tensor in tensors)


@contextmanager
def followed() -> Iterator[Values]:
    """Follow the values of tensors that are made on the meta device."""
    values = Values()
    with torch.device("meta"), Constants(values), Followed(values):
        yield values


def keep_buffers(module: nn.Module, values: Values) -> None:
    """Replace buffers whose values are known, such as positions, by tensors that have them."""
    kept: dict[int, Tensor] = {}  # by the buffer, which several parts may share
    for part in module.modules():
        for name, buffer in part._buffers.items():
            value = None if buffer is None else values.of(buffer)
            if value is not None:
                part._buffers[name] = kept.setdefault(id(buffer), value.clone())


def _is_large(tensor: Tensor) -> bool:
    """Whether a tensor is too large to have values."""
    is_whole = not (tensor.is_floating_point() or tensor.is_complex())
    return tensor.numel() > (LARGEST_WHOLE if is_whole else LARGEST)


def _is_arbitrary(func: Any) -> bool:
    """Whether an operator makes random numbers, or none."""
    return RANDOM in func.tags or func.overloadpacket in EMPTY


def _has_masks(args: Sequence[Any]) -> bool:
    return any(index.dtype in (torch.bool, torch.uint8) for index in tensors_in(args[1]))


def _on_cpu(kwargs: Mapping[str, Any]) -> dict[str, Any]:
    return {name: torch.device("cpu") if name == "device" else value for name, value in kwargs.items()}


def _like(tensor: Tensor) -> Tensor:
    return torch.empty_strided(tensor.shape, tensor.stride(), dtype=tensor.dtype, device="cpu")
