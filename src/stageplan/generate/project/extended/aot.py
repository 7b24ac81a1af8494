"""Compiles the network to native code, and runs it from a C++ program, which is compiled here too.

Where there is no C++ compiler, both are skipped, with exit status 77.
"""

from __future__ import annotations

import loading

import os
import shutil
import struct
import subprocess
import sys
import tempfile
from pathlib import Path

import torch
from torch import Tensor
from torch.utils.cpp_extension import include_paths, library_paths

import data
from common import ARTEFACTS, Config, load_weights, run, whole
from export import Service, largest_difference, trace
from variants import files_of, load_variant, measure_variant

SOURCE = Path("caller.cpp")
CALLER = ARTEFACTS / "caller"
LIBRARIES = ("torch", "torch_cpu", "c10")
TYPES = {torch.float32: b"f", torch.int64: b"l"}
LIMIT = 600.0  # seconds, for the compiler and for the program
SKIPPED = 77  # exit status


def aot(config: Config, quick: bool) -> dict[str, float]:
    """Compile, read back, call from C++, and compare."""
    service = Service(config, load_weights(config)).eval()
    (path,) = files_of(config, "aot")
    with whole(path) as beside:
        torch._inductor.aoti_compile_and_package(trace(config, service), package_path=str(beside))
    _compile()
    inputs, _ = data.batch(config, "evaluation", 0, config.infer.batch)
    with torch.no_grad():
        wanted = service(*inputs)
    outputs, seconds = _called(path, inputs)
    return measure_variant(config, "aot") | {
        "largest_difference": largest_difference(config, service, load_variant(config, "aot")),
        "caller_difference": (outputs.view_as(wanted) - wanted).abs().max().item(),
        "caller_seconds": seconds,
    }


def compiler() -> str | None:
    """Return the C++ compiler: that of the environment variable CXX, else c++ or g++; None without one."""
    return next(filter(None, map(shutil.which, (os.environ.get("CXX", ""), "c++", "g++"))), None)


def _compile() -> None:
    """Compile the caller against the headers and libraries of PyTorch."""
    libraries = library_paths()
    with whole(CALLER) as beside:
        _run(
            [
                str(compiler()),
                "-std=c++20",
                "-O1",
                f"-D_GLIBCXX_USE_CXX11_ABI={int(torch.compiled_with_cxx11_abi())}",
                *(f"-isystem{path}" for path in include_paths()),
                str(SOURCE),
                "-o",
                str(beside),
                *(f"-L{path}" for path in libraries),
                *(f"-Wl,-rpath,{path}" for path in libraries),
                "-Wl,--no-as-needed",
                *(f"-l{name}" for name in LIBRARIES),
            ]
        )


def _called(package: Path, inputs: tuple[Tensor, ...]) -> tuple[Tensor, float]:
    """Run the caller; return its outputs, and the seconds of a run."""
    with tempfile.TemporaryDirectory() as folder:
        files = [Path(folder, f"input{i}") for i in range(len(inputs))]
        for file, tensor in zip(files, inputs, strict=True):
            file.write_bytes(_bytes(tensor))
        outputs = Path(folder, "outputs")
        printed = _run([str(CALLER.resolve()), str(package.resolve()), str(outputs), *map(str, files)])
        return torch.frombuffer(bytearray(outputs.read_bytes()), dtype=torch.float32), float(printed)


def _bytes(tensor: Tensor) -> bytes:
    """Write a tensor as the caller reads it."""
    head = struct.pack(f"=cq{tensor.dim()}q", TYPES[tensor.dtype], tensor.dim(), *tensor.shape)
    return head + tensor.contiguous().numpy().tobytes()


def _run(command: list[str]) -> str:
    done = subprocess.run(command, capture_output=True, text=True, timeout=LIMIT, check=False)
    if done.returncode:
        raise RuntimeError(
            f"{Path(command[0]).name} ended with exit status {done.returncode}: {done.stderr[-500:]}"
        )
    return done.stdout


if __name__ == "__main__":
    if compiler() is None:
        print("aot: there is no C++ compiler; install g++, or name one in the environment variable CXX")
        sys.exit(SKIPPED)
    run("aot", aot)
