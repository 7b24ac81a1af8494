import json

import msgspec
import pytest

torch = pytest.importorskip("torch")
transformers = pytest.importorskip("transformers")

import stageplan as sp  # noqa: E402
from stageplan.profiling import huggingface, modules  # noqa: E402
from stageplan.profiling.network import Options  # noqa: E402


def build(name):
    return huggingface.build(name, torch.bfloat16, "meta")


@pytest.mark.parametrize(("dtype", "bits"), [(None, 32), ("float32", 32), ("bfloat16", 16), ("float64", 32)])
def test_weights_have_the_precision_of_the_configuration(tmp_path, dtype, bits):
    config = {"model_type": "llama", "num_hidden_layers": 1, "hidden_size": 64, "dtype": dtype}
    path = tmp_path / "config.json"
    path.write_text(json.dumps({name: value for name, value in config.items() if value is not None}))
    network = huggingface.build(str(path), None, "meta")
    assert next(network.parameters()).dtype.itemsize * 8 == bits


def count(module):
    return sum(weight.numel() for weight in module.parameters())


@pytest.mark.parametrize(
    ("name", "millions", "tolerance"),
    [
        ("gpt2", 124.439808, 0),  # huggingface.co/openai-community/gpt2; "124M" in github.com/openai/gpt-2
        ("google-bert/bert-large-uncased", 336.226108, 0),  # huggingface.co; Devlin et al. 2019: 340M
        ("microsoft/resnet-50", 25.557032, 0),  # docs.pytorch.org, torchvision.models.resnet50
        ("meta-llama/Llama-2-70b-hf", 68976.648192, 0),  # huggingface.co/meta-llama/Llama-2-70b-hf
        ("mistralai/Mixtral-8x7B-v0.1", 46.7e3, 1e-3),  # Jiang et al. 2024: 47B; mistral.ai: 46.7B
        ("resnet-18", 11.689512, 0),  # docs.pytorch.org, torchvision.models.resnet18
        ("Qwen3-30B-A3B", 30.5e3, 1e-2),  # Qwen Team 2025, table 2
        ("vit-base-patch16-224", 86.567656, 0),  # docs.pytorch.org, torchvision.models.vit_b_16
        ("t5-small", 60.506624, 0),  # huggingface.co/google-t5/t5-small: 60.5M
    ],
)
def test_parameters_are_as_published(name, millions, tolerance):
    assert count(build(name)) / 1e6 == pytest.approx(millions, rel=tolerance or 1e-12)


def test_every_published_name_builds():
    for name, entry in huggingface.published().items():
        assert entry["source"]
        config = transformers.AutoConfig.for_model(**entry["config"])
        assert hasattr(transformers, entry["architecture"]), name
        unknown = set(entry["config"]) - set(config.to_dict()) - set(config.attribute_map) - {"num_labels"}
        assert not unknown, name  # a misspelt field would silently keep its default


def test_a_model_type_has_defaults():
    assert type(build("bert")).__name__ == "BertForPreTraining"
    assert type(build("vit")).__name__ == "ViTForImageClassification"
    assert next(build("gpt2").parameters()).dtype == torch.bfloat16


TINY = {"model_type": "gpt2", "n_layer": 1, "n_embd": 8, "n_head": 2, "vocab_size": 11}


def test_a_configuration_in_a_file_or_its_directory(tmp_path):
    path = tmp_path / "config.json"
    path.write_text(json.dumps(TINY | {"architectures": ["GPT2Model"]}))
    assert type(build(str(path))).__name__ == type(build(str(tmp_path))).__name__ == "GPT2Model"
    path.write_text(json.dumps(TINY))
    assert type(build(str(path))).__name__ == "GPT2LMHeadModel"


@pytest.mark.parametrize(
    ("text", "words"),
    [
        ("{", "config.json: it is not valid JSON"),
        ("[]", "config.json: it has no model_type; it must be a configuration of transformers"),
        ('{"model_type": "nothing"}', "config.json: model_type is 'nothing'; transformers does not know it"),
        (json.dumps(TINY | {"n_head": 3}), "transformers cannot build it"),
    ],
)
def test_a_wrong_configuration_is_refused(tmp_path, text, words):
    path = tmp_path / "config.json"
    path.write_text(text)
    with pytest.raises(ValueError, match=words):
        build(str(path))


@pytest.mark.parametrize(
    ("fields", "words"),
    [
        (TINY | {"n_layer": "x"}, "transformers cannot build it: .*expected int, got str"),
        (TINY | {"n_layer": 10**9}, "n_layer is 1000000000; it must be at most 4096"),
        (TINY | {"architectures": [5]}, "transformers cannot build it: attribute name must be string"),
        (TINY | {"architectures": ["pipeline"]}, "transformers cannot build it: 'function' object has no"),
        ({"model_type": "vit", "image_size": [1, 2, 3]}, "no example can be made: too many values"),
        (
            {"model_type": "superpoint", "encoder_hidden_sizes": [8, 8, 8, 8], "decoder_hidden_size": 8},
            r"SuperPointForKeypointDetection cannot run .*depends on the values .*\(called with pixel_values "
            r"1x3x224x224\); its example is",
        ),
    ],
)
def test_configurations_that_cannot_be_profiled_are_refused_in_one_line(tmp_path, fields, words):
    path = tmp_path / "config.json"
    path.write_text(json.dumps(fields))
    with pytest.raises(ValueError, match=words) as error:
        sp.profile(f"hf:{path}", devices=["a100-80g"])
    assert "\n" not in str(error.value)


