"""Networks of the user's own: their files in the project, their configuration, and what is refused."""

import json
import sys

import pytest
from projects import REPORT, make_spec, write
from test_generate_basic import Recorder

from stageplan.generate import basic, own
from stageplan.generate.cases import read_script
from stageplan.generate.environment import requirements
from stageplan.generate.steps import _basic_inputs, _training

TEXT, IMAGE, CLICK = "text-classification", "image-classification", "click-through-rate"


@pytest.fixture
def folder(tmp_path):
    """A package with a function, and a configuration of transformers with a tokenizer."""
    (tmp_path / "code/pack").mkdir(parents=True)
    (tmp_path / "code/.git").mkdir()
    (tmp_path / "code/.git/config").write_text("")
    (tmp_path / "code/pack/__init__.py").write_text("")
    (tmp_path / "code/pack/net.py").write_text("def make(): ...")
    (tmp_path / "hf").mkdir()
    (tmp_path / "hf/config.json").write_text(
        '{"model_type": "bert", "vocab_size": 77, "pad_token_id": 0, "id2label": {"0": "a"}}'
    )
    for name in ("tokenizer.json", "notes.md", "pytorch_model.bin", "model.safetensors"):
        (tmp_path / "hf" / name).write_text("{}")
    return tmp_path


def of_factory(folder, **fields):
    model = {"factory": "pack.net:make", "vocabulary": 9, "classes": 3, "path": str(folder / "code")}
    return make_spec(TEXT, service={"model": model | fields})


def of_hf(folder, task=TEXT, **fields):
    return make_spec(task, service={"model": {"hf": str(folder)} | fields})


def test_project_has_the_users_files_and_no_built_in_network(folder):
    project = write(folder / "project", of_factory(folder))
    assert sorted(path.name for path in (project / "own/pack").iterdir()) == ["__init__.py", "net.py"]
    assert not (project / "own/.git").exists()
    assert {"blocks.py", "initial.py", "sequence.py", "source.py"} < {path.name for path in project.iterdir()}
    assert "factory" in (project / "source.py").read_text()
    hf = write(folder / "hf-project", of_hf(folder / "hf")) / "own"
    assert {path.name for path in hf.iterdir()} == {"config.json", "tokenizer.json", "model.safetensors"}


def test_configuration_has_the_sizes_of_examples(folder):
    made = basic.configuration(of_factory(folder, arguments={"width": 3}), None)
    source = {"factory": "pack.net:make", "arguments": {"width": 3}}
    sizes = {"task": TEXT, "padding": 0, "tokens": 32}
    assert made["model"] == sizes | {"source": source, "vocabulary": 9, "classes": 3}
    assert (made["infer"]["requests"], made["metric"]["quick_threshold"]) == (10, None)
    hf = basic.configuration(of_hf(folder / "hf"), None)["model"]
    assert hf == sizes | {"source": {}, "vocabulary": 77, "classes": 1}
    five = basic.configuration(of_hf(folder / "hf", classes=5), None)["model"]
    assert (five["source"], five["classes"]) == ({"classes": 5}, 5)
    image = make_spec(IMAGE, service={"model": {"torchvision": "resnet50"}})
    arguments = {"torchvision": "resnet50", "arguments": {"num_classes": 1000}}
    assert basic.configuration(image, None)["model"]["source"] == arguments


def test_absent_fields_of_a_configuration_have_the_defaults_of_transformers(folder, monkeypatch):
    pytest.importorskip("transformers")
    (folder / "hf/config.json").write_text('{"model_type": "roberta"}')
    made = basic.configuration(of_hf(folder / "hf"), None)["model"]
    assert (made["vocabulary"], made["padding"], made["classes"]) == (50265, 1, 2)
    (folder / "hf/config.json").write_text('{"model_type": "nonsense"}')
    with pytest.raises(ValueError, match=r"hf/config.json: transformers does not read it: ") as caught:
        basic.configuration(of_hf(folder / "hf"), None)
    assert "\n" not in str(caught.value)
    monkeypatch.setitem(sys.modules, "transformers", None)
    with pytest.raises(ValueError, match=r"hf/config.json: vocab_size is absent; it must be there, or trans"):
        basic.configuration(of_hf(folder / "hf"), None)


def test_libraries_are_required(folder):
    assert "transformers==5.24.0" in requirements(of_hf(folder / "hf"))
    for name in ("torchvision", "timm"):
        spec = make_spec(IMAGE, service={"model": {name: "resnet50"}})
        assert any(one.startswith(f"{name}==") for one in requirements(spec))
    assert len(requirements(of_factory(folder))) == len(requirements(make_spec()))


