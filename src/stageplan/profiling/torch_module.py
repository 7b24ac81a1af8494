"""A pass of a torch module on the meta device, where tensors need no memory, and few have values.

The module itself is left alone: its twin runs.
"""

from __future__ import annotations

import re
import sys
from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from contextlib import ExitStack, contextmanager
from functools import partial
from itertools import chain
from math import inf
from typing import Any, NamedTuple, Protocol

import torch
from torch import Tensor, nn
from torch.multiprocessing.reductions import StorageWeakRef
from torch.nn import functional
from torch.utils._python_dispatch import TorchDispatchMode

from ..errors import InputError
from ..fields import first_line
from .calls import Call
from .tensors import stored_in, tensors_in, to_meta
from .torch_flops import flops, is_each, is_product, kind_of, passes
from .trace import Kernel, Operation, Reduce, Trace, Weight
from .twin import make_twin
from .values import Constants, Values

aten = torch.ops.aten

# Types of the numbers that quantised weights are stored as, several to one, or scaled; they are buffers.
QUANTISED = {torch.int8, torch.uint8, torch.int16, torch.int32, torch.float8_e4m3fn, torch.float8_e5m2}
GATHERS = {aten.embedding, aten.index, aten.index_select, aten.gather}  # read what they write, not all
FREE = {aten._unsafe_view, aten.empty, aten.empty_like, aten.empty_strided, aten.new_empty}
NOTHING = Operation(0.0, 0.0, (), (), ())


class TooLongError(Exception):
    """A pass has more operations than it may have."""


class Note(Protocol):
    """Function that notes an all-reduce."""

    def __call__(self, tensor: Tensor, fraction: float = 1.0, *, backward: bool = False) -> None:
        """Note that a fraction of a tensor's bytes moves, or of those of its gradient."""


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
    advice: str = "",
    divide: Callable[[nn.Module, Note], None] | None = None,
    most: float = inf,
) -> Traced:
    """Record a forward pass of a module on the meta device, and a backward pass where it trains.

    Parameters
    ----------
    module
        Stays as it is.
    args, kwargs
        Of its forward; a batch of examples.  What follows from the values of small tensors in them, such as
        masks, counts; else only their shapes do.
    dtype
        Of the floating-point weights and inputs.
    train
        Whether it trains, or infers.
    advice
        What the error says in addition where it cannot run.
    divide
        Makes a copy of the module the part of one of several devices, which notes its all-reduces.
    most
        Operations of the forward pass.

    Returns
    -------
    Traced

    Raises
    ------
    TooLongError
        The forward pass has more operations than `most`.
    ValueError
        The module cannot be copied, or cannot run on the meta device, as where values decide what it does.
    """
    twin = make_twin(module, dtype)
    if divide is not None:

        def note(tensor: Tensor, fraction: float = 1.0, *, backward: bool = False) -> None:
            recorder.note_reduce(tensor, fraction, backward)

        divide(twin, note)
    try:
        with ExitStack() as stack:
            eager = _compiled_modules_run_eagerly()
            grad = torch.set_grad_enabled(train)
            values = Values()
            for context in (_separate_operations(), eager, torch.device("meta"), Constants(values), grad):
                stack.enter_context(context)
            recorder = _Recorder(twin.train(train), stack, values, most)
            values.note_buffers(twin, module)
            with recorder, torch.autograd.graph.saved_tensors_hooks(recorder.pack, recorder.unpack):
                outputs = recorder.run(twin, *values.given((tuple(args), dict(kwargs)), dtype))
                if train:
                    recorder.keep(outputs)
                    recorder.begin_backward()
                    run_backward(outputs)
    except TooLongError:
        raise
    except Exception as error:  # whatever the module does
        name, reason = type(module).__name__, first_line(error)
        raise InputError(
            f"module {name} cannot run without values, on the meta device: {reason} "
            f"(called with {_described(args, kwargs)}){advice}"
        ) from error
    return Traced(recorder.trace, recorder.calls)


