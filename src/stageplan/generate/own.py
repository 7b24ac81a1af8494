"""Networks of the user's own: what is copied into the project, and what their configuration says."""

from __future__ import annotations

import re
import shutil
from collections.abc import Iterator
from fnmatch import fnmatch
from pathlib import Path
from typing import Any

from ..errors import InputError
from ..readers.bounded import about, from_json, read_bytes, to_text
from .digests import sha256
from .model import Model
from .results import Training
from .spec import Spec

CASE = "[[case]]"  # begin of a case in the test script
OWN = "own"  # folder of the user's files in the project
# Files of a network of transformers: its configuration, weights and tokenizer.
_HF_FILES = (
    "config.json", "generation_config.json", "model*.safetensors", "model.safetensors.index.json",
    "tokenizer*.json", "special_tokens_map.json", "added_tokens.json", "vocab.*", "merges.txt", "*.model",
    "preprocessor_config.json",
)  # fmt: skip
_QUALITY = re.compile(r'"quality_loss", max = [0-9.]+')
# Task -> what is read of the configuration of a network of transformers.
_NEEDED = {
    "causal-language-model": ("vocab_size",),
    "text-classification": ("vocab_size", "pad_token_id"),
}
_DEFAULT_CLASSES = {"hf": 2, "torchvision": 1000, "timm": 1000}


def commands(spec: Spec, training: Training) -> tuple[str, ...]:
    """Return the commands that come before the training, and say whether a network can be used."""
    pipelined = {"pipeline", "replicas", "stages"}.intersection(spec.extend.steps)
    return ("initial", *(("division",) if pipelined and training != "none" else ()))


def without_learning(cases: str) -> str:
    """Return cases that do not require what random examples, or weights that are good already, cannot give.

    Only a full training has to reach the metric; in the mode ``"infer"`` nothing is evaluated. What a network
    that has learned little loses of its metric, as a variant for instance, is by chance.
    """
    parts = cases.replace('"loss_fall", min = 0.1', '"loss_fall"').split(CASE)
    evaluating = 'command = ["evaluate.py"'
    parts = [part.replace('["infer", "full"]', '["full"]') if evaluating in part else part for part in parts]
    quick = 'modes = ["quick"]'
    parts = [_QUALITY.sub('"quality_loss"', part) if '["quick"' in part else part for part in parts]
    return CASE.join(
        part.replace('"margin", min = 0.0', '"loss"') if quick in part else part for part in parts
    )


def source_of(spec: Spec) -> dict[str, Any]:
    """Return what ``source.py`` of the project needs to make the network."""
    model = spec.service.model
    arguments = dict(model.arguments or {})
    if model.source == "factory":
        return {"factory": model.factory, "arguments": arguments}
    if model.source == "hf":
        return {} if model.classes is None else {"classes": model.classes}
    assert model.source is not None
    classes = {"num_classes": _classes(spec, {})}
    return {model.source: getattr(model, model.source), "arguments": classes | arguments}


def sizes_of(spec: Spec) -> dict[str, Any]:
    """Return the configuration of the network: what it is made of, and the sizes of examples.

    Raises
    ------
    OSError, ValueError
        The user's files are absent, or not valid.
    """
    check(spec)
    model = spec.service.model
    known = _hf_config(spec) if model.source == "hf" else {}
    text = known.get("text_config", known)
    sizes: dict[str, Any] = {"task": spec.task, "source": source_of(spec)}
    if spec.task != "image-classification":
        sizes["vocabulary"] = model.vocabulary or text.get("vocab_size", 0)
    if spec.task in ("text-classification", "image-classification"):
        sizes["classes"] = _classes(spec, known)
    if spec.task == "text-classification":
        sizes["padding"] = text.get("pad_token_id") or 0
    return sizes


def _classes(spec: Spec, known: dict[str, Any]) -> int:
    model = spec.service.model
    labels = known.get("num_labels") or len(known.get("id2label") or ())
    classes: int = model.classes or labels or _DEFAULT_CLASSES[str(model.source)]
    return classes


# The user's files ---------------------------------------------------------------------------------------


def check(spec: Spec) -> None:
    """Check that the user's files are there.

    Raises
    ------
    ValueError
        They are not.
    """
    model = spec.service.model
    if model.hf is not None:
        _check_hf(model, hf_folder(model))
    if model.factory is not None:
        _check_factory(model)