def test_changed_files_are_other_inputs(folder):
    before = _basic_inputs(of_factory(folder))
    (folder / "code/pack/net.py").write_text("def make(): return 1")
    assert _basic_inputs(of_factory(folder)) != before


# Commands and cases -------------------------------------------------------------------------------------


def test_inference_of_an_own_network_needs_no_training(folder):
    spec = of_factory(folder)
    assert [_training(spec, mode) for mode in ("quick", "infer", "full")] == ["quick", "none", "full"]
    assert _training(make_spec(), "infer") == "full"
    result = basic.build(spec, REPORT, target := Recorder(folder), folder / "out", training="none")
    assert [arguments[1:] for arguments, _ in target.ran] == [
        [f"{command}.py", "--mode", "quick"] for command in ("initial", "sizes", "export", "infer")
    ]
    assert result.training == "none"
    assert result.files["own/pack/net.py"]
    assert "basic function, no training" in str(result)


def test_pipeline_is_checked_before_the_training(folder):
    types = [{"name": "cpu", "price": 1.0}]
    model = of_factory(folder).service.model
    spec = make_spec(
        TEXT, service={"model": model}, hardware={"types": types}, extend={"steps": ["pipeline"]}
    )
    assert basic.commands(spec, "quick")[0] == ("initial", "division", "sizes")
    assert basic.commands(spec, "none")[0] == ("initial", "sizes")


def test_cases_require_the_metric_of_a_full_training_alone(folder, tmp_path):
    steps = ["pipeline", "onnx", "int8", "prune-channels", "variants"]
    basic.write_cases(of_factory(folder), tmp_path, steps)
    cases = {case.name: case for case in read_script(tmp_path / "cases.toml").case}
    assert cases["evaluate"].modes == ("full",)
    assert [(metric.name, metric.min) for metric in cases["evaluate"].metrics] == [("margin", 0.0)]
    assert [(metric.name, metric.min) for metric in cases["evaluate quick training"].metrics] == [
        ("loss", None)
    ]
    assert [(metric.name, metric.min) for metric in cases["train quickly"].metrics] == [("loss_fall", None)]
    assert cases["export"].modes == ("quick", "infer", "full")
    lost = {name: cases[name].metrics[0] for name in ("int8", "prune channels quickly", "prune channels")}
    assert {name: (one.name, one.max) for name, one in lost.items()} == {
        "int8": ("quality_loss", None),
        "prune channels quickly": ("quality_loss", None),
        "prune channels": ("quality_loss", 0.1),
    }
    assert cases["infer"].time_limit == 3600


# What is refused ----------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("fields", "sentence"),
    [
        ({"factory": "absent:make"}, "there is no module absent in .*code"),
        ({"factory": "pack.other:make"}, "there is no module pack.other in "),
        ({"factory": "data:make"}, "must not have the name of a file of the project, data.py"),
        ({"path": "/nowhere"}, "service.model.path is /nowhere; it must be an existing folder or file"),
    ],
)
def test_factories_that_are_not_there_are_refused(folder, fields, sentence):
    with pytest.raises(ValueError, match=sentence):
        basic.configuration(of_factory(folder, **fields), None)


def test_configurations_that_are_not_there_are_refused(folder):
    pytest.importorskip("huggingface_hub")
    (folder / "empty").mkdir()
    (folder / "other").mkdir()
    (folder / "other/config.json").write_text("[]")
    (folder / "pickled").mkdir()
    for name in ("config.json", "pytorch_model.bin"):
        (folder / "pickled" / name).write_text("{}")
    refused = {
        "empty": "must have a config.json",
        "other": "it must be a configuration of transformers, with a model_type",
        "pickled": "its weights are in pytorch_model.bin, which may run code",
        "nowhere": "which is no folder and is not in the local cache of huggingface_hub; it must be a folder",
    }
    for name, sentence in refused.items():
        path = folder / name
        with pytest.raises(ValueError, match=sentence) as caught:
            basic.configuration(of_hf(path if path.exists() else "nobody/nothing"), None)
        assert "\n" not in str(caught.value)


def test_modules_of_the_project_are_known():
    assert {"data", "common", "source", "quantize", "sequence"} <= own.project_modules()


def test_configuration_is_json(folder):
    assert json.dumps(basic.configuration(of_hf(folder / "hf"), None))
