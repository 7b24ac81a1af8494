"""Nodes of an ONNX graph: their names, operators and attributes."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import onnx

from ..errors import InputError
from ..fields import show

Shape = tuple[int, ...]
ShapeOf = Callable[[str], Shape]  # of a value; UnknownShapeError where it is not known

MICROSOFT = "com.microsoft"  # operators of ONNX Runtime


class UnknownShapeError(InputError):
    """The shape of a value is not known."""


def unfit(node: Any) -> str:
    """Say that a node does not match its operator's definition."""
    return (
        f"node {show(node_name(node))} does not have the inputs, outputs or attributes of {qualified(node)}"
    )


def attribute(node: Any, name: str, default: Any) -> Any:
    """Value of a node's attribute."""
    found = (onnx.helper.get_attribute_value(item) for item in node.attribute if item.name == name)
    return next(found, default)


def domain(node: Any) -> str:
    """Domain of a node's operator, or of a set of operators; ONNX's own is ``""``."""
    return "" if node.domain == "ai.onnx" else str(node.domain)


def qualified(node: Any) -> str:
    """Name of a node's operator, with its domain where it is not ONNX's own."""
    return f"{domain(node)}.{node.op_type}" if domain(node) else str(node.op_type)


def node_name(node: Any) -> str:
    """Name of a node, or of its output if it has none."""
    return str(node.name or next(filter(None, node.output), node.op_type))


def input_of(node: Any, place: int) -> str:
    """Name of an input; empty where it is absent."""
    return str(node.input[place]) if place < len(node.input) else ""


def past_tokens(node: Any, place: int, shape: ShapeOf) -> int:
    """Tokens whose keys are an input of a node."""
    name = input_of(node, place)
    return shape(name)[-2] if name else 0
