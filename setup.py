"""Builds the native core and the C API's module; everything else is in pyproject.toml."""

import sys
from glob import glob

from pybind11.setup_helpers import ParallelCompile, Pybind11Extension, build_ext
from setuptools import Extension, setup

# Without fused multiply-adds the same numbers come out on every processor. The last two change none: they let
# loops with conditions and square roots be vectorised, where flags of floating-point errors would forbid it.
FLAGS = (
    ["/O2", "/fp:precise"]
    if sys.platform == "win32"
    else ["-O3", "-ffp-contract=off", "-fno-math-errno", "-fno-trapping-math"]
)
INCLUDE = "src/stageplan/include"
HEADERS = sorted(glob(f"{INCLUDE}/**/*.h", recursive=True))

ParallelCompile("STAGEPLAN_BUILD_JOBS").install()
setup(
    ext_modules=[
        Pybind11Extension(
            "stageplan._core",
            sorted(glob("native/**/*.cpp", recursive=True)),
            depends=[*sorted(glob("native/**/*.h", recursive=True)), *HEADERS],
            include_dirs=["native", INCLUDE],
            cxx_std=20,
            extra_compile_args=FLAGS,
        ),
        Extension(
            "stageplan.capi",
            ["src/stageplan/capi.pyx"],
            depends=["src/stageplan/capi.pxd", *HEADERS],
            include_dirs=[INCLUDE],
        ),
    ],
    cmdclass={"build_ext": build_ext},
    options={
        "build_ext": {"cython_c_in_temp": True}
    },  # not beside the sources, from where it would be installed
)
