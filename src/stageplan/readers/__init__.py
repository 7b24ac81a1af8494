"""Readers of workloads, clusters, goals and catalogues; the format of a file is detected from its content."""

from __future__ import annotations

import errno
import os
from importlib import resources
from importlib.resources.abc import Traversable
from pathlib import Path
from typing import Any, NamedTuple

import msgspec

from ..arguments import check_choice
from ..cluster import Cluster
from ..device import PRICINGS, Device, Pricing
from ..errors import InputError
from ..goal import Goal
from ..suggestions import did_you_mean
from ..workload import Workload
from . import dnn_partitioning, documents, pipedream
from .bounded import about, as_path, from_json, from_toml, read_bytes, to_text
from .mistaken import refuse_document, refuse_model
from .prices import Machine, read_machines

__all__ = ["read_cluster", "read_devices", "read_goal", "read_workload"]

CATALOGUE = "devices.toml"
SPECIFICATION = "spec.toml"  # of ``stageplan generate``

FORMATS = "stageplan's TOML or JSON, a PipeDream profile or dnn-partitioning JSON"


class _Source(NamedTuple):
    """A file, whose format is detected from its content."""

    path: Traversable
    name: str
    format: str  # "workload", "cluster", "devices", "dnn-partitioning" or "pipedream"
    content: Any  # text of a profile, dict of the other formats


def read_workload(path: str | os.PathLike[str], batch: float | None = None) -> Workload:
    """Read a workload from a file of any known format.

    Parameters
    ----------
    path : path-like
        A file of stageplan's own TOML or JSON, a PipeDream profile, or dnn-partitioning JSON; or the bare
        name of a built-in example, where there is no such file.
    batch : float, optional
        Number of examples that the file's times are of, if the file does not say.

    Returns
    -------
    Workload
        Its layers in pipeline order, chosen so that neighbours make good stages where the file holds a graph.

    Raises
    ------
    OSError
        The file cannot be read.
    ValueError
        The content is not of a known format, or not valid in it.

    See Also
    --------
    read_cluster, read_goal : What a file says of the hardware, and of the plan.

    Examples
    --------
    >>> import stageplan as sp
    >>> workload = sp.read_workload("ctr")  # a built-in example; or the path of a file
    >>> workload.layers[0].name, len(workload.layers)
    ('input', 16)
    """
    source = _open(path)
    with about(source.path):
        workload = _workload(source)
        return workload if batch is None else msgspec.structs.replace(workload, batch=batch)


def read_cluster(path: str | os.PathLike[str]) -> Cluster:
    """Read a cluster from a file of any known format.

    Parameters
    ----------
    path : path-like
        A cluster document (TOML or JSON), dnn-partitioning JSON, or a workload document that names its
        cluster: a built-in one, or a file beside it; or the bare name of a built-in example.

    Returns
    -------
    Cluster
        The device types; those of dnn-partitioning cost $1/hour, since its files have no prices.

    Raises
    ------
    OSError
        The file cannot be read.
    ValueError
        The content is not of a known format, wrong in it, or holds no cluster.

    Examples
    --------
    >>> import stageplan as sp
    >>> [type_.name for type_ in sp.read_cluster("cpu-gpu").types]
    ['cpu', 't4', 'v100', 'a100']
    """
    source = _open(path)
    with about(source.path):
        name = documents.read_cluster_name(source.content) if source.format == "workload" else None
    if name is not None:
        beside = as_path("path", path).parent / name
        source = _open(beside if beside.is_file() else name)
    with about(source.path):
        return _cluster(source)


def has_prices(path: str | os.PathLike[str]) -> bool:
    """Whether a file that `read_cluster` reads has prices."""
    return _open(path).format != "dnn-partitioning"


def read_goal(path: str | os.PathLike[str]) -> Goal | None:
    """Read the goal that a file itself asks for, or return None where it asks for none.

    Parameters
    ----------
    path : path-like
        As of `read_workload`.

    Raises
    ------
    OSError
        The file cannot be read.
    ValueError
        The content is not of a known format, or not valid in it.

    Examples
    --------
    >>> import stageplan as sp
    >>> print(sp.read_goal("ctr"))
    cheapest plan for 4.1952e+09 examples, at least 1e+06 examples/s
    """
    source = _open(path)
    with about(source.path):
        if source.format == "workload":
            return documents.read_goal(source.content)
        return dnn_partitioning.read_goal() if source.format == "dnn-partitioning" else None


