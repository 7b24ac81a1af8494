"""Copies of modules without values."""

import threading

import pytest

torch = pytest.importorskip("torch")

from torch import nn  # noqa: E402

from stageplan.profiling.twin import check_parts, make_twin  # noqa: E402


def test_tensors_that_hang_on_others_are_copied_without_values():
    module = nn.Linear(4, 4)
    module.cached = {"double": [module.weight * 2]}
    twin = make_twin(module, torch.float32)
    assert twin.cached["double"][0].device.type == "meta"
    assert module.cached["double"][0].device.type == "cpu"


def _with(**attributes):
    module = nn.Sequential(nn.Linear(4, 4))
    vars(module[0]).update(attributes)
    return module


@pytest.mark.parametrize(
    ("module", "words"),
    [
        (_with(lock=threading.Lock()), "with attribute '0.lock', which must be left out: cannot pickle"),
        (_with(numbers=(i for i in range(3))), "model cannot be copied with attribute '0.numbers'"),
    ],
)  # fmt: skip
def test_modules_that_cannot_be_copied_are_refused(module, words):
    with pytest.raises(ValueError, match=words):
        make_twin(module, torch.float32)


@pytest.mark.filterwarnings("ignore:`torch.jit:DeprecationWarning")
def test_parts_that_cannot_be_read_are_refused():
    for module in (torch.jit.script(nn.Linear(4, 4)), torch.jit.trace(nn.Linear(4, 4), torch.rand(3, 4))):
        with pytest.raises(
            ValueError, match="it is scripted or traced, and hides its parts; the module that"
        ):
            check_parts(module)
    with pytest.raises(
        ValueError, match="module '0' has parameters of unknown size; it must run once before"
    ):
        check_parts(nn.Sequential(nn.LazyLinear(4)))
    check_parts(nn.Sequential(nn.Linear(4, 4)))