def _described(args: Sequence[Any], kwargs: Mapping[str, Any]) -> str:
    """Names and shapes of the tensors in arguments."""
    named = [("", tensor) for tensor in tensors_in(args)]
    named += [(f"{name} ", tensor) for name, value in kwargs.items() for tensor in tensors_in(value)]
    return ", ".join(f"{name}{'x'.join(map(str, tensor.shape))}" for name, tensor in named) or "no tensors"


@contextmanager
def _separate_operations() -> Iterator[None]:
    """Keep torch from running a whole block as one operation, and have attention and dropout each be one."""
    fast = torch.backends.mha.get_fastpath_enabled()
    attention, dropout = functional.scaled_dot_product_attention, functional.dropout
    torch.backends.mha.set_fastpath_enabled(False)
    functional.scaled_dot_product_attention, functional.dropout = _attention, _dropout
    try:
        yield
    finally:
        functional.scaled_dot_product_attention, functional.dropout = attention, dropout
        torch.backends.mha.set_fastpath_enabled(fast)


@contextmanager
def _compiled_modules_run_eagerly() -> Iterator[None]:
    """Keep compiled modules from compiling the recorder too; the compiler is not imported for others."""
    if "torch._dynamo" not in sys.modules:
        yield
        return
    with torch.compiler.set_stance("force_eager"):
        yield


def run_backward(outputs: Any) -> None:
    """Run the backward pass of the outputs of a module: of its loss, or else of all outputs."""
    loss = getattr(outputs, "loss", None)
    ends = [end for end in tensors_in(outputs if loss is None else loss) if end.requires_grad]
    if not ends:
        raise InputError("none of its outputs depends on weights that train")
    torch.autograd.backward(ends, [torch.ones_like(end) for end in ends])


# Recording ----------------------------------------------------------------------------------------------


