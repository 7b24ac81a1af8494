"""``stageplan schema`` and ``info``."""

import os

import numpy as np
import pytest
from commands import strict

import stageplan as sp
from stageplan import _core


@pytest.mark.parametrize("kind", ["workload", "cluster", "devices", "plan", "spec"])
def test_schema(run, kind):
    status, out, err = run("schema", kind)
    schema = strict(out)
    name = schema["$ref"].rpartition("/")[2]
    fields = {
        "workload": "layers",
        "cluster": "types",
        "devices": "devices",
        "plan": "scheme",
        "spec": "task",
    }
    field = fields[kind]
    assert (status, err) == (0, "")
    assert field in schema["$defs"][name]["properties"]


def test_info(run):
    status, out, err = run("info")
    assert (status, err) == (0, "")
    assert out.startswith(f"stageplan {sp.__version__}\n")
    for text in (
        _core.instruction_set(),
        np.__version__,
        f"cores            {len(os.sched_getaffinity(0))}",
    ):
        assert text in out
    workloads, _, clusters = out.partition("built-in clusters:")
    for name in ("ctr", "bert-large", "resnet50"):
        assert f"\n  {name} " in workloads
    for name in ("cpu-gpu", "gpus"):
        assert f"\n  {name} " in clusters


def test_info_without_affinity(run, monkeypatch):
    monkeypatch.delattr(os, "sched_getaffinity")
    assert f"cores            {os.cpu_count()}\n" in run("info")[1]


@pytest.mark.parametrize(
    ("argv", "sentence"),
    [
        ("schema", "the following arguments are required: kind"),
        ("schema song", "argument kind: invalid choice: 'song'"),
    ],
)
def test_bad_input_is_one_sentence(refused, argv, sentence):
    assert sentence in refused(*argv.split())