def _check_factory(model: Model) -> None:
    assert model.factory is not None
    module = model.factory.partition(":")[0]
    if model.path is None:
        return
    path = Path(model.path)
    if not path.exists():
        raise InputError(f"service.model.path is {path}; it must be an existing folder or file")
    first, *rest = module.split(".")
    if first in project_modules():
        raise InputError(
            f"service.model.factory is {model.factory!r}; its module must not have the name of a file of the "
            f"project, {first}.py"
        )
    files = {Path(name).with_suffix("").as_posix() for name, _ in files_below(path)}
    wanted = "/".join((first, *rest))
    if files.isdisjoint({wanted, f"{wanted}/__init__"}):
        raise InputError(f"service.model.factory is {model.factory!r}; there is no module {module} in {path}")


def project_modules() -> set[str]:
    """Return the names of the modules of generated projects, which a user's module must not have."""
    files = Path(__file__).with_name("project").glob("*/*.py")
    return {file.stem for file in files}


def _check_hf(model: Model, folder: Path) -> None:
    if not (folder / "config.json").is_file():
        raise InputError(f"service.model.hf is {model.hf!r}; {folder} must have a config.json")
    if (folder / "pytorch_model.bin").is_file() and not list(folder.glob("model*.safetensors")):
        raise InputError(
            f"service.model.hf is {model.hf!r}; its weights are in pytorch_model.bin, which may run code; "
            "they must be in model.safetensors, or absent"
        )


def _hf_config(spec: Spec) -> dict[str, Any]:
    path = hf_folder(spec.service.model) / "config.json"
    with about(path):
        config = from_json(to_text(read_bytes(path)))
        if not isinstance(config, dict) or "model_type" not in config:
            raise InputError("it must be a configuration of transformers, with a model_type")
        if all(name in config.get("text_config", config) for name in _NEEDED.get(spec.task, ())):
            return config
        return config | _defaults(path.parent, config)


def _defaults(folder: Path, config: dict[str, Any]) -> dict[str, Any]:
    """Read a configuration as transformers does: of the fields that are absent it knows the defaults."""
    try:
        from transformers import AutoConfig
    except ImportError:
        if "vocab_size" in config.get("text_config", config):
            return {}
        raise InputError(
            "vocab_size is absent; it must be there, or transformers be installed, which knows its default"
        ) from None
    try:
        known = AutoConfig.from_pretrained(folder, local_files_only=True, trust_remote_code=False)
    except (OSError, ValueError) as error:
        raise InputError(f"transformers does not read it: {str(error).splitlines()[0]}") from None
    return dict(known.to_dict())


def hf_folder(model: Model) -> Path:
    """Return the folder of a network of transformers: as given, or from the local cache by its name.

    Raises
    ------
    ValueError
        There is none; nothing is downloaded unless the specification allows it.
    """
    assert model.hf is not None
    if Path(model.hf).is_dir():
        return Path(model.hf)
    try:
        from huggingface_hub import snapshot_download
    except ImportError:
        raise InputError(
            f"service.model.hf is {model.hf!r}, which is no folder; to find it by its name, "
            "huggingface_hub must be installed"
        ) from None
    try:
        found = snapshot_download(
            model.hf, local_files_only=not model.download, allow_patterns=list(_HF_FILES)
        )
    except Exception as error:  # of any class, by what is absent
        tried = "cannot be downloaded" if model.download else "is not in the local cache of huggingface_hub"
        reason = f": {str(error).strip().partition(chr(10))[0]}" if model.download else ""
        raise InputError(
            f"service.model.hf is {model.hf!r}, which is no folder and {tried}{reason}; it must be a folder "
            "with a config.json, or a name that may be downloaded, with download = true"
        ) from None
    return Path(found)


def files_of(spec: Spec) -> list[tuple[str, Path]]:
    """Return the user's files that are copied into the project: path in the folder ``own``, and file."""
    model = spec.service.model
    if model.hf is not None:
        folder = hf_folder(model)
        names = sorted(path.name for path in folder.iterdir() if path.is_file())
        return [(n, folder / n) for n in names if any(fnmatch(n, pattern) for pattern in _HF_FILES)]
    return list(files_below(Path(model.path))) if model.path is not None else []


def files_below(path: Path) -> Iterator[tuple[str, Path]]:
    """Yield the files below a folder, or a file alone, without hidden ones and compiled Python."""
    if path.is_file():
        yield path.name, path
        return
    for file in sorted(path.rglob("*")):
        parts = file.relative_to(path).parts
        if file.is_file() and not any(part.startswith(".") or part == "__pycache__" for part in parts):
            yield "/".join(parts), file


def copy(spec: Spec, project: Path) -> None:
    """Copy the user's files into the project."""
    for name, file in files_of(spec):
        to = project / OWN / name
        to.parent.mkdir(parents=True, exist_ok=True)
        shutil.copyfile(file, to)


def inputs(spec: Spec) -> dict[str, str]:
    """Return the checksums of the user's files, which the project depends on."""
    return {name: sha256(file) for name, file in files_of(spec)}