class _Recorder(TorchDispatchMode):  # type: ignore[no-untyped-call]
    """Records every operation, and every call of a module."""

    @classmethod
    def _should_skip_dynamo(cls) -> bool:
        """Spare the import of the compiler, which is not used and takes seconds."""
        return False

    def __init__(self, module: nn.Module, stack: ExitStack, values: Values, most: float) -> None:
        super().__init__()  # type: ignore[no-untyped-call]
        self._known = values
        self._most = most
        self.trace = Trace()
        self.calls: list[Call] = []
        self._open: list[int] = []  # calls that have not returned
        self._backward_of: int | None = None  # the operation whose backward pass runs
        self._values: dict[int, int] = {}  # storage -> the value that it holds
        self._answers: dict[int, bool] = {}  # storage -> assumed result of the test in it
        self._random: set[int] = set()  # storages of random numbers
        self._counted: dict[int, int] = {}  # storage of a sum -> how many values it is of
        self._choices: dict[int, int] = {}  # how many largest values were chosen -> of each row
        self._kept: dict[int, StorageWeakRef] = {}  # storages, so that no address is used twice
        self._weights: dict[int, int] = {}  # storage -> weight
        self._buffers: set[int] = set()  # storages of the other buffers
        self._first: dict[str, int] = {}  # path of a module -> its first call
        self._next_value = 0
        self._reduced: set[int] = set()  # storages whose gradients are all-reduced
        for name, tensor in chain(module.named_parameters(), module.named_buffers()):
            self._note_held(name, tensor)
        for handle in self._watch(module):  # a module may be its own copy, and keep its hooks
            stack.callback(handle.remove)

    def _storage(self, tensor: Tensor) -> int:
        storage = tensor.untyped_storage()
        address = int(storage._cdata)
        if address not in self._kept:
            self._kept[address] = StorageWeakRef(storage)  # type: ignore[no-untyped-call]
        return address

    def _note_held(self, name: str, tensor: Tensor) -> None:
        """Note a parameter, or a buffer, which holds weights where they are quantised."""
        storage = self._storage(tensor)
        if isinstance(tensor, nn.Parameter) or (tensor.dtype in QUANTISED and tensor.dim() > 1):
            number = self._weights.setdefault(storage, len(self._weights))
            self.trace.weights.setdefault(number, Weight(name, _bytes(tensor), tensor.requires_grad))
        elif storage not in self._buffers:
            self._buffers.add(storage)
            self.trace.buffers[name] = _bytes(tensor)

    def run(self, module: nn.Module, args: tuple[Any, ...], kwargs: dict[str, Any]) -> Any:
        """Call the module itself, which may override ``__call__``, without hooks."""
        self._enter("", None)(module, args)
        outputs = module(*args, **kwargs)
        self._leave("", module, args, outputs)
        return outputs

    def _watch(self, module: nn.Module) -> Iterator[Any]:
        for path, part in module.named_modules():
            if not path:
                continue
            yield part.register_forward_pre_hook(self._enter(path, _list_of(module, path)))
            yield part.register_forward_hook(partial(self._leave, path), always_call=True)

    def _enter(self, path: str, list_: str | None) -> Callable[..., None]:
        def enter(part: nn.Module, _: Any) -> None:
            if self._backward_of is not None:  # checkpointing: it runs again for its backward pass
                self._backward_of = self.calls[self._first[path]].start
                return
            held = {
                self._weights[storage]: tensor.numel()
                for tensor in chain(part.parameters(), part.buffers())
                if (storage := self._storage(tensor)) in self._weights
            }
            call = Call(
                path=path,
                kind=type(part).__name__,
                parent=self._open[-1] if self._open else None,
                list=list_,
                start=len(self.trace.operations),
                weights=tuple(held),
                size=sum(held.values()),
                embeds=any(isinstance(child, (nn.Embedding, nn.EmbeddingBag)) for child in part.modules()),
            )
            self._first.setdefault(path, len(self.calls))
            self._open.append(len(self.calls))
            self.calls.append(call)
            self.trace.operations.append(NOTHING)  # receives what its first operation keeps

        return enter

    def _leave(self, path: str, part: nn.Module, inputs: Any, outputs: Any) -> None:
        if self._backward_of is None:
            call = self._open.pop()
            self.calls[call] = self.calls[call]._replace(end=len(self.trace.operations))
        else:
            call = self._first[path]
        for tensor in tensors_in(outputs):
            if tensor.requires_grad:
                tensor.register_hook(partial(self._begin_backward_of, self.calls[call].end - 1))  # type: ignore[no-untyped-call]

    def _begin_backward_of(self, operation: int, _: Tensor) -> None:
        """Note that the gradient of a call's output is there: the backward of its last operation is next."""
        self._backward_of = operation

    def begin_backward(self) -> None:
        """Note that the forward pass is over; the last operation's backward is the first."""
        self._backward_of = len(self.trace.operations) - 1

    def pack(self, tensor: Tensor) -> tuple[int, Tensor]:
        """Note what an operation keeps for its backward pass, except weights, which are resident anyway.

        Inputs are kept before the operation is recorded, and noted at the one before it, of the same call.
        """
        if self._backward_of is not None:  # checkpointing: kept for a moment
            return self._backward_of, tensor
        operation, storage = len(self.trace.operations) - 1, self._storage(tensor)
        if storage not in self._weights and storage not in self._buffers:
            self.trace.saved[operation, storage] = float(tensor.untyped_storage().nbytes())
        return operation, tensor

    def keep(self, outputs: Any) -> None:
        """Note that the outputs of the module are kept: their loss reads them, and its backward pass."""
        kept = [tensor for tensor in tensors_in(outputs) if tensor.requires_grad]
        for tensor in kept:
            self.pack(tensor)
        made = self.trace.made_with_weights()
        stored = {storage for _, storage in self.trace.saved}
        self.trace.values = {storage: self._values[storage] for storage in stored & self._values.keys()}
        self.trace.always = {storage for storage in stored if self._values.get(storage) not in made} | {
            self._storage(tensor) for tensor in kept
        }

    def note_reduce(self, tensor: Tensor, fraction: float, backward: bool) -> None:
        """Note an all-reduce; gradients of one tensor from several products are added up first."""
        bytes_ = fraction * _bytes(tensor)
        if self._backward_of is not None:  # checkpointing: it runs again
            if not backward:
                self.trace.reduces.append(Reduce(self._backward_of, bytes_, True))
            return
        if backward:
            storage = self._storage(tensor)
            if not tensor.requires_grad or storage in self._reduced:
                return
            self._reduced.add(storage)
        self.trace.reduces.append(Reduce(len(self.trace.operations) - 1, bytes_, backward))

    def unpack(self, packed: tuple[int, Tensor]) -> Tensor:
        """Note whose backward runs: it reads what its forward has kept."""
        self._backward_of, tensor = packed
        return tensor

    def __torch_dispatch__(
        self, func: Any, types: Any, args: tuple[Any, ...] = (), kwargs: dict[str, Any] | None = None
    ) -> Any:
        kwargs = kwargs or {}
        packet = func.overloadpacket
        if packet is aten._local_scalar_dense:
            return self._answer(args[0])
        call = _grouped_product if packet is aten._grouped_mm else self._known.call
        result = call(func, args, kwargs)
        inputs, outputs = stored_in((args, kwargs)), stored_in(result)
        self._note_question(packet, args, outputs)
        read = {self._storage(tensor): tensor for tensor in inputs}
        written = {self._storage(tensor): tensor for tensor in outputs}
        if not func._schema.is_mutable:  # then an output in the place of an input is a view of it
            written = {storage: tensor for storage, tensor in written.items() if storage not in read}
        moved = 0.0
        if written and packet not in FREE:
            moved = _moved(packet, inputs, written.values(), passes(func, args, kwargs))
            moved -= self._untouched(packet, args)
        count, known = flops(func, args, kwargs, result)
        if not known:
            self.trace.note_uncounted(str(packet), moved)
        self._record(Kernel(count, moved, kind_of(func)), read, written, func)
        return result

    def _note_question(self, packet: Any, args: tuple[Any, ...], outputs: list[Tensor]) -> None:
        """Note the assumed result of a test of all values: masks are all true, and no value is invalid."""
        if packet is aten.sum:
            self._counted[self._storage(outputs[0])] = args[0].numel()
        elif packet is aten.topk:
            self._choices[outputs[0].numel()] = outputs[0].shape[-1]
        elif packet is aten.rand:
            self._random.add(self._storage(outputs[0]))
        elif packet in (aten.all, aten._is_all_true):
            self._answers[self._storage(outputs[0])] = True
        elif packet in (aten.any, aten._is_any_true):
            self._answers[self._storage(outputs[0])] = False
        elif (
            packet is aten.eq
            and type(args[1]) is int
            and self._counted.get(self._storage(args[0])) == args[1]
        ):
            self._answers[self._storage(outputs[0])] = True
        elif packet is aten.lt and self._storage(args[0]) in self._random:  # random dropping
            self._answers[self._storage(outputs[0])] = False

    def _answer(self, question: Tensor) -> Any:
        answer = self._answers.get(self._storage(question))
        if answer is None or self._known.of(question) is not None:
            return self._known.number(question)
        return answer

    def _untouched(self, packet: Any, args: tuple[Any, ...]) -> float:
        """Bytes of the matrices of a grouped product that no row is for, as of experts without a token."""
        if packet is not aten._grouped_mm or args[1].dim() < 3:
            return 0.0
        rows, experts = int(args[0].shape[-2]), int(args[1].shape[0])
        touched = experts_touched(experts, rows, self._choices.get(rows, 1))
        return _bytes(args[1]) * (1 - touched / experts)

    def _record(self, kernel: Kernel, read: Iterable[int], written: Mapping[int, Tensor], func: Any) -> None:
        if self._backward_of is not None:
            if kernel.flops or kernel.bytes:
                self.trace.backward.append((self._backward_of, kernel))
            return
        if len(self.trace.operations) >= self._most:
            raise TooLongError
        reads = tuple(self._values[storage] for storage in read if storage in self._values)
        weights = tuple(self._weights[storage] for storage in read if storage in self._weights)
        writes = tuple((self._new_value(storage), _bytes(tensor)) for storage, tensor in written.items())
        self.trace.operations.append(
            Operation(
                kernel.flops,
                kernel.bytes,
                reads,
                writes,
                weights,
                kernel.kind,
                is_each(func),
                is_product(func),
            )
        )

    def _new_value(self, storage: int) -> int:
        self._values[storage] = self._next_value
        self._next_value += 1
        return self._values[storage]


