"""Files in: workloads, clusters, goals and catalogues, in any format that is known by its content."""

from __future__ import annotations

import errno
import os
import tomllib
from collections.abc import Iterator
from contextlib import contextmanager
from importlib import resources
from importlib.resources.abc import Traversable
from pathlib import Path
from typing import Any, NamedTuple

import msgspec

from ..cluster import Cluster
from ..device import Device
from ..goal import Goal
from ..workload import Workload
from . import dnn_partitioning, documents, pipedream
from .prices import read_prices

__all__ = ["read_cluster", "read_devices", "read_goal", "read_workload"]

MAX_BYTES = 256 * 2**20

CATALOGUE = "devices.toml"
SPECIFICATION = "spec.toml"  # of ``stageplan generate``

FORMATS = "stageplan's TOML or JSON, a PipeDream profile or dnn-partitioning JSON"


class _Source(NamedTuple):
    """What a file holds, told by its content."""

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
        How many examples the file's times are of, where the file does not say so.

    Returns
    -------
    Workload
        Its layers in pipeline order, chosen so that neighbours make good stages where the file holds a graph.

    Raises
    ------
    OSError
        The file cannot be read.
    ValueError
        The content is not of a known format, or wrong in it.

    See Also
    --------
    read_cluster, read_goal : What a file says of the hardware, and of the plan.
    """
    source = _open(path)
    with _named(source.path):
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
    """
    source = _open(path)
    with _named(source.path):
        name = documents.read_cluster_name(source.content) if source.format == "workload" else None
    if name is not None:
        beside = Path(os.fspath(path)).parent / name
        source = _open(beside if beside.is_file() else name)
    with _named(source.path):
        return _cluster(source)


def has_prices(path: str | os.PathLike[str]) -> bool:
    """Whether a file that `read_cluster` reads says what devices cost."""
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
        The content is not of a known format, or wrong in it.
    """
    source = _open(path)
    with _named(source.path):
        if source.format == "workload":
            return documents.read_goal(source.content)
        return dnn_partitioning.read_goal() if source.format == "dnn-partitioning" else None


def read_devices(
    path: str | os.PathLike[str] | None = None,
    *,
    prices: str | os.PathLike[str] | None = None,
    region: str | None = None,
    spot: bool = False,
) -> dict[str, Device]:
    """Read the catalogue of devices.

    Parameters
    ----------
    path : path-like, optional
        A catalogue of one's own (TOML or JSON, as ``data/devices.toml``): its devices are added to the
        built-in ones, and stand for those of the same names.
    prices : path-like, optional
        A price list as a CSV of SkyPilot's form: the cheapest price of each device stands for the
        catalogue's, and the price of a device that is not in it is None.
    region : str, optional
        Only prices of this region.
    spot : bool
        Spot prices, not those on demand.

    Returns
    -------
    dict of str to Device
        Devices by their names.

    Raises
    ------
    OSError
        A file cannot be read.
    ValueError
        A file is wrong, or has no prices of the region; a region or spot without a price list.
    """
    if prices is None and (region is not None or spot):
        raise ValueError(
            f"{'region' if region is not None else 'spot'} goes with a price list; prices must be given"
        )
    devices = _devices(_data() / CATALOGUE)
    if path is not None:
        devices |= _devices(Path(path))
    if prices is None:
        return devices
    with _named(Path(prices)):
        listed = read_prices(prices, region, spot)
    return {name: _priced(device, listed) for name, device in devices.items()}


def _devices(file: Traversable) -> dict[str, Device]:
    source = _read(file)
    with _named(file):
        if source.format != "devices":
            raise ValueError("it holds no devices; it must hold a catalogue")
        return documents.read_devices(source.content)


def _priced(device: Device, listed: dict[str, float]) -> Device:
    """Give a device the cheapest price that is listed under one of its names, or None."""
    known = [listed[name.lower()] for name in device.price_names if name.lower() in listed]
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
    raise ValueError(f"it holds {held}; it must hold a workload")


def _cluster(source: _Source) -> Cluster:
    match source.format:
        case "cluster":
            return documents.read_cluster(source.content)
        case "dnn-partitioning":
            return dnn_partitioning.read_cluster(source.content, source.name)
    if source.format == "devices":
        raise ValueError("it holds a catalogue of devices; it must hold a cluster")
    raise ValueError("it holds a workload and names no cluster; it must hold a cluster")


def _open(path: str | os.PathLike[str]) -> _Source:
    """Read a file, or a built-in example, and tell its format."""
    return _read(_find(Path(path)))


def _read(file: Traversable) -> _Source:
    with file.open("rb") as stream:
        raw = stream.read(MAX_BYTES + 1)
    with _named(file):
        return _Source(file, Path(file.name).stem, *_recognize(_text(raw)))


def _find(path: Path) -> Traversable:
    """Return the file itself, or else the built-in example of that name."""
    if path.name != str(path) or (path.exists() and not path.is_dir()):
        return path
    examples = {file.name.removesuffix(".toml"): file for file in _built_in()}
    if path.name in examples:
        return examples[path.name]
    if path.exists():
        return path
    known = ", ".join(sorted(examples))
    raise FileNotFoundError(errno.ENOENT, f"There is no such file or built-in example ({known})", str(path))


def _built_in() -> list[Traversable]:
    if not _data().is_dir():
        return []
    others = (CATALOGUE, SPECIFICATION)
    return [file for file in _data().iterdir() if file.name.endswith(".toml") and file.name not in others]


def _data() -> Traversable:
    return resources.files("stageplan") / "data"


@contextmanager
def _named(file: Traversable) -> Iterator[None]:
    """Begin the sentence of a ValueError with the file that it is about."""
    try:
        yield
    except RecursionError:
        raise ValueError(f"{file}: it is nested too deeply to be read") from None
    except ValueError as error:
        raise ValueError(f"{file}: {error}") from None


def _text(raw: bytes) -> str:
    if len(raw) > MAX_BYTES:
        raise ValueError(f"it has more than {MAX_BYTES >> 20} MB, the most that is read")
    if not raw.strip():
        raise ValueError(f"it is empty; it must be {FORMATS}")
    try:
        text = raw.decode("utf-8-sig")
    except UnicodeDecodeError as error:
        raise ValueError(f"byte {error.start} is no UTF-8; it must be a text: {FORMATS}") from None
    if "\0" in text:
        raise ValueError(f"it has zero bytes; it must be a text: {FORMATS}")
    return text


def _recognize(text: str) -> tuple[str, Any]:
    """(format, content) of a text."""
    if text.lstrip().startswith("{"):
        return _recognize_document(_decode_json(text))
    if pipedream.recognizes(text):
        return "pipedream", text
    try:
        document = tomllib.loads(text)
    except tomllib.TOMLDecodeError as error:
        raise ValueError(f"it is none of {FORMATS}; as TOML, it fails: {error}") from None
    return _recognize_document(document)


def _decode_json(text: str) -> dict[str, Any]:
    try:
        document: dict[str, Any] = msgspec.json.decode(text)
    except msgspec.DecodeError as error:
        raise ValueError(f"it is no valid JSON: {error}") from None
    return document


def _recognize_document(document: dict[str, Any]) -> tuple[str, Any]:
    if dnn_partitioning.recognizes(document):
        return "dnn-partitioning", document
    for format_, field in (("workload", "layers"), ("cluster", "types"), ("devices", "devices")):
        if field in document:
            return format_, document
    raise ValueError(
        "it has no layers (a workload), no types (a cluster), and no nodes and edges (dnn-partitioning); "
        f"it must be {FORMATS}"
    )