@pytest.mark.parametrize("depth", [600, 100_000])
def test_deep_nesting_is_refused(tmp_path, depth):
    path = tmp_path / "config.json"
    path.write_text('{"model_type": "gpt2", "x": ' + '{"x": ' * depth + "0" + "}" * depth + "}")
    with pytest.raises(ValueError, match="it is nested too deeply"):
        build(str(path))


def test_an_unknown_name_is_refused_with_those_that_are_known():
    with pytest.raises(
        ValueError, match=r"model is 'hf:gtp2'; it must be hf: and one of gpt2, .*llama-2-70b.*config.json"
    ):
        build("gtp2")
    with pytest.raises(FileNotFoundError):
        build("nowhere/config.json")


def test_quantisation_is_left_out_and_noted(tmp_path):
    path = tmp_path / "config.json"
    path.write_text(json.dumps(TINY | {"quantization_config": {"quant_method": "gptq", "bits": 4}}))
    workload = sp.profile(f"hf:{path}", devices=["a100-80g"], precision="bf16")
    assert workload.notes[0] == "quantization_config is left out: the weights count as bf16"


TOWER = {"hidden_size": 8, "intermediate_size": 8, "num_hidden_layers": 2, "num_attention_heads": 2}


def profiled(tmp_path, fields, **options):
    path = tmp_path / "config.json"
    path.write_text(json.dumps(fields))
    own = sum(weight.numel() * weight.element_size() for weight in build(str(path)).parameters())
    workload = sp.profile(f"hf:{path}", devices=["a100-80g"], precision="bf16", **options)
    assert sum(layer.parameters for layer in workload.layers) == own
    return workload


def test_a_configuration_without_a_head_is_of_the_outermost_network_of_its_own(tmp_path):
    text = profiled(tmp_path, TOWER | {"model_type": "siglip_text_model", "vocab_size": 9})
    assert text.architecture == "SiglipTextModel"
    assert [layer.kind for layer in text.layers] == ["embedding", "block", "block", "norm", "head"]


def test_a_configuration_of_a_part_of_networks_is_refused():
    with pytest.raises(ValueError, match="model type sam_mask_decoder has no class of its own"):
        build("sam_mask_decoder")


def test_buffers_that_are_made_of_constants_have_values():
    buffers = dict(build("siglip_text_model").named_buffers())
    [(name, positions)] = [(name, buffer) for name, buffer in buffers.items() if "position_ids" in name]
    assert positions.tolist() == [list(range(64))], name


def test_networks_that_run_token_by_token_are_read_with_a_short_example(tmp_path, monkeypatch):
    fields = {"model_type": "rwkv", "hidden_size": 8, "num_hidden_layers": 1, "vocab_size": 9}
    monkeypatch.setattr(modules, "MOST_OPERATIONS", 800)
    workload = profiled(tmp_path, fields, mode="inference")
    assert workload.sequence == 16
    [note] = workload.notes
    assert note.startswith("a pass over 512 tokens has more than ")
    assert profiled(tmp_path, fields, mode="inference", sequence=17).sequence == 17
    monkeypatch.setattr(modules, "MOST_OPERATIONS", 20)
    with pytest.raises(ValueError, match="has more than 80 operations; sequence must be given"):
        profiled(tmp_path, fields, mode="inference")


def test_the_first_example_that_runs_is_taken(tmp_path):
    path = tmp_path / "config.json"
    fields = {
        "text_config": TOWER | {"vocab_size": 9},
        "vision_config": TOWER | {"image_size": 8, "patch_size": 4},
    }
    path.write_text(json.dumps({"model_type": "siglip", "architectures": ["SiglipModel"]} | fields))
    options = Options("inference", None, None, None, None, None)
    loaded = huggingface.load(str(path), options, None)
    assert len(loaded.kwargs) == 1
    assert list(modules.that_runs(loaded, options).kwargs) == ["input_ids", "pixel_values"]


def test_statistics_of_a_batch_may_need_two_examples():
    train = Options("train", None, None, None, None, None)
    loaded = huggingface.load("resnet", train, None)
    assert (loaded.batch, {one.batch for one in loaded.others}) == (1, {1, 2})
    loaded = huggingface.load("resnet", train._replace(batch=1), None)
    assert {one.batch for one in loaded.others} == {1}


LLAVA = {
    "model_type": "llava",
    "text_config": TOWER | {"model_type": "llama", "vocab_size": 31, "num_key_value_heads": 2},
    "vision_config": TOWER | {"model_type": "clip_vision_model", "image_size": 8, "patch_size": 4},
    "image_token_index": 30,
}


def test_towers_are_given_their_input(tmp_path):
    workload = profiled(tmp_path, LLAVA, sequence=12)
    assert workload.sequence == 12
    assert [layer.name.rpartition("tower.")[2] for layer in workload.layers][:2] != ["", ""]
    assert "multi_modal_projector" in " ".join(layer.name for layer in workload.layers)
    assert not any("multi_modal_projector" in note for note in workload.notes)


def test_towers_that_a_text_does_not_run_are_noted(tmp_path):
    [note] = profiled(tmp_path, LLAVA, sequence=4).notes  # as many as the features of an image
    assert " % of the weights do not run on this example (model.vision_tower, model.multi_modal_proj" in note


def test_a_workload_says_what_it_is_of(tmp_path):
    path = tmp_path / "config.json"
    path.write_text(json.dumps(TINY))
    workload = sp.profile(
        f"hf:{path}", devices=["a100-80g"], mode="inference", precision="bf16", batch=2, sequence=8
    )
    assert msgspec.structs.asdict(workload.conditions) == {
        "architecture": "GPT2LMHeadModel",
        "mode": "inference",
        "precision": "bf16",
        "batch": 2.0,
        "sequence": 8,
        "optimizer": "",
        "zero": None,
        "context": None,
        "concurrency": None,
        "kv_cache": None,
    }
