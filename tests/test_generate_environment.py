"""The environment: requirements against the target, environments made or reused."""

import json
import os
import platform
import shlex
import sys
import zipfile
from importlib import metadata
from pathlib import Path

import msgspec
import pytest
from projects import RUN_ID

from stageplan.generate import Item, Spec, TargetError, environment
from stageplan.generate.digests import sha256
from stageplan.generate.environment import (
    GIB,
    Accelerator,
    Facts,
    check_interpreter,
    prepare,
    probe,
    requirements,
)
from stageplan.generate.target import target_of


def make(**fields):
    fields = {"name": "net", "task": "text-classification"} | fields
    return Spec(**fields)


def prepared(spec, tmp_path):
    return prepare(spec, target_of(spec, tmp_path, RUN_ID), tmp_path)


def item(report, name):
    return next(item for item in report.items if item.name == name)


@pytest.fixture
def machine(monkeypatch):
    """Replace facts about this machine."""

    def machine(**facts):
        def other(target, python, directory):
            found = probe(target, python, directory)
            return msgspec.structs.replace(found, **facts) if isinstance(found, Facts) else found

        monkeypatch.setattr(environment, "probe", other)

    return machine


def test_this_machine_is_probed_without_packages(tmp_path):
    facts = probe(target_of(make(), tmp_path, RUN_ID), sys.executable, tmp_path)
    assert facts.machine == platform.machine()
    assert facts.python == platform.python_version()
    assert 1 <= facts.cores <= os.cpu_count()
    assert 2**20 < facts.memory <= os.sysconf("SC_PHYS_PAGES") * os.sysconf("SC_PAGE_SIZE")
    assert facts.packages["pytest"] == pytest.__version__
    assert facts.processor


def test_reused_environment_that_meets_every_requirement(tmp_path):
    pytest.importorskip("torch")
    spec = make(environment={"reuse": sys.executable, "torch": metadata.version("torch")})
    report = prepared(spec, tmp_path)
    assert report.ok, str(report)
    assert report.python == sys.executable
    assert item(report, "computation").found == "PyTorch computes on cpu"
    assert f"torch=={metadata.version('torch')}" in report.lock
    assert report.requirements == tuple(requirements(spec))
    assert str(report).startswith("environment on local: OK\n")


def test_virtual_environment_is_reused_by_its_directory(tmp_path):
    bin_ = tmp_path / "venv" / "bin"
    bin_.mkdir(parents=True)
    (bin_ / "python").write_text(f'#!/bin/sh\nexec {shlex.quote(sys.executable)} "$@"\n')
    (bin_ / "python").chmod(0o755)
    report = prepared(make(environment={"reuse": str(tmp_path / "venv"), "torch": "0.0.1"}), tmp_path)
    assert report.python == str(bin_ / "python")


def test_build_suffix_matters_only_where_required(tmp_path, machine):
    machine(packages={"torch": "2.13.0+cpu", "numpy": "1.0", "safetensors": "1.0"})

    def status(version):
        spec = make(environment={"torch": version})
        items, _ = check_interpreter(spec, target_of(spec, tmp_path, RUN_ID), sys.executable, tmp_path)
        return next(item.status for item in items if item.name == "package torch")

    assert [status(version) for version in ("2.13.0", "2.13.0+cpu", "2.13.0+cu130", "2.13", "2.12.0")] == [
        "OK",
        "OK",
        "WRONG",
        "WRONG",
        "WRONG",
    ]


def test_missing_and_wrong_packages_come_with_advice(tmp_path, machine):
    machine(packages={"torch": "2.12.0", "numpy": "1.0"})
    spec = make(environment={"reuse": sys.executable, "requirements": ["Some_Thing==1.0"]})
    report = prepared(spec, tmp_path)
    assert not report.ok
    assert {item.name: item.status for item in report.items if item.name.startswith("package")} == {
        "package numpy": "OK",  # not the default version, but not pinned
        "package safetensors": "MISSING",
        "package some-thing": "MISSING",
        "package torch": "WRONG",
    }
    torch = item(report, "package torch")
    assert (torch.found, torch.wanted) == ("2.12.0", "2.13.0")
    assert torch.advice == f"{sys.executable} -m pip install torch==2.13.0"
    assert all(item.name != "computation" for item in report.items)


