"""PyTorch is loaded without looking for garbage meanwhile, and garbage is collected as before afterwards."""

import ast
import gc
from contextlib import suppress

import pytest
from inside import imported
from projects import make_spec, write

from stageplan.generate.basic import packaged

pytest.importorskip("torch", reason="the generated project computes with PyTorch")
pytest.importorskip("safetensors", reason="the generated project keeps weights in safetensors")


@pytest.mark.parametrize("enabled", [True, False])
def test_garbage_is_collected_after_loading_if_it_was_before(enabled, tmp_path, monkeypatch):
    with imported(write(tmp_path / "project", make_spec()), monkeypatch, "loading") as modules:
        try:
            gc.enable() if enabled else gc.disable()
            with suppress(ImportError), modules.loading.loading():
                meanwhile = gc.isenabled()
                raise ImportError
            assert (meanwhile, gc.isenabled()) == (False, enabled)
        finally:
            gc.enable()


def commands():
    """Modules of the generated project that are run."""
    folders = [folder for folder in packaged().iterdir() if folder.is_dir()]
    files = [file for folder in folders for file in folder.iterdir() if file.name.endswith(".py")]
    texts = {file.name: file.read_text(encoding="utf-8") for file in files}
    return {name: text for name, text in texts.items() if '__name__ == "__main__"' in text}


def test_each_command_loads_pytorch_by_it():
    texts = commands()
    assert len(texts) > 20
    for name, text in texts.items():
        imports = [one for one in ast.parse(text).body if isinstance(one, (ast.Import, ast.ImportFrom))]
        first = imports[1]  # after the one of annotations
        assert "loading" in (getattr(first, "module", ""), first.names[0].name), name
