"""Operations that run as one, as serving runtimes and compilers have them."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from dataclasses import replace

from .trace import Cut, Operation, Trace, place


def fused(trace: Trace, cuts: Sequence[Cut]) -> Trace:
    """Have operations of a layer run as one: products of the same value, and all that is between products.

    Products of one value, such as queries, keys and values, are one of all their weights.  What runs between
    two products or attention, such as norms, rotations, activations and sums, reads what none of it makes
    and writes what others read: values in between stay in registers.  Where a layer has two products without
    weights, these are attention, of queries with keys and with values, and run as one with all between them.

    Parameters
    ----------
    trace
        Of a forward pass.
    cuts
        Where layers begin; no operation is of two layers.

    Returns
    -------
    Trace
        With the same operations, of which those that run as part of an earlier one take no time and make
        nothing.
    """
    operations = _joined_products(_joined_attention(trace, cuts), cuts)
    last = {value: index for index, operation in enumerate(operations) for value in operation.reads}
    sizes = {value: bytes_ for operation in operations for value, bytes_ in operation.writes}
    for run in _runs(operations, cuts):
        together = [operations[index] for index in run]
        own = {value for operation in together for value, _ in operation.writes}
        read = {value for operation in together for value in operation.reads} - own
        written = {value for value in own if last.get(value, len(operations)) > run[-1]}
        weights = {weight for operation in together for weight in operation.weights}
        bytes_ = sum(sizes.get(value, 0.0) for value in read | written)
        bytes_ += sum(trace.weights[weight].bytes for weight in weights)
        moved = sum(operation.bytes for operation in together)  # a table of which some rows are read has more
        _put_together(
            operations,
            run,
            operations[run[0]]._replace(
                flops=sum(operation.flops for operation in together),
                bytes=min(bytes_, moved),
                reads=tuple(sorted(read)),
                writes=tuple((value, sizes[value]) for value in sorted(written)),
                weights=tuple(sorted(weights)),
            ),
        )
    return replace(trace, operations=operations)


def _put_together(operations: list[Operation], run: Sequence[int], one: Operation) -> None:
    """Put one operation in the place of the first of several; the others keep their weights alone."""
    for index in run:
        operations[index] = operations[index]._replace(flops=0.0, bytes=0.0, reads=(), writes=())
    operations[run[0]] = one


def _joined_attention(trace: Trace, cuts: Sequence[Cut]) -> list[Operation]:
    """Put the operations of attention together, of layers that have it in several; masks are not read."""
    operations = list(trace.operations)
    last = {value: index for index, operation in enumerate(operations) for value in operation.reads}
    made = trace.made_with_weights()
    alone: dict[int, list[int]] = {}
    for index, operation in enumerate(operations):
        if operation.product and not operation.weights:
            alone.setdefault(place(cuts, index), []).append(index)
    for products in alone.values():
        if len(products) != 2 or any(operations[index].kind for index in products):
            continue
        run = range(products[0], products[1] + 1)
        together = [operations[index] for index in run]
        own = {value for operation in together for value, _ in operation.writes}
        read = {value for operation in together for value in operation.reads if value in made} - own
        written = {value for value in own if last.get(value, len(operations)) > run[-1]}
        one = Operation(
            flops=sum(operations[index].flops for index in products),
            bytes=sum(made[value][1] for value in read | written),
            reads=tuple(sorted(read)),
            writes=tuple((value, made[value][1]) for value in sorted(written)),
            weights=tuple({weight for operation in together for weight in operation.weights}),
            kind="attention",
            product=True,
        )
        _put_together(operations, run, one)
    return operations


def _joined_products(operations: Sequence[Operation], cuts: Sequence[Cut]) -> list[Operation]:
    """Put products of the same value together in the first of them."""
    joined = list(operations)
    first: dict[tuple[int, tuple[int, ...]], int] = {}
    sizes = {value: bytes_ for operation in operations for value, bytes_ in operation.writes}
    for index, operation in enumerate(operations):
        if not operation.product or not operation.weights or not operation.reads:
            continue
        earlier = first.setdefault((place(cuts, index), operation.reads), index)
        if earlier != index:
            again = sum(sizes.get(value, 0.0) for value in operation.reads)
            one = joined[earlier]
            joined[earlier] = one._replace(
                flops=one.flops + operation.flops,
                bytes=one.bytes + operation.bytes - again,
                weights=(*one.weights, *operation.weights),
            )
            joined[index] = operation._replace(flops=0.0, bytes=0.0, reads=())
    return joined


def _takes_time(operation: Operation) -> bool:
    return operation.flops > 0 or operation.bytes > 0


def _runs(operations: Sequence[Operation], cuts: Sequence[Cut]) -> Iterator[list[int]]:
    """Yield the operations between products that take time, by index."""
    run: list[int] = []
    for index, operation in enumerate(operations):
        if not _takes_time(operation):
            continue
        if run and (operation.product or place(cuts, index) != place(cuts, run[0])):
            yield run
            run = []
        if not operation.product:
            run.append(index)
    if run:
        yield run