def test_pytorch_that_cannot_compute_is_wrong(tmp_path, machine, monkeypatch):
    machine(packages={"torch": "2.13.0", "numpy": "1.0", "safetensors": "1.0"})
    script = environment._script
    monkeypatch.setattr(
        environment, "_script", lambda name: script(name) if name == "probe.py" else "raise OSError('no lib')"
    )
    report = prepared(make(environment={"reuse": sys.executable}), tmp_path)
    wrong = item(report, "computation")
    assert (wrong.status, wrong.found) == (
        "WRONG",
        "PyTorch on cpu ended with exit status 1: OSError: no lib",
    )


def test_requirements_follow_the_extensions_and_the_specification():
    assert requirements(make()) == ["numpy==2.4.6", "safetensors==0.8.0", "torch==2.13.0"]
    assert "tensorboard==2.21.0" in requirements(make(training={"tensorboard": True}))
    spec = make(extend={"steps": ["onnx", "server"]}, environment={"requirements": ["NumPy==2.0.0"]})
    names = [requirement.split("==")[0] for requirement in requirements(spec)]
    assert names == sorted(
        ["fastapi", "numpy", "onnx", "onnxruntime", "onnxscript", "safetensors", "torch", "uvicorn"]
    )
    assert "numpy==2.0.0" in requirements(spec)
    images = requirements(make(task="image-classification", extend={"steps": ["server"]}))
    assert {"pillow==13.0.0", "python-multipart==0.0.34"} <= set(images)


# The machine --------------------------------------------------------------------------------------------

GPU = Accelerator(name="GPU", memory=24 * GIB, driver="535.104.05")


@pytest.mark.parametrize(
    ("hardware", "name", "status", "advice"),
    [
        ({"memory": 80 * GIB}, "memory", "WRONG", "the hardware requirement asks for 80 GiB: 56 GiB short; "),
        ({"cores": 12}, "cores", "WRONG", "the hardware requirement asks for 12: 8 short; "),
        ({"instruction_sets": ["amx_tile"]}, "instruction set amx_tile", "MISSING", "use another target"),
        ({"accelerators": 2}, "accelerators", "WRONG", "the hardware requirement asks for 2: 1 short; "),
        (
            {"accelerators": 1, "accelerator_memory": 80 * GIB},
            "accelerator memory",
            "WRONG",
            "the hardware requirement asks for 80 GiB: 56 GiB short; ",
        ),
        ({"driver": "550.54"}, "driver", "WRONG", "install driver 550.54 or newer"),
    ],
)
def test_unmet_hardware_requirement_gives_the_shortfall(tmp_path, machine, hardware, name, status, advice):
    machine(memory=24 * GIB, cores=4, instruction_sets=("avx2",), accelerators=(GPU,))
    report = prepared(make(hardware=hardware), tmp_path)
    assert [item.name for item in report.items if item.status != "OK"] == [name]
    assert item(report, name).status == status
    assert item(report, name).advice.startswith(advice)
    assert not (tmp_path / "environment").exists()


def test_hardware_requirement_is_met(tmp_path, machine):
    machine(memory=24 * GIB, cores=4, instruction_sets=("avx2",), accelerators=(GPU,), packages={})
    hardware = {
        "memory": 24 * GIB,
        "cores": 4,
        "instruction_sets": ["avx2"],
        "accelerators": 1,
        "accelerator_memory": 24 * GIB,
        "driver": "535.54",
    }
    report = prepared(make(hardware=hardware, environment={"reuse": sys.executable}), tmp_path)
    assert {item.name for item in report.items if item.status != "OK"} == {
        "package numpy",
        "package safetensors",
        "package torch",
    }


def test_missing_accelerator(tmp_path, machine):
    machine(accelerators=())
    report = prepared(make(hardware={"device": "cuda", "driver": "550"}), tmp_path)
    assert [(item.name, item.status) for item in report.items if item.status != "OK"] == [
        ("accelerators", "MISSING"),
        ("driver", "MISSING"),
    ]


def test_old_python_is_wrong(tmp_path, machine):
    machine(python="3.9.1")
    report = prepared(make(environment={"reuse": sys.executable}), tmp_path)
    assert item(report, "python").status == "WRONG"
    assert item(report, "python").found.startswith("3.9.1 ")


