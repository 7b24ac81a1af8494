"""The network of a specification: a user's own, and what cannot go with it."""

import pytest
from projects import make_spec

from stageplan.generate.model import Model
from stageplan.generate.spec import read_spec

FACTORY = {"factory": "net:make", "vocabulary": 9, "classes": 3}
TEXT, IMAGE, CLICK = "text-classification", "image-classification", "click-through-rate"


@pytest.mark.parametrize(
    ("task", "model", "source"),
    [
        (CLICK, FACTORY, "factory"),
        (TEXT, {"hf": "bert", "classes": 3}, "hf"),
        (IMAGE, {"torchvision": "resnet50", "arguments": {"width_per_group": 4}}, "torchvision"),
        (IMAGE, {"timm": "resnet50.a1_in1k"}, "timm"),
        (IMAGE, {"preset": "small"}, None),
    ],
)
def test_source_of_a_network(task, model, source):
    assert make_spec(task, service={"model": model}).service.model.source == source


def test_images_of_own_networks_have_the_usual_size():
    assert make_spec(IMAGE, service={"model": {"hf": "x"}}).service.input_shape == (3, 224, 224)
    assert make_spec(IMAGE).service.input_shape == (3, 16, 16)


def test_paths_are_relative_to_the_file_and_names_stay(tmp_path):
    (tmp_path / "net").mkdir()
    text = 'name = "a"\ntask = "image-classification"\nservice = {{ model = {{ {} }} }}'
    found = {}
    for model in ('hf = "net"', 'hf = "gpt2"', 'factory = "net:make", classes = 2, path = "net"'):
        (tmp_path / "spec.toml").write_text(text.format(model))
        read = read_spec(tmp_path / "spec.toml").service.model
        found[model] = read.path or read.hf
    assert list(found.values()) == [str(tmp_path / "net"), "gpt2", str(tmp_path / "net")]


@pytest.mark.parametrize(
    ("task", "model", "sentence"),
    [
        (IMAGE, {"hf": "a", "timm": "b"}, "hf and timm are both given; only one of them may be"),
        (TEXT, {"hf": "a", "layers": 3}, "layers is 3; with hf it must be absent"),
        (TEXT, {"hf": "a", "preset": "small"}, "preset is small; with hf it must be absent"),
        (TEXT, {"hf": "a", "path": "b"}, "path is 'b'; without factory it must be absent"),
        (TEXT, {"download": True}, "download is True; without hf it must be absent"),
        (TEXT, {"arguments": {"a": 1}}, "without factory or torchvision or timm it must be absent"),
        (TEXT, {"hf": "a", "vocabulary": 3}, "service.model.vocabulary is 3; with hf it must be absent"),
        (TEXT, {"factory": "net:make"}, "service.model.vocabulary is absent; with factory it must be given"),
        (
            CLICK,
            {"hf": "a"},
            "service.model.hf is 'a'; for click-through-rate it must be absent, and factory",
        ),
        (TEXT, {"timm": "a"}, "for text-classification it must be absent, and factory or hf may be given"),
    ],
)
def test_what_does_not_go_together_is_refused(task, model, sentence):
    with pytest.raises(ValueError, match=sentence):
        make_spec(task, service={"model": model})


def test_a_function_is_named_by_module_and_name():
    with pytest.raises(
        ValueError, match=r"factory is 'net'; it must be a function, as 'package.module:function'"
    ):
        Model(factory="net")
