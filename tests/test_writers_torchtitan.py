"""torchtitan's flags, read back as its parser does: one list, of names between commas, for each stage."""

import shlex

import pytest
from writers import language_model, plan_of

import stageplan as sp


def flags(text):
    """Values of each flag, without the section parallelism."""
    found = {}
    for word in shlex.split(text.replace("\\\n", "")):
        if word.startswith("--"):
            values = found[word.removeprefix("--parallelism.")] = []
        else:
            values.append(word)
    return found


def test_every_module_is_in_one_part_and_in_order():
    plan = plan_of(language_model(6), [0] * 3 + [1] * 2 + [0] * 4)
    exported = sp.export(plan, "torchtitan")
    assert flags(exported.text) == {
        "pipeline-parallel-degree": ["3"],
        "data-parallel-replicate-degree": ["1"],
        "data-parallel-shard-degree": ["1"],
        "module-fqns-per-model-part": [",".join(part) for part in exported.value],
    }
    assert [len(part) for part in exported.value] == [3, 2, 4]
    names = ["tok_embeddings", *(f"layers.{i}" for i in range(6)), "norm", "lm_head"]
    assert [name for part in exported.value for name in part] == names


def test_other_names_become_its_own():
    workload = language_model(2)
    layers = [
        sp.Layer(name=f"model.{i}", kind=layer.kind, compute=layer.compute)
        for i, layer in enumerate(workload.layers)
    ]
    plan = plan_of(sp.Workload(name="other", layers=layers), [0, 0, 0, 1, 1])
    assert sp.export(plan, "torchtitan").value == [
        ["tok_embeddings", "layers.0", "layers.1"],
        ["norm", "lm_head"],
    ]


def test_models_of_another_form_are_refused():
    workload = language_model(4, kinds=["embedding", "embedding", "block", "block", "block", "norm", "head"])
    with pytest.raises(
        ValueError, match="its layers are embedding, embedding, blocks, norm, head; the runtime's"
    ):
        sp.export(plan_of(workload, [0] * 3 + [1] * 4), "torchtitan")


def test_parted_ties_are_refused():
    with pytest.raises(
        ValueError, match="tok_embeddings and lm_head share weights but not a stage; the runtime does not"
    ):
        sp.export(plan_of(language_model(4, tied=True), [0] * 3 + [1] * 4), "torchtitan")


@pytest.mark.parametrize(
    ("blocks", "stages", "layers"),
    [(32, 4, (9, 9, 8, 9)), (6, 2, (4, 5)), (3, 5, (1, 1, 1, 1, 2)), (2, 2, (2, 3))],
)
def test_the_default_counts_embeddings_and_head_as_a_layer_each(blocks, stages, layers):
    ends = [*range(1, stages), blocks + 3]
    scheme = [
        stage % 2 for stage, (a, b) in enumerate(zip([0, *ends], ends, strict=False)) for _ in range(a, b)
    ]
    found = sp.export(plan_of(language_model(blocks), scheme), "torchtitan").comparison.default_layers
    assert found == layers