def test_accelerators_are_read_from_nvidia_smi(tmp_path, monkeypatch):
    tool = tmp_path / "nvidia-smi"
    tool.write_text('#!/bin/sh\necho "NVIDIA H100 80GB HBM3, 81559, 550.54.15"\n')
    tool.chmod(0o755)
    monkeypatch.setenv("PATH", f"{tmp_path}:{os.environ['PATH']}")
    facts = probe(target_of(make(), tmp_path, RUN_ID), sys.executable, tmp_path)
    assert facts.accelerators == (
        Accelerator(name="NVIDIA H100 80GB HBM3", memory=81559 * 2**20, driver="550.54.15"),
    )


# Missing interpreters -----------------------------------------------------------------------------------


def test_missing_interpreter(tmp_path):
    report = prepared(make(environment={"python": "/no/python"}), tmp_path)
    assert [(item.name, item.status) for item in report.items] == [("python", "MISSING")]
    assert report.items[0].found == "/no/python could not be run: /no/python: No such file or directory"
    assert "environment.python" in report.items[0].advice


def test_missing_environment_to_reuse(tmp_path):
    report = prepared(make(environment={"reuse": "/no/venv"}), tmp_path)
    missing = item(report, "environment")
    assert (missing.status, missing.found) == (
        "MISSING",
        "neither /no/venv/bin/python nor /no/venv runs on local",
    )
    assert report.python == ""


def test_interpreter_without_venv(tmp_path, machine):
    machine(makes_environments=False)
    report = prepared(make(), tmp_path)
    assert item(report, "environment").status == "MISSING"
    assert "python3-venv" in item(report, "environment").advice


# Making an environment ----------------------------------------------------------------------------------

TORCH = """
class Tensor(float):
    def __matmul__(self, other): return Tensor(24.0)
    def sum(self): return self
def ones(*shape, device): return Tensor(1.0)
"""


@pytest.fixture
def wheels(tmp_path, monkeypatch):
    """Minimal packages, in a folder that is pip's only index."""
    folder = tmp_path / "wheels"
    folder.mkdir()
    for name, version in (("torch", "2.13.0"), ("numpy", "2.4.6"), ("safetensors", "0.8.0")):
        info = f"{name}-{version}.dist-info"
        with zipfile.ZipFile(folder / f"{name}-{version}-py3-none-any.whl", "w") as wheel:
            wheel.writestr(f"{name}.py", TORCH if name == "torch" else "")
            wheel.writestr(f"{info}/METADATA", f"Metadata-Version: 2.1\nName: {name}\nVersion: {version}\n")
            wheel.writestr(f"{info}/WHEEL", "Wheel-Version: 1.0\nRoot-Is-Purelib: true\nTag: py3-none-any\n")
            wheel.writestr(f"{info}/RECORD", "")
    monkeypatch.setenv("PIP_NO_INDEX", "1")
    monkeypatch.setenv("PIP_FIND_LINKS", folder.as_uri())
    monkeypatch.setenv("PIP_CONFIG_FILE", os.devnull)
    return folder


def test_environment_is_made_with_pinned_packages(tmp_path, wheels):
    report = prepared(make(), tmp_path)
    assert report.ok, str(report)
    assert report.python == str(tmp_path / "environment/bin/python")
    assert set(report.lock) >= {"torch==2.13.0", "numpy==2.4.6", "safetensors==0.8.0"}
    assert item(report, "computation").status == "OK"
    assert not (tmp_path / "environment" / environment.PIP_REPORT).exists()
    pinned = (tmp_path / "container/requirements.txt").read_text().splitlines()
    wheel = wheels / "numpy-2.4.6-py3-none-any.whl"
    assert pinned[0] == f"numpy==2.4.6 --hash=sha256:{sha256(wheel)}"
    assert [line.split("==")[0] for line in pinned] == ["numpy", "safetensors", "torch"]
    assert "--require-hashes" in (tmp_path / "container/Dockerfile").read_text()


def test_unavailable_package(tmp_path, wheels):
    (wheels / "numpy-2.4.6-py3-none-any.whl").unlink()
    report = prepared(make(), tmp_path)
    wrong = item(report, "packages")
    assert wrong.status == "WRONG"
    assert "numpy==2.4.6" in wrong.found
    assert "environment.requirements" in wrong.advice


