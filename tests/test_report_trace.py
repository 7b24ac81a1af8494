"""Traces of schedules for Perfetto."""

import itertools
import json

import pytest

import stageplan as sp


def planned(**goal):
    problem = sp.Problem.from_arrays(
        [[3.0], [6.0]], [1.0], type_names=["gpu"], split=True, max_devices_per_stage=1, send=[[0.5], [0.0]],
        update=[0.25, 0.25], **({"schedule": "1f1b", "microbatches": 4, "batch": 4} | goal),
    )  # fmt: skip
    return sp.Plan.of(problem, [0, 1])


def entries(path, phase):
    return [entry for entry in json.loads(path.read_text())["traceEvents"] if entry["ph"] == phase]


def test_a_trace_has_every_pass_transfer_and_update(tmp_path):
    run = planned().simulate()
    run.trace(tmp_path / "trace.json")
    spans = entries(tmp_path / "trace.json", "X")
    passes = [span for span in spans if span["tid"] == 0]
    assert [(span["pid"], span["name"]) for span in passes] == [
        (event.stage, f"{event.direction} {event.microbatch}") for event in run.events
    ]
    assert [span["ts"] / 1e6 for span in passes] == pytest.approx([event.start for event in run.events])
    assert sum(span["dur"] for span in passes if span["pid"] == 1) / 1e6 == pytest.approx(run.busy[1])
    moved = [span["dur"] / 1e6 for span in spans if span["tid"] == 1 and span["pid"] == 0]
    assert sum(moved) == pytest.approx(4 * 0.5)
    updates = [(span["pid"], span["dur"] / 1e6) for span in spans if span["tid"] == 2]
    assert updates == [(0, pytest.approx(0.25)), (1, pytest.approx(0.25))]
    assert max(span["ts"] + span["dur"] for span in spans) / 1e6 == pytest.approx(run.duration)


def test_spans_of_a_track_do_not_overlap(tmp_path):
    planned(overlap=False, schedule="gpipe").simulate().trace(tmp_path / "trace.json")
    tracks = {}
    for span in entries(tmp_path / "trace.json", "X"):
        tracks.setdefault((span["pid"], span["tid"]), []).append((span["ts"], span["ts"] + span["dur"]))
    for spans in tracks.values():
        spans.sort()
        assert all(end <= start + 1e-3 for (_, end), (start, _) in itertools.pairwise(spans))


def test_tracks_are_named(tmp_path):
    planned().simulate().trace(tmp_path / "trace.json")
    names = [
        entry["args"]["name"] for entry in entries(tmp_path / "trace.json", "M") if "name" in entry["args"]
    ]
    assert names[0] == "stage 1 on gpu, 1 devices"
    assert names[1:4] == ["passes", "transfers", "all-reduce and update"]


def test_a_folder_that_is_missing_is_named(tmp_path):
    with pytest.raises(OSError, match="nowhere"):
        planned().simulate().trace(tmp_path / "nowhere" / "trace.json")
