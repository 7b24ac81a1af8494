"""Processes of a generated project that measure transfers, and how they are started."""

import pytest
from inside import imported
from projects import make_spec, write

pytest.importorskip("torch", reason="the generated project computes with PyTorch")
pytest.importorskip("safetensors", reason="the generated project keeps weights in safetensors")


@pytest.mark.parametrize(("in_use", "method"), [(False, "fork"), (True, "spawn")])
def test_processes_are_not_forked_from_one_that_uses_a_gpu(in_use, method, tmp_path, monkeypatch):
    with imported(write(tmp_path / "project", make_spec()), monkeypatch, "transfer") as modules:
        torch = modules.transfer.torch
        monkeypatch.setattr(torch.cuda, "is_initialized", lambda: in_use)
        monkeypatch.setattr(torch.multiprocessing, "get_all_start_methods", lambda: ["fork", "spawn"])
        assert modules.transfer.start_method() == method
