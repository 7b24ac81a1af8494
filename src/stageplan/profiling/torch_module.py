"""A pass of a torch module on the meta device, where tensors have no values, and need no memory.

The module itself is left alone: a twin of it runs, whose weights are on the meta device.
"""

from __future__ import annotations

import copy
from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from contextlib import ExitStack
from typing import Any, NamedTuple
from unittest.mock import patch

import torch
from torch import Tensor, nn
from torch.nn import functional
from torch.utils._python_dispatch import TorchDispatchMode
from torch.utils.flop_counter import flop_registry

from ..fields import first_line
from .calls import Call
from .trace import Operation, Trace, Weight

aten = torch.ops.aten

GATHERS = {aten.embedding, aten.index, aten.index_select, aten.gather}  # read what they write, not all
FREE = {aten._unsafe_view, aten.empty, aten.empty_like, aten.empty_strided, aten.new_empty}
NOTHING = Operation(0.0, 0.0, (), (), ())


class Traced(NamedTuple):
    """A pass of a module: its operations, and the calls of modules that they were in."""

    trace: Trace
    calls: list[Call]


def trace(
    module: nn.Module,
    args: Sequence[Any],
    kwargs: Mapping[str, Any],
    *,
    dtype: torch.dtype,
    train: bool,
) -> Traced:
    """Record a forward pass of a module on the meta device, and a backward pass where it trains.

    Parameters
    ----------
    module
        Stays as it is.
    args, kwargs
        Of its forward; a batch of examples.  Only the shapes of tensors count.
    dtype
        Of the floating-point weights and inputs.
    train
        Whether it trains, or infers.

    Returns
    -------
    Traced

    Raises
    ------
    ValueError
        The module cannot run on the meta device, as where values decide what it does.
    """
    twin = _twin(module, dtype).train(train)
    args, kwargs = to_meta(tuple(args), dtype), to_meta(dict(kwargs), dtype)
    recorder = _Recorder(twin)
    fast = torch.backends.mha.get_fastpath_enabled()
    torch.backends.mha.set_fastpath_enabled(False)  # it hides the operations in one
    try:
        with ExitStack() as stack:
            stack.enter_context(torch.device("meta"))
            stack.enter_context(torch.set_grad_enabled(train))
            stack.enter_context(patch.object(functional, "scaled_dot_product_attention", _attention))
            with recorder, torch.autograd.graph.saved_tensors_hooks(recorder.pack, recorder.unpack):
                outputs = twin(*args, **kwargs)
                if train:
                    recorder.begin_backward()
                    run_backward(outputs)
    except Exception as error:  # whatever the module does
        name, reason = type(module).__name__, first_line(error)
        raise ValueError(f"module {name} cannot run without values, on the meta device: {reason}") from error
    finally:
        torch.backends.mha.set_fastpath_enabled(fast)
        recorder.remove()
    return Traced(recorder.trace, recorder.calls)


def run_backward(outputs: Any) -> None:
    """Run the backward pass of what a module gives: of its loss, or else of all outputs alike."""
    loss = getattr(outputs, "loss", None)
    ends = [end for end in tensors_in(outputs if loss is None else loss) if end.requires_grad]
    if not ends:
        raise ValueError("none of its outputs depends on weights that train")
    torch.autograd.backward(ends, [torch.ones_like(end) for end in ends])


def tensors_in(value: Any) -> Iterator[Tensor]:
    """Tensors in a value and in the lists, tuples and tables in it."""
    if isinstance(value, Tensor):
        yield value
    elif isinstance(value, dict):
        for item in value.values():
            yield from tensors_in(item)
    elif isinstance(value, (list, tuple)):
        for item in value:
            yield from tensors_in(item)


def to_meta(value: Any, dtype: torch.dtype) -> Any:
    """Put the tensors in a value on the meta device, floating-point ones in `dtype`."""

    def move(tensor: Tensor) -> Tensor:
        return torch.empty_like(tensor, device="meta", dtype=dtype if tensor.is_floating_point() else None)

    return map_tensors(value, move)


def map_tensors(value: Any, function: Callable[[Tensor], Tensor]) -> Any:
    """Change the tensors in a value and in the lists, tuples and tables in it."""
    if isinstance(value, Tensor):
        return function(value)
    if isinstance(value, dict):
        return {key: map_tensors(item, function) for key, item in value.items()}
    if type(value) in (list, tuple):
        return type(value)(map_tensors(item, function) for item in value)
    return value


def on_device_of(module: nn.Module, value: Any) -> Any:
    """Put the tensors in a value where a module's weights are, floating-point ones in their precision."""
    weight = next(module.parameters(), torch.empty(0))

    def move(tensor: Tensor) -> Tensor:
        return tensor.to(weight.device, weight.dtype if tensor.is_floating_point() else tensor.dtype)

    return map_tensors(value, move)


