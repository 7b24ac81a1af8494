"""The schedule over time."""

import pytest
import report_samples as samples

import stageplan as sp
from stageplan.report import timeline
from stageplan.report.subject import Subject


def subject_of(result):
    return Subject.of(result.plan, result.to_dict())


def test_it_is_the_simulation_of_the_plan():
    result = samples.trained()
    line, run = timeline.timeline_of(subject_of(result)), result.plan.simulate()
    assert line.duration == pytest.approx(run.duration)
    assert sorted(event for events in line.passes for event in events) == sorted(run.events)
    assert [line.busy(i) for i in range(len(line.passes))] == pytest.approx(run.busy.tolist())


def test_few_passes_are_drawn_one_by_one():
    line = timeline.timeline_of(subject_of(samples.trained()))
    drawn = timeline.blocks(line)
    assert [len(made) for made in drawn] == [16] * len(drawn)
    assert {block.passes for made in drawn for block in made} == {1}


def test_many_passes_are_drawn_together_and_stay_as_busy():
    result = samples.trained(microbatches=4096, batch=8192)
    line = timeline.timeline_of(subject_of(result))
    drawn = timeline.blocks(line)
    assert sum(map(len, drawn)) <= 2000
    for stage, made in enumerate(drawn):
        assert sum(block.passes for block in made) == 2 * 4096
        assert sum(block.busy for block in made) == pytest.approx(line.busy(stage))
        assert all(block.busy <= (block.end - block.start) * (1 + 1e-9) for block in made)


def test_bubbles_and_updates_are_in_the_table():
    result = samples.trained()
    subject = subject_of(result)
    rows = timeline.rows(subject, timeline.timeline_of(subject))
    assert [row[3] for row in rows] == [f"{bubble:.1%}" for bubble in result.plan.simulate().bubble]
    assert all(row[5] != "0 ns" for row in rows)


def test_plans_without_a_schedule_have_no_passes():
    assert timeline.count_passes(subject_of(samples.trained(schedule=None, microbatches=None))) == 0


def test_thousands_of_stages_are_drawn_as_far_as_there_is_room():
    layers = 2400
    problem = sp.Problem.from_arrays(
        [[1.0, 2.0], [2.0, 1.0]] * (layers // 2), [1.0, 1.0], schedule="gpipe", microbatches=10, batch=10
    )
    plan = sp.Plan.of(problem, [0, 1] * (layers // 2))
    line = timeline.timeline_of(Subject.of(plan, plan.to_dict()))
    assert len(line.passes) == layers
    drawn = timeline.blocks(line)
    assert len(drawn) == 64
    assert sum(map(len, drawn)) <= 2000