def _list_of(module: nn.Module, path: str) -> str | None:
    """Path of the list that a part is an item of, if any; attributes as block0, block1 are a list too."""
    parent = path.rpartition(".")[0]
    if isinstance(module.get_submodule(parent), (nn.ModuleList, nn.ModuleDict, nn.Sequential)):
        return parent
    has_parts = any(True for _ in module.get_submodule(path).children())
    numbered = re.fullmatch(r"(.*[^\d._])[._]?\d+", path)
    return numbered[1] if has_parts and numbered else None


def _bytes(tensor: Tensor) -> float:
    """Bytes that hold a tensor; a broadcast one has fewer than elements."""
    return float(min(tensor.numel() * tensor.element_size(), tensor.untyped_storage().nbytes()))


def _moved(packet: Any, inputs: Iterable[Tensor], outputs: Iterable[Tensor], passes: int) -> float:
    """Bytes that an operation reads, in a number of passes, and writes."""
    written = sum(map(_bytes, outputs))
    if packet in GATHERS:
        return 2 * written
    return written + passes * sum(map(_bytes, {id(tensor): tensor for tensor in inputs}.values()))


def experts_touched(experts: int, rows: int, each: int) -> float:
    """Count the experts that are expected to have a token, where routing is uniform.

    Each token goes to `each` different experts, all of them equally likely and independently of other tokens,
    so that an expert is without any with probability ``(1 - each / experts) ** tokens``.

    Parameters
    ----------
    experts
        All experts of a layer.
    rows
        Tokens, counted once for each of their experts.
    each
        Experts of a token.
    """
    return float(experts * (1 - (1 - each / experts) ** (rows / each)))