def test_installation_reaches_its_time_limit(tmp_path, wheels):
    report = prepared(make(environment={"time_limit": 0.01}), tmp_path)
    assert item(report, "environment").found.startswith("was stopped at its time limit, after 0.0")


# An earlier environment ---------------------------------------------------------------------------------


def test_earlier_environment_is_replaced_unless_it_holds_other_files(tmp_path, wheels):
    assert prepared(make(), tmp_path).ok
    folder = tmp_path / "environment"
    (folder / "notes.md").write_text("mine")
    wrong = item(prepared(make(), tmp_path), "environment")
    assert wrong.found.endswith(f"{folder} holds notes.md, which this run did not make; move it elsewhere")
    assert (folder / "bin/python").exists()
    (folder / "notes.md").unlink()
    (folder / "lib/old").symlink_to("python")
    record = folder / ".stageplan-files.json"
    record.write_text(json.dumps([*json.loads(record.read_text()), "lib/old"]))
    assert prepared(make(), tmp_path).ok
    assert not (folder / "lib/old").is_symlink()


def test_folder_that_no_run_made_is_not_replaced(tmp_path):
    (tmp_path / "environment").mkdir()
    (tmp_path / "environment/notes").write_text("precious")
    wrong = item(prepared(make(), tmp_path), "environment")
    assert wrong.status == "WRONG"
    assert wrong.found.endswith("environment was not made by this run; rename or remove it")
    assert (tmp_path / "environment/notes").read_text() == "precious"


def test_folder_on_the_target_that_the_run_did_not_make_is_not_removed(ssh_server, tmp_path):
    there = tmp_path / "there"
    spec = make(
        target=ssh_server.target,
        ssh={"config": str(ssh_server.config), "directory": str(there)},
        environment={"python": sys.executable},
    )
    (tmp_path / "here").mkdir()
    target = target_of(spec, tmp_path / "here", RUN_ID)
    target.path(target.root)  # which marks it
    (there / "environment").mkdir()
    (there / "environment/notes").write_text("precious")
    assert item(prepare(spec, target, target.root), "environment").status == "WRONG"
    assert (there / "environment/notes").read_text() == "precious"


# Over ssh -----------------------------------------------------------------------------------------------


def test_over_ssh(ssh_server, tmp_path):
    pytest.importorskip("torch")
    here = tmp_path / "here"
    here.mkdir()
    spec = make(
        target=ssh_server.target,
        ssh={"config": str(ssh_server.config), "directory": str(tmp_path / "there")},
        environment={"reuse": sys.executable, "python": sys.executable, "torch": metadata.version("torch")},
    )
    report = prepared(spec, here)
    assert report.ok, str(report)
    assert report.target == ssh_server.target
    assert sorted(path.name for path in here.iterdir()) == [".stageplan-files.json", "container"]
    assert Path(tmp_path / "there").is_dir()


def test_missing_interpreter_over_ssh(ssh_server, tmp_path):
    spec = make(
        target=ssh_server.target,
        ssh={"config": str(ssh_server.config), "directory": str(tmp_path / "there")},
        environment={"python": "/no/python3"},
    )
    report = prepared(spec, tmp_path)
    assert [(item.name, item.status) for item in report.items] == [("python", "MISSING")]


def test_unreachable_target_is_an_error(tmp_path):
    spec = make(target="ssh:127.0.0.1:1")
    with pytest.raises(TargetError, match=r"^ssh:127\.0\.0\.1:1 cannot be reached: "):
        prepared(spec, tmp_path)


def test_items_survive_json():
    made = Item(name="a", status="OK", found="1", wanted="1")
    assert msgspec.json.decode(msgspec.json.encode(made), type=Item) == made


def test_requirements_have_the_versions_that_are_installed():
    wanted = ["numpy==2.4.6", "python_multipart==0.0.34", "torch==2.13.0", "transformers==5.24.0"]
    lock = ["numpy==2.4.6", "python-multipart==0.0.40", "torch==2.13.0+cpu"]
    assert environment.installed(wanted, lock) == [
        "numpy==2.4.6", "python_multipart==0.0.40", "torch==2.13.0", "transformers==5.24.0",
    ]  # fmt: skip
