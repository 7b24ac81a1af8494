"""Stageplan's own documents: the nouns' fields, as TOML or JSON."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Annotated, Any, Literal, TypeVar, get_args, get_origin

import msgspec
from msgspec import NODEFAULT, Meta

from ..arguments import check_choice
from ..cluster import Cluster
from ..device import Device
from ..errors import InputError
from ..fields import IN_BYTES, allowed, check_fields, fields_of, json_schema, show
from ..goal import Goal
from ..quantities import bytes_of
from ..suggestions import did_you_mean
from ..workload import Workload

S = TypeVar("S", bound=msgspec.Struct)


class WorkloadDocument(Workload, frozen=True, kw_only=True, forbid_unknown_fields=True):
    """A workload, and what it is commonly planned for."""

    cluster: Annotated[
        str | None, Meta(description="the name of a built-in cluster, or of a file beside this one")
    ] = None
    goal: Annotated[Goal | None, Meta(description="a table of the goal's fields")] = None


class CatalogueDocument(msgspec.Struct, frozen=True, kw_only=True, forbid_unknown_fields=True):
    """A catalogue of devices."""

    devices: Annotated[tuple[Device, ...], Meta(description="a list of devices")]

    def __post_init__(self) -> None:
        check_fields(self, "catalogue")


def read_workload(document: dict[str, Any]) -> Workload:
    """Return the workload of a workload document; ValueError where a field of the document is wrong."""
    full = build(WorkloadDocument, document)
    return Workload(**{field.name: getattr(full, field.name) for field in fields_of(Workload)})


def read_cluster(document: dict[str, Any]) -> Cluster:
    """Return the cluster of a cluster document; ValueError where a field of the document is wrong."""
    return build(Cluster, document)


def read_cluster_name(document: dict[str, Any]) -> str | None:
    """Return which cluster a workload document names, if any."""
    return build(WorkloadDocument, document).cluster


def read_goal(document: dict[str, Any]) -> Goal | None:
    """Return the goal of a workload document, if it has one."""
    return build(WorkloadDocument, document).goal


def read_devices(document: dict[str, Any]) -> dict[str, Device]:
    """Return the devices of a catalogue by their names; ValueError where a field of it is wrong."""
    devices: dict[str, Device] = {}
    for index, device in enumerate(build(CatalogueDocument, document).devices):
        if devices.setdefault(device.name, device) is not device:
            raise InputError(
                f"devices[{index}].name is {show(device.name)}; it must differ from those before"
            )
    return devices


def schema(kind: Literal["workload", "cluster", "devices"]) -> dict[str, Any]:
    """JSON Schema of the documents of a kind.

    Parameters
    ----------
    kind : {"workload", "cluster", "devices"}
        Which documents.

    Returns
    -------
    dict
        A JSON Schema (2020-12), ready for ``json.dumps``.
    """
    kinds = {"workload": WorkloadDocument, "cluster": Cluster, "devices": CatalogueDocument}
    check_choice("kind", kind, tuple(kinds))
    return json_schema(kinds[kind])


def build(struct: type[S], document: Any, where: str = "") -> S:
    """Make a struct, and the structs in it, of a decoded document.

    Parameters
    ----------
    struct : type
        A struct whose errors begin with the name of the field.
    document : object
        What TOML or JSON decode to.
    where : str
        Path of this part in the whole document, e.g. ``"layers[3]"``.

    Raises
    ------
    ValueError
        Says the path of a bad field, its value and what is allowed.
    """
    if not isinstance(document, dict):
        raise InputError(f"{where} is {show(document)}; it must be a table")
    fields = {field.encode_name: field for field in fields_of(struct)}
    prefix = f"{where}." if where else ""
    for key in document:
        if key not in fields:
            raise InputError(
                f"{prefix}{show(key)[1:-1]} is not a known field; it must be one of {', '.join(fields)}"
                f"{did_you_mean(key, fields)}"
            )
    for key, field in fields.items():
        if key not in document and field.default is NODEFAULT and field.default_factory is NODEFAULT:
            raise InputError(f"{prefix}{key} is missing; it must be {allowed(field)}")
    parts = {
        fields[key].name: _part(fields[key].type, value, prefix + key) for key, value in document.items()
    }
    try:
        return struct(**parts)
    except (TypeError, ValueError) as error:
        raise InputError(f"{prefix}{error}") from None


def _part(type_: Any, value: Any, where: str) -> Any:
    """Value of a field: its tables made into structs where it holds structs, ``"80GB"`` into bytes."""
    struct = _struct_in(type_)
    if struct is None:
        return _with_bytes(value) if _has_text(value) and _holds_bytes(type_) else value
    if isinstance(value, list):
        return [build(struct, item, f"{where}[{index}]") for index, item in enumerate(value)]
    if not isinstance(value, dict):
        return value
    if _is_mapping(type_):
        return {key: build(struct, item, f"{where}.{show(key)[1:-1]}") for key, item in value.items()}
    return build(struct, value, where)


def _has_text(value: Any) -> bool:
    values = value.values() if isinstance(value, dict) else (value,)
    return any(isinstance(item, str) for item in values)


def _holds_bytes(type_: Any) -> bool:
    """Whether an annotation is of bytes, or bytes per second."""
    units = (meta.extra for meta in getattr(type_, "__metadata__", ()) if isinstance(meta, Meta))
    return IN_BYTES in units or any(map(_holds_bytes, get_args(type_)))


def _with_bytes(value: Any) -> Any:
    """Read a text of bytes, or those of a table; what is no such text stays, and is refused later."""
    if isinstance(value, dict):
        return {key: _with_bytes(item) for key, item in value.items()}
    amount = bytes_of(value) if isinstance(value, str) else None
    return value if amount is None else amount


def _is_mapping(type_: Any) -> bool:
    """Whether an annotation is of a table by name."""
    if get_origin(type_) is Annotated:
        return _is_mapping(get_args(type_)[0])
    return get_origin(type_) is Mapping


def _struct_in(type_: Any) -> type[msgspec.Struct] | None:
    """Return the struct that an annotation mentions, if any."""
    if isinstance(type_, type) and issubclass(type_, msgspec.Struct):
        return type_
    return next(filter(None, map(_struct_in, get_args(type_))), None)