def _grouped_product(func: Any, args: tuple[Any, ...], kwargs: Mapping[str, Any]) -> Tensor:
    """Multiply groups of rows by a matrix each, in any precision: the meta device supports only bf16."""
    result: Tensor = func(*to_meta(args, torch.bfloat16), **kwargs)
    return result.to(args[0].dtype)


def _dropout(input: Tensor, p: float = 0.5, training: bool = True, inplace: bool = False) -> Tensor:
    """Drop out as `functional.dropout` does on devices: in one operation, which keeps a mask of 8 bits."""
    if not training or p == 0:
        return input
    result: Tensor = torch.native_dropout(input, p, True)[0]
    return result


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
    if query.dim() > 4:  # the operation has one dimension of examples
        shape = query.shape[:-1]
        if attn_mask is not None:
            attn_mask = attn_mask.expand(*shape, key.shape[-2]).flatten(0, -4)
        query, key, value = (
            tensor.expand(*shape[:-2], *tensor.shape[-3:-1], -1).flatten(0, -4)
            for tensor in (query, key, value)
        )
        found = _attention(query, key, value, attn_mask, dropout_p, is_causal, scale)
        return found.reshape(*shape[:-2], *found.shape[1:])
    bias = None
    if attn_mask is not None and attn_mask.is_floating_point():
        bias = attn_mask.expand(*query.shape[:-1], key.shape[-2])
    result: Tensor = aten._scaled_dot_product_efficient_attention(
        query, key, value, bias, torch.is_grad_enabled(), dropout_p, is_causal, scale=scale
    )[0]
    return result
