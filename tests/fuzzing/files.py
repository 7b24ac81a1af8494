"""Targets that read a file: its bytes, or the document in it, are mutated."""

from __future__ import annotations

import io
import zipfile
from collections.abc import Callable, Sequence
from pathlib import Path
from random import Random
from typing import Any

import numpy as np
from pages import Page

import stageplan as sp
from stageplan import plan_file
from stageplan.catalogue import device_table
from stageplan.generate import read_spec
from stageplan.generate.cases import read_script
from stageplan.generate.results import BasicResult, EnvironmentReport, ExtendedResult, TestResult, read_result
from stageplan.output import to_text
from stageplan.readers import read_cluster, read_devices, read_goal, read_workload
from stageplan.report.report import of_front_document, of_subject
from stageplan.report.subject import Subject, read_document

from . import examples
from .mutate import TEXTS, mutate_bytes, mutate_document, to_bytes
from .runner import Target
from .values import documents, draw

Read = Callable[[Path], object]


def file_target(name: str, share: float, file: str, read: Read, make: Callable[[Random], bytes]) -> Target:
    """Return a target that reads a file of this name."""

    def run(data: bytes) -> object:
        Path(file).write_bytes(data)
        return read(Path(file))

    return Target(name, share, make, run)


def of_bytes(files: Sequence[bytes]) -> Callable[[Random], bytes]:
    """Return a maker of mutated files."""
    return lambda rng: mutate_bytes(rng, rng.choice(files), files)


def of_documents(
    whole: Sequence[Any], files: Sequence[bytes] = (), form: str | None = None
) -> Callable[[Random], bytes]:
    """Return a maker of mutated documents, of mutated texts of them, and of documents by Hypothesis."""
    words = tuple(sorted({word for document in whole for word in _words(document)}))
    strategy = documents(words)

    def make(rng: Random) -> bytes:
        chance = rng.random()
        if chance < 0.15:
            made = draw(strategy, rng.randbytes(rng.choice((200, 2000))), lambda document: document)
            return to_bytes(rng, {} if made is None else made, form)
        if chance < 0.6:
            return to_bytes(rng, mutate_document(rng, rng.choice(whole)), form)
        texts = [*files, to_bytes(rng, rng.choice(whole), form)]
        return mutate_bytes(rng, rng.choice(texts), texts)

    return make


def _words(value: Any) -> set[str]:
    if isinstance(value, dict):
        return set(value).union(*map(_words, value.values()))
    return set().union(*map(_words, value)) if isinstance(value, list) else set()


# Readers ------------------------------------------------------------------------------------------------


def _workload(path: Path) -> object:
    workload = read_workload(path)
    return str(workload), read_goal(path)


def _cluster(path: Path) -> object:
    return str(read_cluster(path))


def _graph(path: Path) -> object:
    return str(read_workload(path)), str(read_cluster(path)), read_goal(path)


def _devices(path: Path) -> object:
    return to_text(device_table(read_devices(path)))


def _prices(path: Path) -> object:
    for region, pricing in ((None, "on-demand"), ("east-1", "spot")):
        read_devices(prices=path, region=region, pricing=pricing)
    return True


def _report(path: Path) -> object:
    """Make the report of a plan or a front, and read it."""
    document = read_document(path)
    if isinstance(document, plan_file.PlanDocument):
        return Page(of_subject(Subject(document)).html).tips
    return Page(of_front_document(document).html).tips


def _plan(path: Path) -> object:
    return str(plan_file.restore(examples.problem(), plan_file.read_plan(path)))


def _policy(path: Path) -> object:
    policy = sp.Policy.load(path)
    return repr(policy), policy.plan(examples.problem())


def _results(path: Path) -> object:
    for kind in (EnvironmentReport, BasicResult, ExtendedResult, TestResult):
        if (result := read_result(path, kind)) is not None:
            return str(result)
    return False


def _policies(rng: Random) -> bytes:
    """Make a policy's file with odd arrays, or with members of odd kinds, or with mutated bytes."""
    name = rng.choice(
        ("cell", "type_names", "n_labels", "weights", "second_moment", "steps", "baseline", "schemes", "x")
    )
    chance = rng.random()
    if chance < 0.4:
        value = rng.choice(
            (
                None,
                np.zeros(3),
                np.int64(-1),
                np.uint64(2**64 - 1),
                np.array("x"),
                np.float32("nan"),
                np.zeros((2, 3), np.int8),
                np.array(["slow", "\x1b[31m"]),
                np.zeros(0, np.float32),
            )
        )
        return examples.policy_with({name: value})
    if chance < 0.6:
        return _repacked(rng, f"{name}.npy")
    return mutate_bytes(rng, examples.policy(), [examples.policy(), examples.schemes()])


def _repacked(rng: Random, name: str) -> bytes:
    """Write a policy's archive again with a member of zeros, mutated, or of another name."""
    stream = io.BytesIO()
    with (
        zipfile.ZipFile(io.BytesIO(examples.policy())) as old,
        zipfile.ZipFile(stream, "w", zipfile.ZIP_DEFLATED) as new,
    ):
        for member in old.namelist():
            content = old.read(member)
            if member == name:
                zeros = content + bytes(rng.choice((0, 2**20, 2**26)))
                content = rng.choice((zeros, mutate_bytes(rng, content, [content])))
            new.writestr(member, content)
        new.writestr(rng.choice((name, "../x.npy", "y.txt")), rng.choice(TEXTS[:12]))
    return stream.getvalue()


FILES = (
    file_target(
        "workload",
        3,
        "net.toml",
        _workload,
        of_documents([examples.NET, examples.SHARED], examples.built_in("layers")),
    ),
    file_target(
        "cluster", 2, "types.toml", _cluster, of_documents([examples.TYPES], examples.built_in("types"))
    ),
    file_target("devices", 2, "devices.toml", _devices, of_documents([examples.DEVICES])),
    file_target("dnn-partitioning", 2, "graph.json", _graph, of_documents([examples.GRAPH], form="json")),
    file_target("pipedream", 2, "graph.txt", _workload, of_bytes([examples.PIPEDREAM])),
    file_target("prices", 2, "prices.csv", _prices, of_bytes([examples.PRICES])),
    file_target("plan", 2, "plan.json", _plan, of_documents([examples.plan()], form="json")),
    file_target(
        "report",
        2,
        "plan.json",
        _report,
        of_documents([examples.plan(), examples.scheduled(), examples.front()], form="json"),
    ),
    file_target("spec", 2, "spec.toml", read_spec, of_documents([examples.SPEC], form="toml")),
    file_target("spec-json", 1, "spec.json", read_spec, of_documents([examples.SPEC], form="json")),
    file_target("cases", 1, "cases.toml", read_script, of_bytes([examples.cases()])),
    file_target(
        "results", 1, "result.json", _results, of_documents(list(examples.results().values()), form="json")
    ),
    file_target("policy", 2, "policy.npz", _policy, _policies),
)
