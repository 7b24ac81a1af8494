"""The user's examples: what is copied into the project, and the packages that read it there."""

from __future__ import annotations

import shutil
from pathlib import Path

from ..errors import InputError
from . import own
from .digests import sha256
from .layout import EXAMPLES
from .spec import Spec, Task

# Task -> the endings of files of examples for a network of the user's own.
_ENDINGS: dict[Task, tuple[str, ...]] = {
    "causal-language-model": (".txt", ".jsonl", ".csv", ".parquet"),
    "text-classification": (".jsonl", ".csv", ".parquet"),
    "image-classification": (".parquet",),
    "click-through-rate": (".csv", ".jsonl", ".parquet"),
}
_OF_DATASETS = ("state.json", "dataset_dict.json")  # one of them is in a folder of the library datasets
_TOKENIZER = "tokenizer.json"
_OTHER_TOKENIZERS = ("vocab.txt", "vocab.json", "tokenizer.model", "spiece.model")
_LEAST_CLASSES = 2


def check(spec: Spec) -> None:
    """Check that a network of the user's own can read the examples, as far as their names say.

    Raises
    ------
    ValueError
        It cannot.
    """
    file, folder = spec.data.file, spec.data.folder
    if file is not None and spec.service.model.source is not None:
        endings = _ENDINGS[spec.task]
        if Path(file).suffix not in endings:
            raise InputError(f"data.file is {file}; for {spec.task} it must end in {' or '.join(endings)}")
    if spec.service.model.hf is not None and source_of(spec) is not None:
        _check_tokenizer(spec, own.hf_folder(spec.service.model))
    if folder is None:
        return
    if not Path(folder).is_dir():
        raise InputError(f"data.folder is {folder}; it must be an existing folder")
    if _is_dataset(folder):
        return
    if spec.task != "image-classification":
        raise InputError(
            f"data.folder is {folder}; for {spec.task} it must be one that the library datasets has saved"
        )
    classes = [path for path in Path(folder).iterdir() if path.is_dir()]
    if len(classes) < _LEAST_CLASSES:
        raise InputError(
            f"data.folder is {folder}; it must have a folder of images for each class, or be one that the "
            "library datasets has saved"
        )


def _check_tokenizer(spec: Spec, folder: Path) -> None:
    """Check that a tokenizer beside a configuration is one that can be read."""
    known = any((folder / name).is_file() for name in _OTHER_TOKENIZERS)
    if known and spec.data.tokenizer is None and not (folder / _TOKENIZER).is_file():
        raise InputError(
            f"data.tokenizer is absent; the tokenizer in {folder} has no {_TOKENIZER}, so that it must be one"
        )


def _is_dataset(folder: str) -> bool:
    return any(Path(folder, name).is_file() for name in _OF_DATASETS)


def source_of(spec: Spec) -> str | None:
    """Return the path of the examples in the project; None for synthetic ones."""
    if spec.data.folder is not None:
        return EXAMPLES
    return None if spec.data.file is None else f"{EXAMPLES}{Path(spec.data.file).suffix}"


def copy(spec: Spec, project: Path) -> None:
    """Copy the user's examples, and the tokenizer that is given for them, into the project."""
    source = source_of(spec)
    if spec.data.folder is not None:
        shutil.copytree(spec.data.folder, project / EXAMPLES)
    elif spec.data.file is not None and source is not None:
        shutil.copyfile(spec.data.file, project / source)
    if spec.data.tokenizer is not None:
        (project / own.OWN).mkdir(exist_ok=True)
        shutil.copyfile(spec.data.tokenizer, project / own.OWN / _TOKENIZER)


def inputs(spec: Spec) -> list[str]:
    """Return the checksums of the user's examples, and of the tokenizer that is given for them."""
    files = [Path(path) for path in (spec.data.file, spec.data.tokenizer) if path is not None]
    if spec.data.folder is not None:
        files += [file for _, file in own.files_below(Path(spec.data.folder))]
    return [sha256(file) for file in files]


def packages(spec: Spec) -> set[str]:
    """Return the names of the packages with which a network of the user's own reads its examples."""
    file, folder, model = spec.data.file, spec.data.folder, spec.service.model
    if model.source is None:
        return set()
    needed = set()
    if file is not None and file.endswith(".parquet"):
        needed.add("pyarrow")
    if folder is not None and _is_dataset(folder):
        needed.add("datasets")
    if spec.task == "image-classification" and source_of(spec) is not None:
        needed.add("pillow")
    beside = model.hf is not None and Path(model.hf, _TOKENIZER).is_file()
    is_text = spec.task in ("causal-language-model", "text-classification")
    if is_text and (beside or spec.data.tokenizer is not None):
        needed.add("tokenizers")
    return needed
