"""Suggestions of what a name may have been meant to be."""

from pathlib import Path

import pytest

import stageplan as sp
from stageplan.suggestions import did_you_mean

PROBLEM = sp.Problem.from_arrays([[1.0]], price=[1.0])
DEVICES = ("t4", "a100-40g", "a100-80g", "h100-sxm", "cpu-genoa")


@pytest.mark.parametrize(
    ("name", "end"),
    [
        ("a100-80gb", "; did you mean 'a100-80g'?"),
        ("A100-80G", "; did you mean 'a100-80g'?"),
        ("a100", "; did you mean 'a100-40g' or 'a100-80g'?"),
        ("h100sxm", "; did you mean 'h100-sxm'?"),
        ("tpu-v4", ""),
        ("a", ""),
        ("", ""),
        (7, ""),
    ],
)
def test_near_names(name, end):
    assert did_you_mean(name, DEVICES) == end


def test_names_that_are_no_text_are_not_suggested():
    assert did_you_mean("True", (True, None, "quick")) == ""


def test_many_names_with_one_beginning():
    names = [f"gpu-{i}" for i in range(9)]
    assert did_you_mean("gpu", names) == "; did you mean 'gpu-0' or 'gpu-1' or 'gpu-2'?"


@pytest.mark.parametrize(
    ("call", "end"),
    [
        (lambda: sp.make_cluster(["a100-80gb:8"]), "cpu-genoa; did you mean 'a100-80g'?"),
        (lambda: sp.Goal(objective="costs"), "'price'; did you mean 'cost'? (goal)"),
        (lambda: sp.Goal(schedule="1f1"), "'gpipe' or '1f1b', or absent; did you mean '1f1b'? (goal)"),
        (lambda: sp.solve_for(PROBLEM, "megatrom"), "did you mean 'megatron'?"),
    ],
)
def test_lookups_suggest_names(call, end):
    with pytest.raises((ValueError, TypeError)) as refused:
        call()
    assert str(refused.value).endswith(end)


@pytest.mark.parametrize(
    ("argv", "end"),
    [
        ("plna ctr", "did you mean 'plan'?"),
        ("plan net.toml --max-pri 3", "did you mean '--max-price'?"),
        ("plan net.toml --max-pri=3", "did you mean '--max-price'?"),
        ("info --jsno", "did you mean '--json'?"),
        ("plan net.toml --method exakt", "did you mean 'exact'?"),
        ("plan net.toml --device a100-80gb:8", "did you mean 'a100-80g'?"),
        ("plan net.toml --for megatrom", "did you mean 'megatron'?"),
        ("export plan.json --to torchtitn", "did you mean 'torchtitan'?"),
        ("plan resnet", "did you mean 'resnet50'?"),
        ("example bert", "did you mean 'bert-large'?"),
        ("docs runtime", "did you mean 'runtimes'?"),
        ("schema clustr", "did you mean 'cluster'?"),
    ],
)
def test_commands_suggest_names(refused, argv, end):
    assert refused(*argv.split()).endswith(end)


def test_device_types_that_a_workload_has_are_suggested(refused):
    path = Path("types.toml")
    path.write_text(path.read_text().replace('"fast"', '"fast-80g"'))
    assert refused("plan", "net.toml").endswith("like one that is; did you mean 'fast'?")


def test_networks_of_transformers_are_suggested(refused):
    pytest.importorskip("transformers")
    assert refused("profile", "hf:gptt2", "--device", "t4").endswith("; did you mean 'gpt2'?")


@pytest.mark.parametrize(
    ("old", "new", "begin"),
    [
        ("memory", "memroy", "net.toml: layers[0].memroy is not a known field; "),
        ("goal", "gaol", "net.toml: gaol is not a known field; "),
    ],
)
def test_fields_of_files_are_suggested(refused, old, new, begin):
    path = Path("net.toml")
    path.write_text(path.read_text().replace(old, new))
    sentence = refused("plan", path)
    assert sentence.startswith(begin)
    assert sentence.endswith(f"; did you mean '{old}'?")