def _twin(module: nn.Module, dtype: torch.dtype) -> nn.Module:
    """Copy a module without its values."""
    memo: dict[int, Any] = {}
    try:
        for part in module.modules():
            for held in (part._parameters, part._buffers, vars(part)):
                for tensor in held.values():
                    if isinstance(tensor, Tensor):
                        memo[id(tensor)] = _empty(tensor, dtype)
        return copy.deepcopy(module, memo)
    except Exception as error:  # of an attribute that has no copy, or of a parameter without a size
        raise ValueError(f"the module cannot be copied: {first_line(error)}") from error


def _empty(tensor: Tensor, dtype: torch.dtype) -> Tensor:
    with torch.no_grad():
        twin = to_meta(tensor.detach(), dtype)
    return nn.Parameter(twin, tensor.requires_grad) if isinstance(tensor, nn.Parameter) else twin


# Recording ----------------------------------------------------------------------------------------------


class _Recorder(TorchDispatchMode):  # type: ignore[no-untyped-call]
    """Records every operation, and every call of a module."""

    @classmethod
    def _should_skip_dynamo(cls) -> bool:
        """Spare the import of the compiler, which is not used and takes seconds."""
        return False

    def __init__(self, module: nn.Module) -> None:
        super().__init__()  # type: ignore[no-untyped-call]
        self.trace = Trace()
        self.calls: list[Call] = []
        self._open: list[int] = []  # calls that have not returned
        self._backward_of: int | None = None  # the operation whose backward pass runs
        self._values: dict[int, int] = {}  # storage -> the value that it holds
        self._answers: dict[int, bool] = {}  # storage -> what the question in it is taken to answer
        self._random: set[int] = set()  # storages of random numbers
        self._counted: dict[int, int] = {}  # storage of a sum -> how many values it is of
        self._kept: dict[int, Any] = {}  # storages, kept so that none takes the place of another
        self._weights: dict[int, int] = {}  # storage -> weight
        self._next_value = 0
        for name, weight in module.named_parameters():
            number = self._weights.setdefault(self._storage(weight), len(self._weights))
            self.trace.weights.setdefault(number, Weight(name, _bytes(weight), weight.requires_grad))
        self._handles = list(self._watch(module))

    def _storage(self, tensor: Tensor) -> int:
        storage = tensor.untyped_storage()
        self._kept.setdefault(storage._cdata, storage)
        return int(storage._cdata)

    def _watch(self, module: nn.Module) -> Iterator[Any]:
        for path, part in module.named_modules():
            yield part.register_forward_pre_hook(self._enter(path, _list_of(module, path)))
            yield part.register_forward_hook(self._leave, always_call=True)

    def _enter(self, path: str, list_: str | None) -> Callable[..., None]:
        def enter(part: nn.Module, _: Any) -> None:
            weights = list(part.parameters())
            call = Call(
                path=path,
                kind=type(part).__name__,
                parent=self._open[-1] if self._open else None,
                list=list_,
                start=len(self.trace.operations),
                weights=tuple({self._weights[self._storage(weight)]: None for weight in weights}),
                size=sum(weight.numel() for weight in weights),
                embeds=any(isinstance(child, (nn.Embedding, nn.EmbeddingBag)) for child in part.modules()),
            )
            self._open.append(len(self.calls))
            self.calls.append(call)
            self.trace.operations.append(NOTHING)  # which what its first operation keeps is noted at

        return enter

    def _leave(self, *_: Any) -> None:
        call = self._open.pop()
        self.calls[call] = self.calls[call]._replace(end=len(self.trace.operations))

    def remove(self) -> None:
        """Take the hooks away."""
        for handle in self._handles:
            handle.remove()

    def begin_backward(self) -> None:
        """Note that the forward pass is over; the last operation's backward is the first."""
        self._backward_of = len(self.trace.operations) - 1

    def pack(self, tensor: Tensor) -> tuple[int, Tensor]:
        """Note what an operation keeps for its backward pass, but for weights, which are there anyway.

        Inputs are kept before the operation is recorded, and noted at the one before it, of the same call.
        """
        operation, storage = len(self.trace.operations) - 1, self._storage(tensor)
        if storage not in self._weights:
            self.trace.saved[operation, storage] = float(tensor.untyped_storage().nbytes())
        return operation, tensor

    def unpack(self, packed: tuple[int, Tensor]) -> Tensor:
        """Note whose backward runs: it asks for what its forward has kept."""
        self._backward_of, tensor = packed
        return tensor

    def __torch_dispatch__(
        self, func: Any, types: Any, args: tuple[Any, ...] = (), kwargs: dict[str, Any] | None = None
    ) -> Any:
        kwargs = kwargs or {}
        packet = func.overloadpacket
        if packet is aten._local_scalar_dense:
            return self._answer(args[0])
        result = _grouped_product(func, args, kwargs) if packet is aten._grouped_mm else func(*args, **kwargs)
        inputs, outputs = [*tensors_in(args), *tensors_in(kwargs)], list(tensors_in(result))
        self._note_question(packet, args, outputs)
        read = {self._storage(tensor): tensor for tensor in inputs}
        written = {self._storage(tensor): tensor for tensor in outputs}
        if not func._schema.is_mutable:  # then an output in the place of an input is a view of it
            written = {storage: tensor for storage, tensor in written.items() if storage not in read}
        moved = _moved(packet, inputs, written.values()) if written and packet not in FREE else 0.0
        self._record(_flops(packet, args, kwargs, result), moved, read, written)
        return result

    def _note_question(self, packet: Any, args: tuple[Any, ...], outputs: list[Tensor]) -> None:
        """Note what a question about all values is taken to answer: masks hold everywhere, nothing is bad."""
        about = self._storage(args[0]) if args and isinstance(args[0], Tensor) else 0
        if packet is aten.sum:
            self._counted[self._storage(outputs[0])] = args[0].numel()
        elif packet is aten.rand:
            self._random.add(self._storage(outputs[0]))
        elif packet is aten.all or (packet is aten.eq and about in self._counted):
            if packet is aten.all or args[1] == self._counted[about]:
                self._answers[self._storage(outputs[0])] = True
        elif packet is aten.any or (packet is aten.lt and about in self._random):  # dropped now and then
            self._answers[self._storage(outputs[0])] = False

    def _answer(self, question: Tensor) -> bool:
        answer = self._answers.get(self._storage(question))
        if answer is None:
            raise ValueError("what it does depends on the values of a tensor")
        return answer

    def _record(self, flops: float, moved: float, read: Iterable[int], written: Mapping[int, Tensor]) -> None:
        if self._backward_of is not None:
            if flops or moved:
                self.trace.backward.append((self._backward_of, flops, moved))
            return
        reads = tuple(self._values[storage] for storage in read if storage in self._values)
        weights = tuple(self._weights[storage] for storage in read if storage in self._weights)
        writes = tuple((self._new_value(storage), _bytes(tensor)) for storage, tensor in written.items())
        self.trace.operations.append(Operation(flops, moved, reads, writes, weights))

    def _new_value(self, storage: int) -> int:
        self._values[storage] = self._next_value
        self._next_value += 1
        return self._values[storage]


