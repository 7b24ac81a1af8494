"""Examples for networks of the user's own: what is copied, what they need, and what is refused."""

import pytest
from projects import make_spec, write

from stageplan.generate import examples
from stageplan.generate.environment import requirements
from stageplan.generate.steps import _basic_inputs, _check_files

LANGUAGE, TEXT, IMAGE = "causal-language-model", "text-classification", "image-classification"
PARQUET = {"file": "texts.parquet", "tokenizer": "tokenizer.json"}


@pytest.fixture
def place(tmp_path):
    """Files and folders of examples by their names; they are not read here."""
    for name in ("texts.csv", "texts.parquet", "text.txt", "texts.xml", "tokenizer.json"):
        (tmp_path / name).write_text("text,label\n")
    for name in ("images/cat", "images/dog", "saved", "flat"):
        (tmp_path / name).mkdir(parents=True)
    (tmp_path / "images/cat/1.png").write_text("")
    (tmp_path / "saved/state.json").write_text("{}")
    return tmp_path


def of_own(task, place, **data):
    model = {"factory": "net:make", "vocabulary": 9, "classes": 2}
    data = {name: str(place / path) for name, path in data.items()}
    return make_spec(task, service={"model": model}, data=data)


@pytest.mark.parametrize(
    ("task", "data", "source", "needed"),
    [
        (TEXT, {"file": "texts.csv"}, "examples.csv", set()),
        (TEXT, PARQUET, "examples.parquet", {"pyarrow", "tokenizers"}),
        (LANGUAGE, {"file": "text.txt"}, "examples.txt", set()),
        (LANGUAGE, {"folder": "saved"}, "examples", {"datasets"}),
        (IMAGE, {"folder": "images"}, "examples", {"pillow"}),
        (IMAGE, {"folder": "saved"}, "examples", {"datasets", "pillow"}),
        (IMAGE, {}, None, set()),
    ],
)  # fmt: skip
def test_examples_are_copied_and_their_packages_required(place, task, data, source, needed):
    spec = of_own(task, place, **data)
    _check_files(spec)
    assert examples.source_of(spec) == source
    assert examples.packages(spec) == needed
    assert {one.partition("==")[0] for one in requirements(spec)} == needed | {
        "numpy",
        "safetensors",
        "torch",
    }
    project = write(place / "project", spec)
    assert source is None or (project / source).exists()
    assert (project / "own/tokenizer.json").is_file() == ("tokenizer" in data)


def test_changed_examples_are_other_inputs(place):
    before = _basic_inputs(of_own(IMAGE, place, folder="images"))
    (place / "images/dog/2.png").write_text("a")
    assert _basic_inputs(of_own(IMAGE, place, folder="images")) != before


@pytest.mark.parametrize(
    ("task", "data", "sentence"),
    [
        (TEXT, {"file": "texts.xml"}, "it must end in .jsonl or .csv or .parquet"),
        (
            IMAGE,
            {"folder": "flat"},
            "it must have a folder of images for each class, or be one that the library",
        ),
        (TEXT, {"folder": "images"}, "it must be one that the library datasets has saved"),
        (TEXT, {"folder": "nowhere"}, "it must be an existing folder"),
        (TEXT, {"tokenizer": "nowhere"}, r"data.tokenizer is .*nowhere; it must be an existing file"),
    ],
)
def test_examples_that_cannot_be_read_are_refused(place, task, data, sentence):
    with pytest.raises(ValueError, match=sentence):
        _check_files(of_own(task, place, **data))


def test_a_tokenizer_that_cannot_be_read_is_refused(place):
    (place / "config.json").write_text('{"model_type": "bert"}')
    (place / "vocab.txt").write_text("[PAD]")
    service = {"model": {"hf": str(place)}}
    spec = make_spec(TEXT, service=service, data={"file": str(place / "texts.csv")})
    _check_files(spec)  # there is a tokenizer.json too
    (place / "tokenizer.json").unlink()
    with pytest.raises(
        ValueError, match=r"data.tokenizer is absent; the tokenizer in .* has no tokenizer.json"
    ):
        _check_files(spec)


def test_built_in_networks_have_one_file():
    with pytest.raises(ValueError, match=r"data.folder is 'a'; for a built-in network it must be absent"):
        make_spec(TEXT, data={"folder": "a"})
    with pytest.raises(ValueError, match="folder is 'a'; it must be absent where there is a file"):
        make_spec(TEXT, data={"folder": "a", "file": "b"})
