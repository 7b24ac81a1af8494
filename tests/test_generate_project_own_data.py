"""Examples in projects of the user's own networks: every kind of file gives the same batches."""

import csv
import json
from importlib.util import find_spec

import pytest
from projects import drive, make_spec, write

pytest.importorskip("torch", reason="the generated project computes with PyTorch")
pytest.importorskip("safetensors", reason="the generated project keeps weights in safetensors")

LANGUAGE, TEXT, IMAGE, CLICK = (
    "causal-language-model", "text-classification", "image-classification", "click-through-rate",
)  # fmt: skip
TEXTS = [{"text": f'the "word{i}",\nand more', "label": i % 3} for i in range(40)]
CLICKS = [{"label": i % 2, "a": i / 2, "b": 1, "c": f"red{i % 3}"} for i in range(40)]


def project(folder, task, shape):
    model = {"factory": "net:make", "vocabulary": 300, "classes": 3}
    return write(folder / "project", make_spec(task, service={"model": model, "input_shape": shape}))


def sampled(folder, *sources):
    """Return samples of batches of each source, training and evaluation, or sentences."""
    return drive(folder, *(["drive", "sample", {"data": {"source": name}}, True] for name in sources))


def write_records(folder, name, records):
    """Write records as JSON Lines, CSV and, where it can be, Parquet and a folder of datasets."""
    (folder / f"{name}.jsonl").write_text("".join(json.dumps(record) + "\n" for record in records))
    with (folder / f"{name}.csv").open("w", newline="") as stream:
        writer = csv.DictWriter(stream, list(records[0]))
        writer.writeheader()
        writer.writerows(records)
    names = [f"{name}.jsonl", f"{name}.csv"]
    try:
        import datasets
        import pyarrow
        import pyarrow.parquet
    except ImportError:
        return names
    pyarrow.parquet.write_table(
        pyarrow.Table.from_pylist(records), folder / f"{name}.parquet", row_group_size=7
    )
    datasets.DatasetDict(train=datasets.Dataset.from_list(records)).save_to_disk(folder / name)
    return [*names, f"{name}.parquet", name]


def test_all_kinds_of_files_give_the_same_examples(tmp_path):
    folder = project(tmp_path, CLICK, [2, 1])
    texts = {"task": TEXT, "model": {"task": TEXT, "tokens": 6, "classes": 3}}
    sources = {"clicks": ({}, CLICKS), "texts": (texts, TEXTS)}
    samples = []
    for name, (changes, records) in sources.items():
        for file in write_records(folder, name, records):
            samples.append(["drive", "sample", changes | {"data": {"source": file}}, True])
    found = drive(folder, *samples)
    clicks, *others = found[: len(found) // 2]
    assert all(other == clicks for other in others)
    training, evaluation = clicks
    assert training["shapes"] == [[6, 2], [6, 1], [6]]
    assert [row[0] for row in evaluation["inputs"][0]] == [0, 5, 10, 15, 0, 5]
    texts, *others = found[len(found) // 2 :]
    assert all(other == texts for other in others)
    training, evaluation = texts
    assert training["same"]
    assert training["other"]
    assert training["shapes"] == [[6, 6], [6]]
    assert evaluation["targets"] == [0, 1, 2, 0, 0, 1]  # records 0, 10, 20, 30, and round again
    assert all(sum(token > 0 for token in tokens) == 4 for tokens in training["inputs"][0])


def test_texts_have_the_tokens_of_the_tokenizer(tmp_path):
    tokenizers = pytest.importorskip("tokenizers")
    folder = project(tmp_path, LANGUAGE, [4])
    words = {f"w{i}": i for i in range(50)} | {"?": 50}
    made = tokenizers.Tokenizer(tokenizers.models.WordLevel(words, unk_token="?"))
    made.pre_tokenizer = tokenizers.pre_tokenizers.WhitespaceSplit()
    (folder / "text.txt").write_text("\n".join(f"w{i % 50} w{(i + 1) % 50}" for i in range(200)))
    (folder / "short.jsonl").write_text("".join('{"text": "w1 w2 w3"}\n' for _ in range(20)))
    (folder / "own").mkdir()
    made.save(str(folder / "own/tokenizer.json"))
    text, short = sampled(folder, "text.txt", "short.jsonl")
    for tokens, following in zip(text[0]["inputs"][0], text[0]["targets"], strict=True):
        assert following[:-1] == tokens[1:]
        assert (tokens[1] - tokens[0]) % 50 in (0, 1)
    for tokens, following in zip(short[0]["inputs"][0], short[0]["targets"], strict=True):
        assert following == [token % 3 + 1 for token in tokens]  # the texts are one after the other


def test_images_in_folders_of_their_classes(tmp_path):
    image = pytest.importorskip("PIL.Image")
    folder = project(tmp_path, IMAGE, [3, 4, 4])
    for number in range(30):
        place = folder / "images" / "abc"[number % 3]
        place.mkdir(parents=True, exist_ok=True)
        image.new("RGB", (9, 5), (number * 8, 0, 255)).save(place / f"{number:02}.png")
    ((training, evaluation),) = sampled(folder, "images")
    assert training["shapes"] == [[6, 3, 4, 4], [6]]
    assert evaluation["targets"] == [0, 1, 2, 0, 1, 2]
    assert [one[0][0][0] * 255 for one in evaluation["inputs"][0][:3]] == pytest.approx([0, 8, 16])
    assert evaluation["inputs"][0][0][2][0][0] == 1.0


def test_unusable_records_are_named(tmp_path):
    folder = project(tmp_path, TEXT, [6])
    lines = [json.dumps(record) for record in TEXTS]
    files = {
        "label.jsonl": ([line.replace('"label"', '"class"') for line in lines], "there is no 'label'"),
        "class.jsonl": (
            [json.dumps(one | {"label": 7}) for one in TEXTS],
            "label is 7; it must be a whole number",
        ),
        "name.jsonl": (
            [json.dumps(one | {"label": "good"}) for one in TEXTS],
            "label is 'good'; it must be a",
        ),
        "half.jsonl": (
            [json.dumps(one | {"label": 0.5}) for one in TEXTS],
            "label is 0.5; it must be a whole",
        ),
        "damaged.jsonl": ([line[:-3] for line in lines], "damaged.jsonl, line "),
        "few.jsonl": (lines[:3], "there are 3 examples"),
        "wide.csv": (["text,label", *["a,b,1"] * 40], "it has 3 values; the header has 2"),
    }
    for name, (content, _) in files.items():
        (folder / name).write_text("\n".join(content) + "\n")
    if find_spec("pyarrow"):
        files["bytes.parquet"] = ([], "bytes.parquet is not a valid Parquet file")
        (folder / "bytes.parquet").write_bytes(b"PAR1")
    for (_, sentence), found in zip(files.values(), sampled(folder, *files), strict=True):
        assert sentence in found
        assert "\n" not in found
