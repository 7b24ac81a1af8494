"""Files that run code when they are opened: their checksum is compared before."""

import hashlib

import pytest
from inside import imported
from projects import make_spec, write

pytest.importorskip("torch", reason="the generated project computes with PyTorch")
pytest.importorskip("safetensors", reason="the generated project keeps weights in safetensors")


@pytest.fixture
def made(tmp_path, monkeypatch):
    """A project whose exported program is some bytes."""
    with imported(write(tmp_path / "project", make_spec()), monkeypatch, "export") as modules:
        with modules.common.whole(modules.export.PROGRAM) as beside:
            beside.write_bytes(b"a program")
        yield modules


def test_checksum_is_written_beside_a_program_and_not_beside_others(made, tmp_path):
    with made.common.whole(made.common.WEIGHTS) as beside:
        beside.write_bytes(b"weights")
    folder = tmp_path / "project/artefacts"
    assert {file.name for file in folder.iterdir()} == {"model.pt2", "model.pt2.sha256", "model.safetensors"}
    text = (folder / "model.pt2.sha256").read_text()
    assert text == f"{hashlib.sha256(b'a program').hexdigest()}  model.pt2\n"
    with made.common.verified(made.export.PROGRAM) as stream:
        assert stream.read() == b"a program"


def test_exported_programs_and_weights_are_the_same_bytes_wherever_they_are_made(tmp_path, monkeypatch):
    found = []
    for name in ("one", "other"):
        folder = write(tmp_path / name / "project", make_spec("click-through-rate"))
        with monkeypatch.context() as patch, imported(folder, patch, "export") as modules:
            modules.common.save_weights(modules.common.build(modules.config))
            assert modules.export.export(modules.config, True)["largest_difference"] == 0
            monkeypatch.setattr(modules.common.os, "getpid", lambda: 12345)  # as in another process
        files = [folder / "artefacts" / file for file in ("model.safetensors", "model.pt2")]
        found.append([file.read_bytes() for file in files])
        assert str(tmp_path).encode() not in found[-1][1]
    assert found[0] == found[1]


@pytest.mark.parametrize("fault", ["changed", "no checksum", "absent"])
def test_program_with_another_checksum_or_none_is_not_opened(made, fault, monkeypatch):
    def opened(_):
        pytest.fail("it was opened")

    monkeypatch.setattr(made.export.torch.export, "load", opened)
    program, checksum = made.export.PROGRAM, made.common._checksum_file(made.export.PROGRAM)
    if fault == "changed":
        program.write_bytes(b"another")
    else:
        (checksum if fault == "no checksum" else program).unlink()
    says = {
        "changed": "^artefacts/model.pt2 is not opened: it has another checksum than in artefacts/model",
        "no checksum": "No such file or directory: 'artefacts/model.pt2.sha256'",
        "absent": "No such file or directory: 'artefacts/model.pt2'",
    }
    with pytest.raises((OSError, ValueError), match=says[fault]):
        made.export.load_program(made.config)
