"""Builds the native core; everything else is in pyproject.toml."""

import sys
from glob import glob

from pybind11.setup_helpers import ParallelCompile, Pybind11Extension, build_ext
from setuptools import setup

# Without fused multiply-adds the same numbers come out on every processor. The last two change none: they let
# loops with conditions and square roots be vectorised, where flags of floating-point errors would forbid it.
FLAGS = (
    ["/O2", "/fp:precise"]
    if sys.platform == "win32"
    else ["-O3", "-ffp-contract=off", "-fno-math-errno", "-fno-trapping-math"]
)

ParallelCompile("STAGEPLAN_BUILD_JOBS").install()
setup(
    ext_modules=[
        Pybind11Extension(
            "stageplan._core",
            sorted(glob("native/**/*.cpp", recursive=True)),
            depends=sorted(glob("native/**/*.h", recursive=True)),
            include_dirs=["native"],
            cxx_std=20,
            extra_compile_args=FLAGS,
        )
    ],
    cmdclass={"build_ext": build_ext},
)
