"""Sources of released runtimes: fetched without their dependencies, and read without importing them."""

import ast
import subprocess
import sys
import tarfile
import zipfile
from functools import cache
from pathlib import Path
from typing import NamedTuple


class Release(NamedTuple):
    """A released package, unpacked."""

    name: str
    version: str
    folder: Path


def fetch(name, prefix, downloads, folder):
    """Download the newest release of a package, a wheel or sources, and unpack its files under a prefix."""
    pip = [sys.executable, "-m", "pip", "download", "--quiet", "--no-deps", "--dest", downloads]
    found = sorted(downloads.glob(f"{name.replace('-', '_')}-*")) or sorted(downloads.glob(f"{name}-*"))
    if not found:
        subprocess.run([*pip, name], check=True, stderr=subprocess.DEVNULL)
        return fetch(name, prefix, downloads, folder)
    archive, target = found[-1], folder / name
    version = archive.name.removesuffix(".tar.gz").split("-")[1]
    if archive.suffix == ".whl":
        with zipfile.ZipFile(archive) as wheel:
            wheel.extractall(target, [path for path in wheel.namelist() if _wanted(path, prefix)])
        return Release(name, version, target)
    with tarfile.open(archive) as sources:
        members = [m for m in sources.getmembers() if _wanted(m.name.partition("/")[2], prefix)]
        sources.extractall(target, members, filter="data")
    return Release(name, version, next(target.iterdir()))


def _wanted(path, prefix):
    return path.startswith(prefix) and path.endswith(".py")


@cache
def tree_of(path):
    """Syntax tree of a file."""
    return ast.parse(path.read_text(encoding="utf-8"))


def extract(path, *names, **namespace):
    """Run only the functions and classes of these names, wherever they are in a file; return a namespace.

    Decorators are left out, and annotations are not evaluated: they would need what is not installed.
    """
    tree = tree_of(path)
    future = ast.ImportFrom("__future__", [ast.alias("annotations")], 0)
    body = []
    for name in names:
        node = next(n for n in ast.walk(tree) if getattr(n, "name", None) == name and hasattr(n, "body"))
        node.decorator_list = [d for d in node.decorator_list if ast.unparse(d) in KEPT]
        body.append(node)
    module = ast.fix_missing_locations(ast.Module([future, *body], []))
    exec(compile(module, str(path), "exec"), namespace)
    return namespace


KEPT = {"staticmethod", "classmethod", "property"}


# Classes ------------------------------------------------------------------------------------------------


class Sources:
    """Classes of a package, and what they inherit, by module."""

    def __init__(self, folder):
        self.folder, self._names = folder, {}

    def names(self, module):
        """(Classes, imported names) of a module; empty if it is not in the package."""
        if module not in self._names:
            self._names[module] = self._read(module)
        return self._names[module]

    def _read(self, module):
        path = self.folder.joinpath(*module.split("."))
        file = path / "__init__.py" if path.is_dir() else path.with_suffix(".py")
        if not file.is_file():
            return {}, {}
        package = module if path.is_dir() else module.rpartition(".")[0]
        classes, imports = {}, {}
        for node in ast.walk(tree_of(file)):
            if isinstance(node, ast.ClassDef):
                classes.setdefault(node.name, node)
            elif isinstance(node, ast.ImportFrom):
                origin = _absolute(node, package)
                imports |= {alias.asname or alias.name: (origin, alias.name) for alias in node.names}
        return classes, imports

    def ancestors(self, module, name):
        """(Name, syntax tree or None) of a class and of those that it inherits, each before its bases."""
        walked = list(self._walk(module, name))
        return list(dict(reversed(walked)).items())[::-1]

    def _walk(self, module, name):
        classes, imports = self.names(module)
        if name in classes:
            node = classes[name]
            yield name, node
            for base in node.bases:
                if not isinstance(base, ast.Call):  # Base[T] too
                    yield from self._walk(module, ast.unparse(base).partition("[")[0].rpartition(".")[2])
        elif name in imports and imports[name] != (module, name):
            yield from self._walk(*imports[name])
        else:
            yield name, None

    def takes(self, module, name, argument):
        """Whether the forward of a class, or of the first it inherits that has one, takes an argument."""
        for _, node in self.ancestors(module, name):
            for item in node.body if node else ():
                if isinstance(item, ast.FunctionDef) and item.name == "forward":
                    return argument in [a.arg for a in (*item.args.args, *item.args.kwonlyargs)]
        return False


def _absolute(node, package):
    if not node.level:
        return node.module or ""
    parts = package.split(".")
    base = parts[: len(parts) - node.level + 1]
    return ".".join([*base, *([node.module] if node.module else [])])


def vllm_architectures(folder):
    """(Architectures that vLLM runs in pipelines, those that it only runs whole), by its registry."""
    sources, models = Sources(folder), "vllm.model_executor.models"
    found = {True: set(), False: set()}
    for node in tree_of(folder / "vllm/model_executor/models/registry.py").body:
        target = node.targets[0] if isinstance(node, ast.Assign) else None
        if not isinstance(target, ast.Name) or not target.id.endswith("_MODELS"):
            continue
        if not isinstance(node.value, ast.Dict) or target.id.startswith(("_PREV", "_OOT", "_VLLM", "_SPEC")):
            continue
        for key, value in zip(node.value.keys, node.value.values, strict=True):
            if key is None:  # all of another table
                continue
            file, name = ast.literal_eval(value)
            module = file if file.startswith("vllm.") else f"{models}.{file}"
            runs = any(base == "SupportsPP" for base, _ in sources.ancestors(module, name))
            runs &= sources.takes(module, name, "intermediate_tensors")
            found[runs].add(key.value)
    return found[True], found[False] - found[True]


def sglang_architectures(folder):
    """(Architectures that SGLang runs in pipelines, those that it only runs whole), by its entry classes."""
    sources, found = Sources(folder), {True: set(), False: set()}
    for path in sorted((folder / "sglang/srt/models").rglob("*.py")):
        module = ".".join(path.relative_to(folder).with_suffix("").parts)
        for node in tree_of(path).body:
            if isinstance(node, ast.Assign) and ast.unparse(node.targets[0]) == "EntryClass":
                for item in ast.walk(node.value):
                    if isinstance(item, ast.Name):
                        runs = sources.takes(module, item.id, "pp_proxy_tensors")
                        runs &= not _says_no(sources.names(module)[0].get(item.id))
                        found[runs].add(item.id)
    return found[True], found[False] - found[True]


def _says_no(node):
    return node is not None and "does not support pipeline parallel" in ast.unparse(node)


def other_blocks():
    """Language models of transformers with blocks that have no attention, by its configurations' defaults."""
    import transformers
    from transformers import CONFIG_MAPPING, AutoModelForCausalLM

    transformers.logging.set_verbosity_error()
    found = set()
    for config in CONFIG_MAPPING.values():
        if config not in AutoModelForCausalLM._model_mapping:
            continue
        model = AutoModelForCausalLM._model_mapping[config]
        try:
            types = getattr(config(), "layer_types", None) or ()
        except Exception:  # a configuration without defaults
            types = ()
        other = any(not kind.endswith("attention") or kind == "linear_attention" for kind in types)
        if model._is_stateful or other:
            found.add(model.__name__)
    return found
