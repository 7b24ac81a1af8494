"""NumPy's files within limits: the sizes in their headers are checked before anything is read."""

from __future__ import annotations

import math
import tokenize
import warnings
import zipfile
import zlib
from collections.abc import Iterable
from pathlib import Path
from typing import IO, Any

import numpy as np
import numpy.typing as npt

from ..errors import InputError
from ..fields import first_line
from .bounded import check_size

Array = npt.NDArray[Any]

# Exceptions of NumPy and zipfile for damaged files.
_DAMAGED = (
    ArithmeticError, AttributeError, EOFError, LookupError, NotImplementedError, RuntimeError, SyntaxError,
    TypeError, ValueError, tokenize.TokenError, zipfile.BadZipFile, zlib.error,
)  # fmt: skip


def map_npy(path: Path) -> Array:
    """Map an .npy file into memory.

    Raises
    ------
    OSError
        The file cannot be read.
    ValueError
        It is not a valid .npy file.
    """
    try:
        with warnings.catch_warnings(action="ignore"):  # of headers that Python 2 wrote
            return np.lib.format.open_memmap(path, mode="r")
    except _DAMAGED as error:
        raise InputError(f"it is not a valid .npy file: {first_line(error)}") from None


def read_npz(path: Path, names: Iterable[str]) -> dict[str, Array]:
    """Read arrays of an .npz file by their names; those that are absent are left out.

    Raises
    ------
    OSError
        The file cannot be read.
    ValueError
        It is not a valid .npz file, or its arrays take more than `MAX_BYTES`.
    """
    with path.open("rb") as stream:
        try:
            with zipfile.ZipFile(stream) as archive, warnings.catch_warnings(action="ignore"):
                members = {f"{name}.npy": name for name in names}
                found = [member for member in archive.infolist() if member.filename in members]
                check_size(sum(member.file_size for member in found))
                return {members[member.filename]: _read_member(archive, member) for member in found}
        except _DAMAGED as error:
            raise InputError(f"it is not a valid .npz file: {first_line(error)}") from None


def _read_member(archive: zipfile.ZipFile, member: zipfile.ZipInfo) -> Array:
    with archive.open(member) as stream:
        _check_header(stream, member)
    with archive.open(member) as stream:
        array: Array = np.lib.format.read_array(stream, allow_pickle=False)
        return array


def _check_header(stream: IO[bytes], member: zipfile.ZipInfo) -> None:
    """Raise ValueError if an array's header promises more than its member holds."""
    version = np.lib.format.read_magic(stream)
    read = np.lib.format.read_array_header_1_0 if version == (1, 0) else np.lib.format.read_array_header_2_0
    shape, _, dtype = read(stream)
    if math.prod(shape) * dtype.itemsize > member.file_size:
        raise InputError(f"{member.filename} is shorter than its header says")
