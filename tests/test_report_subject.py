"""What a report is of: documents of plans and fronts, and their problems."""

import json

import pytest
import report_samples as samples

import stageplan as sp
from stageplan.plan_file import PlanDocument
from stageplan.report.subject import Run, Subject, read_document, stage_name, with_problem


def document(path="plan.json", **changes):
    problem = samples.plain()
    sp.Plan.of(problem, [1, 1, 0, 0]).save(path)
    with open(path) as file:
        content = json.load(file) | changes
    with open(path, "w") as file:
        json.dump(content, file)
    return path


@pytest.fixture(autouse=True)
def _folder(tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)


def test_a_plan_file_is_read_with_all_that_it_says():
    found = read_document(document())
    assert isinstance(found, PlanDocument)
    assert (found.problem, len(found.stages)) == ("arrays", 2)
    assert Subject(found).runs() == [Run(0, 0, 2), Run(1, 2, 4)]
    assert Subject(found).types == ["gpu", "cpu"]
    assert stage_name(found, 0) == "1 · gpu ×" + str(found.stages[0].replicas)


def test_a_front_file_is_read():
    sp_front = sp.pareto(samples.plain(), points=3)
    with open("front.json", "w") as file:
        json.dump(sp_front.to_dict(), file)
    assert len(read_document("front.json").points) == len(sp_front.points)


def test_layers_of_one_type_may_be_apart():
    problem = samples.plain(merge="type")
    subject = Subject.of(plan := sp.Plan.of(problem, [0, 1, 0, 1]), plan.to_dict())
    assert subject.runs() == [Run(0, 0, 1), Run(1, 1, 2), Run(0, 2, 3), Run(1, 3, 4)]


def stages(**changes):
    with open(document()) as file:
        first, second = json.load(file)["stages"]
    return [first | changes, second]


@pytest.mark.parametrize(
    ("changes", "sentence"),
    [
        (lambda: {"stages": []}, "it has no stages; a report requires the stages of the plan"),
        (
            lambda: {"stages": stages(layers=["nowhere"])},
            "a stage has layer 'nowhere', which is not among the layers of the plan",
        ),
        (
            lambda: {"stages": stages(layers=["layer0"])},
            "its stages are not those of its layers; each layer must be in one stage",
        ),
        (
            lambda: {"stages": stages(layers=[]), "layers": []},
            "its stages are not those of its layers; each layer must be in one stage",
        ),
        (
            lambda: {"stages": stages(time=-1.0)},
            "time of stage 1 is -1; it must be 0 or more, and finite",
        ),
    ],
)
def test_documents_whose_parts_do_not_fit_are_refused(changes, sentence):
    changed = changes()
    with pytest.raises(ValueError, match=r"^plan\.json: ") as error:
        read_document(document(**changed))
    assert str(error.value) == f"plan.json: {sentence}"


@pytest.mark.parametrize(
    ("content", "sentence"),
    [
        ("{", "it is not valid JSON"),
        ('{"against": "cost", "rows": []}', "it holds the front of a sweep; give the directory of the sweep"),
        ('{"name": "x", "layers": []}', "it holds a workload; run stageplan plan"),
        ('{"scheme": [0]}', "it is not valid JSON of a plan"),
        ('{"points": 3}', "it is not valid JSON of a front"),
    ],
)
def test_other_files_are_refused(content, sentence):
    with open("file.json", "w") as file:
        file.write(content)
    with pytest.raises(ValueError, match=sentence):
        read_document("file.json")


def test_a_plan_with_its_problem_keeps_what_the_file_says_of_the_search():
    result = samples.trained()
    with open("plan.json", "w") as file:
        json.dump(result.to_dict(), file)
    found = read_document("plan.json")
    subject = with_problem(found, samples.training())
    assert subject.document.search == found.search
    assert [stage.memory for stage in subject.plan.stages] == [stage.memory for stage in found.stages]


def test_another_price_makes_what_the_file_says_of_the_search_void():
    result = sp.solve(samples.plain())
    with open("plan.json", "w") as file:
        json.dump(result.to_dict(), file)
    dearer = samples.plain().replace(price=[2.0, 6.0])
    subject = with_problem(read_document("plan.json"), dearer)
    assert subject.document.search is None
    assert subject.document.cost == pytest.approx(2 * result.plan.cost)


def test_infinite_throughput_is_a_document_too():
    plan = sp.Plan.of(sp.Problem.from_arrays([[0.0]], price=[1.0]), [0])
    assert Subject.of(plan, plan.to_dict()).document.throughput is None
    assert Subject.of(plan, plan.to_dict()).time == 0