def read_devices(
    path: str | os.PathLike[str] | None = None,
    *,
    prices: str | os.PathLike[str] | None = None,
    region: str | None = None,
    pricing: Pricing = "on-demand",
    whole_machines: bool = False,
) -> dict[str, Device]:
    """Read the catalogue of devices.

    Parameters
    ----------
    path : path-like, optional
        An additional catalogue (TOML or JSON, as ``data/devices.toml``): its devices are added to the
        built-in ones, and replace those of the same names.
    prices : path-like, optional
        A price list, a CSV in the form of SkyPilot's catalogs: the cheapest price of each device replaces
        the catalogue's, and the price of a device that is not in the list is None.
    region : str, optional
        Only prices of this region.
    pricing : {"on-demand", "spot", "reserved"}
        Which prices; a price list has no reserved ones.
    whole_machines : bool
        Only prices in the list of machines that have `Device.per_machine` devices.

    Returns
    -------
    dict of str to Device
        Devices by their names.

    Raises
    ------
    OSError
        A file cannot be read.
    ValueError
        A file is not valid, or has no prices of the region; a region without a price list, or reserved prices
        of one.

    Examples
    --------
    >>> import stageplan as sp
    >>> t4 = sp.read_devices()["t4"]
    >>> t4.peak["fp16"], t4.memory, t4.price
    (65000000000000.0, 16000000000.0, 0.526)
    """
    check_choice("pricing", pricing, PRICINGS)
    if prices is None and region is not None:
        raise InputError("region requires a price list; prices must be given")
    devices = _devices(_data() / CATALOGUE)
    if path is not None:
        devices |= _devices(as_path("path", path))
    if prices is None:
        return {name: device.with_pricing(pricing) for name, device in devices.items()}
    if pricing == "reserved":
        raise InputError("pricing is 'reserved'; it must be 'on-demand' or 'spot', as a price list has those")
    file = as_path("prices", prices)
    with about(file):
        machines = read_machines(to_text(read_bytes(file)), region, pricing == "spot")
    return {name: _priced(device, machines, whole_machines) for name, device in devices.items()}


def _devices(file: Traversable) -> dict[str, Device]:
    source = _read(file)
    with about(file):
        if source.format != "devices":
            raise InputError("it holds no devices; it must hold a catalogue")
        return documents.read_devices(source.content)


def _priced(device: Device, machines: list[Machine], whole: bool) -> Device:
    """Give a device the cheapest price that is listed under one of its names, or None."""
    names = {name.lower() for name in device.price_names}
    known = [
        machine.price
        for machine in machines
        if machine.name in names and (not whole or machine.devices == device.per_machine)
    ]
    return msgspec.structs.replace(device, price=min(known, default=None))


def _workload(source: _Source) -> Workload:
    match source.format:
        case "workload":
            return documents.read_workload(source.content)
        case "dnn-partitioning":
            return dnn_partitioning.read_workload(source.content, source.name)
        case "pipedream":
            return pipedream.read_workload(source.content, source.name)
    held = "a cluster" if source.format == "cluster" else "a catalogue of devices"
    raise InputError(f"it holds {held}; it must hold a workload")


def _cluster(source: _Source) -> Cluster:
    match source.format:
        case "cluster":
            return documents.read_cluster(source.content)
        case "dnn-partitioning":
            return dnn_partitioning.read_cluster(source.content, source.name)
    if source.format == "devices":
        raise InputError("it holds a catalogue of devices; it must hold a cluster")
    raise InputError("it holds a workload and names no cluster; it must hold a cluster")


def _open(path: str | os.PathLike[str]) -> _Source:
    """Read a file, or a built-in example, and detect its format."""
    file = as_path("path", path)
    with about(file):
        refuse_model(file)
    return _read(_find(file))


def _read(file: Traversable) -> _Source:
    with about(file):
        return _Source(file, Path(file.name).stem, *_recognize(file, read_bytes(file)))


def _find(path: Path) -> Traversable:
    """Return the file itself, or else the built-in example of that name."""
    if path.name != str(path) or (path.exists() and not path.is_dir()):
        return path
    examples = {file.name.removesuffix(".toml"): file for file in _built_in()}
    if path.name in examples:
        return examples[path.name]
    if path.exists():
        return path
    known = f"({', '.join(sorted(examples))}){did_you_mean(path.name, examples)}"
    raise FileNotFoundError(errno.ENOENT, f"There is no such file or built-in example {known}", str(path))


def _built_in() -> list[Traversable]:
    folder = _data() / "examples"
    return [file for file in folder.iterdir() if file.name != SPECIFICATION] if folder.is_dir() else []


def _data() -> Traversable:
    return resources.files("stageplan") / "data"


def _recognize(file: Traversable, raw: bytes) -> tuple[str, Any]:
    """(format, content) of a file."""
    if not raw.strip():
        raise InputError(f"it is empty; it must be {FORMATS}")
    text = to_text(raw)
    if text.lstrip().startswith("{"):
        return _recognize_document(file, from_json(text))
    if pipedream.recognizes(text):
        return "pipedream", text
    try:
        document = from_toml(text)
    except ValueError as error:
        raise InputError(f"{error}; it must be {FORMATS}") from None
    return _recognize_document(file, document)


def _recognize_document(file: Traversable, document: dict[str, Any]) -> tuple[str, Any]:
    refuse_document(file, document)
    if dnn_partitioning.recognizes(document):
        return "dnn-partitioning", document
    for format_, field in (("workload", "layers"), ("cluster", "types"), ("devices", "devices")):
        if field in document:
            return format_, document
    raise InputError(
        "it has no layers (a workload), no types (a cluster), and no nodes and edges (dnn-partitioning); "
        f"it must be {FORMATS}"
    )