def _list_of(module: nn.Module, path: str) -> str | None:
    """Path of the list that a module is an item of, if any."""
    parent = path.rpartition(".")[0]
    is_list = path and isinstance(module.get_submodule(parent), (nn.ModuleList, nn.Sequential))
    return parent if is_list else None


def _bytes(tensor: Tensor) -> float:
    """Bytes that hold a tensor; a broadcast one has fewer than elements."""
    return float(min(tensor.numel() * tensor.element_size(), tensor.untyped_storage().nbytes()))


def _moved(packet: Any, inputs: Iterable[Tensor], outputs: Iterable[Tensor]) -> float:
    """Bytes that an operation reads and writes."""
    written = sum(map(_bytes, outputs))
    if packet in GATHERS:
        return 2 * written
    return written + sum(map(_bytes, {id(tensor): tensor for tensor in inputs}.values()))


def _flops(packet: Any, args: Any, kwargs: Any, result: Any) -> float:
    if packet is aten._grouped_mm:  # each row of the one with its own matrix of the other
        left, right = args[0].shape, args[1].shape
        times: float = left[0] if len(left) == len(right) == 3 else 1
        return 2 * times * float(left[-2] * left[-1] * right[-1])
    formula = flop_registry.get(packet)
    return 0.0 if formula is None else float(formula(*args, **kwargs, out_val=result))


def _grouped_product(func: Any, args: tuple[Any, ...], kwargs: Mapping[str, Any]) -> Tensor:
    """Multiply groups of rows by a matrix each, in any precision: the meta device only does in bf16."""
    result: Tensor = func(*to_meta(args, torch.bfloat16), **kwargs)
    return result.to(args[0].dtype)


def _attention(
    query: Tensor,
    key: Tensor,
    value: Tensor,
    attn_mask: Tensor | None = None,
    dropout_p: float = 0.0,
    is_causal: bool = False,
    scale: float | None = None,
    enable_gqa: bool = False,
) -> Tensor:
    """Attend as `functional.scaled_dot_product_attention` does, in the one operation of devices for it.

    On the meta device it would come apart into several, with a table of all pairs of tokens between them.
    """
    if query.dim() < 4:
        query, key, value = (tensor.unsqueeze(0) for tensor in (query, key, value))
        return _attention(query, key, value, attn_mask, dropout_p, is_causal, scale, enable_gqa)[0]
    if enable_gqa:
        groups = query.shape[-3] // key.shape[-3]
        key, value = (tensor.repeat_interleave(groups, -3) for tensor in (key, value))
    bias = None
    if attn_mask is not None and attn_mask.is_floating_point():
        bias = attn_mask.expand(*query.shape[:-1], key.shape[-2])
    result: Tensor = aten._scaled_dot_product_efficient_attention(
        query, key, value, bias, torch.is_grad_enabled(), dropout_p, is_causal, scale=scale
    )[0]
    return result
