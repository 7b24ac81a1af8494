"""What all tests share: a Hypothesis profile, random problems, a machine to reach over ssh, commands."""

import getpass
import shutil
import socket
import subprocess
import time
from collections.abc import Callable, Iterator
from contextlib import suppress
from pathlib import Path
from typing import Any, NamedTuple, TypeAlias

import commands
import numpy as np
import pytest
import reference as ref
from hypothesis import HealthCheck, settings
from strategies import random_problem

import stageplan as sp
from stageplan import cli

settings.register_profile(
    "tests", deadline=None, derandomize=True, max_examples=100, suppress_health_check=[HealthCheck.too_slow]
)
settings.load_profile("tests")

Pair: TypeAlias = tuple[sp.Problem, Any]
Draw: TypeAlias = Callable[..., Pair]
Run: TypeAlias = Callable[..., tuple[int, str, str]]


def objective_of(plan: sp.Plan) -> float:
    """What the goal wants to be least: $, seconds per example or $/hour."""
    return {"cost": plan.cost, "throughput": plan.time, "price": plan.price}[plan.problem.goal.objective]


def _draw(rng: np.random.Generator, max_layers: int = 10, max_types: int = 4, **fixed: Any) -> Pair:
    shape = {
        "merge": str(rng.choice(["adjacent", "type"])),
        "split": bool(rng.random() < 0.5),
        "objective": str(rng.choice(["cost", "throughput", "price"])),
        "max_devices_per_stage": int(rng.integers(1, 9)),
    }
    n_layers, n_types = int(rng.integers(1, max_layers + 1)), int(rng.integers(1, max_types + 1))
    arguments = random_problem(rng, n_layers, n_types, **shape | fixed)
    return sp.Problem.from_arrays(**arguments), ref.plain_problem(**arguments)


class SshServer(NamedTuple):
    """A server on loopback: what a specification says of it."""

    target: str
    config: Path


@pytest.fixture(scope="session")
def ssh_server(tmp_path_factory: pytest.TempPathFactory) -> Iterator[SshServer]:
    """Start an OpenSSH server with its own keys, which only this process can use."""
    server, folder = (
        shutil.which("sshd", path="/usr/sbin:/usr/local/sbin:/usr/bin"),
        tmp_path_factory.mktemp("ssh"),
    )
    if server is None or shutil.which("ssh") is None:
        pytest.skip("OpenSSH's server or client is not installed")
    with suppress(OSError):  # a server that root starts wants this empty directory
        Path("/run/sshd").mkdir(exist_ok=True)
    with socket.create_server(("127.0.0.1", 0)) as free:
        port = free.getsockname()[1]
    for key in ("host_key", "user_key"):
        subprocess.run(["ssh-keygen", "-q", "-t", "ed25519", "-N", "", "-f", folder / key], check=True)
    (folder / "authorized").write_bytes((folder / "user_key.pub").read_bytes())
    (folder / "known").write_text(f"[127.0.0.1]:{port} {(folder / 'host_key.pub').read_text()}")
    (folder / "sshd_config").write_text(
        f"ListenAddress 127.0.0.1:{port}\nHostKey {folder}/host_key\nAuthorizedKeysFile {folder}/authorized\n"
        "PasswordAuthentication no\nKbdInteractiveAuthentication no\nUsePAM no\nStrictModes no\n"
        "PidFile none\nPermitRootLogin prohibit-password\n"
    )
    (folder / "ssh_config").write_text(
        f"IdentityFile {folder}/user_key\nIdentitiesOnly yes\nUserKnownHostsFile {folder}/known\n"
        "GlobalKnownHostsFile /dev/null\nStrictHostKeyChecking yes\n"
    )
    with subprocess.Popen(
        [server, "-D", "-e", "-f", folder / "sshd_config"], stderr=subprocess.DEVNULL
    ) as process:
        try:
            _await(port, process)
            yield SshServer(f"ssh:{getpass.getuser()}@127.0.0.1:{port}", folder / "ssh_config")
        finally:
            process.terminate()


def _await(port: int, process: "subprocess.Popen[bytes]") -> None:
    """Wait until somebody listens; skip where the server cannot run here."""
    for _ in range(200):
        if process.poll() is not None:
            pytest.skip("OpenSSH's server is installed, but does not run here")
        try:
            socket.create_connection(("127.0.0.1", port), timeout=1).close()
            return
        except OSError:
            time.sleep(0.05)
    pytest.skip("OpenSSH's server does not listen")


@pytest.fixture
def draw() -> Draw:
    """Draw a random problem of any kind, and the same for the oracle: ``draw(rng, **fixed arguments)``."""
    return _draw


@pytest.fixture
def net_files(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """Work in a directory of its own, beside the files of a small problem."""
    monkeypatch.chdir(tmp_path)
    Path("net.toml").write_text(commands.WORKLOAD)
    Path("types.toml").write_text(commands.CLUSTER)
    Path("bare.toml").write_text(commands.WORKLOAD.replace('cluster = "types.toml"', ""))


@pytest.fixture
def run(net_files: None, capsys: pytest.CaptureFixture[str]) -> Run:
    """Run a command beside the small problem; returns its exit status, stdout and stderr."""

    def run(*argv: object) -> tuple[int, str, str]:
        status = cli.main([str(argument) for argument in argv])
        return status, *capsys.readouterr()

    return run


@pytest.fixture
def refused(run: Run) -> Callable[..., str]:
    """Run a command that has to be refused; returns its one sentence."""

    def refused(*argv: object) -> str:
        status, out, err = run(*argv)
        assert (status, out) == (2, "")
        assert err.startswith("stageplan: error: ")
        assert err.count("\n") == 1
        return err.removeprefix("stageplan: error: ").rstrip()

    return refused


@pytest.fixture
def save_onnx(tmp_path):
    """Saves an ONNX network of nodes and weights, and returns its path."""
    from onnx_networks import saver

    return saver(tmp_path)


@pytest.fixture
def parse_onnx(tmp_path):
    """Saves an ONNX network given as text, and returns its path."""
    from onnx_networks import parser

    return parser(tmp_path)


@pytest.fixture
def products_alone(monkeypatch):
    """Count the products of torch modules alone, as torch's own counter does."""
    from torch.utils.flop_counter import flop_registry

    from stageplan.profiling import torch_flops, torch_module

    def flops(func, *called):
        is_product = func.overloadpacket in flop_registry or func.overloadpacket in torch_flops.PRODUCTS
        return torch_flops.flops(func, *called) if is_product else (0.0, True)

    monkeypatch.setattr(torch_module, "flops", flops)
