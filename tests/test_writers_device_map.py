"""Device maps: their rules, and models that run by them."""

import json
from importlib.util import find_spec

import pytest
from writers import language_model, plan_of

import stageplan as sp


def test_every_layer_has_the_device_of_its_stage():
    plan = plan_of(language_model(3), [0] * 2 + [1] * 2 + [0] * 2)
    exported = sp.export(plan, "device-map")
    assert json.loads(exported.text) == exported.value
    assert list(exported.value) == list(plan.problem.layer_names)
    assert list(exported.value.values()) == [0, 0, 1, 1, 2, 2]


def test_stages_need_not_be_neighbours():
    plan = plan_of(language_model(3), [0, 1, 0, 1, 0, 0], merge="type")
    assert list(sp.export(plan, "device-map").value.values()) == [0, 1, 0, 1, 0, 0]


def test_layers_that_share_weights_get_one_device():
    plan = plan_of(language_model(3, tied=True), [0] * 2 + [1] * 4)
    exported = sp.export(plan, "device-map")
    assert list(exported.value.values()) == [0, 0, 1, 1, 1, 0]
    assert exported.note.startswith("lm_head is placed with tok_embeddings, whose weights it shares; ")
    assert exported.note in str(exported)


def test_a_single_stage_has_no_turns():
    assert sp.export(plan_of(language_model(3), [0] * 6), "device-map").note == ""


def test_stages_run_in_turn():
    """Nothing is pipelined: an example takes the sum of all stages, and each transfer once."""
    workload = language_model(3, seconds=(1e-3, 3e-3), tensor=1e5)
    plan = plan_of(workload, [0] * 4 + [1] * 2, bandwidth=1e8)
    found = sp.export(plan, "device-map").comparison
    assert found.measure == "all stages in turn"
    assert found.time == pytest.approx(4 * 1e-3 + 2 * 3e-3 + 1e5 / 1e8)
    assert found.default_layers == (3, 3)
    assert found.default_time == pytest.approx(3 * 1e-3 + 3 * 3e-3 + 1e5 / 1e8)


SIZES = {"vocab_size": 50, "num_hidden_layers": 3, "hidden_size": 16, "num_attention_heads": 2}
LLAMA = SIZES | {"intermediate_size": 32, "num_key_value_heads": 1, "head_dim": 8}
FEW = {"bos_token_id": 0, "eos_token_id": 1, "pad_token_id": 2}
NETWORKS = {
    "t5": {"vocab_size": 50, "d_model": 16, "d_ff": 32, "d_kv": 8, "num_layers": 2, "num_heads": 2},
    "bart": {"vocab_size": 50, "d_model": 16, "encoder_layers": 2, "decoder_layers": 2, "encoder_ffn_dim": 32}
    | {"decoder_ffn_dim": 32, "encoder_attention_heads": 2, "decoder_attention_heads": 2},
    "gemma3_text": LLAMA,
    "xlnet": {"vocab_size": 50, "d_model": 16, "n_layer": 3, "n_head": 2, "d_inner": 32},
    "gpt2": {"vocab_size": 50, "n_embd": 16, "n_layer": 3, "n_head": 2, "n_positions": 16},
    "llama": LLAMA,
    "bert": SIZES | {"intermediate_size": 32},
}


@pytest.mark.filterwarnings("ignore::DeprecationWarning")  # of what transformers and accelerate use
@pytest.mark.filterwarnings("ignore::FutureWarning")
@pytest.mark.filterwarnings("ignore:.*do not match any submodules")  # parameters beside the layers
@pytest.mark.parametrize("model_type", NETWORKS)
def test_every_parameter_and_buffer_has_a_device(tmp_path, model_type):
    for name in ("torch", "transformers", "accelerate"):
        if find_spec(name) is None:
            pytest.skip(f"{name} is not installed")
    import torch
    from accelerate.utils import check_device_map

    from stageplan.profiling.huggingface import build

    path = tmp_path / "config.json"
    path.write_text(json.dumps({"model_type": model_type} | FEW | NETWORKS[model_type]))
    workload = sp.profile(f"hf:{path}", devices=["t4"], mode="inference", sequence=8)
    cluster = sp.Cluster(name="three", types=[sp.DeviceType(name="t4", price=1.0, limit=3)])
    goal = sp.Goal(objective="throughput", split=True, max_devices_per_stage=1)
    layers = len(workload.layers)
    plan = sp.Plan.of(sp.Problem(workload, cluster, goal), [i * 3 // layers % 2 for i in range(layers)])
    device_map = sp.export(plan, "device-map").value
    network = build(str(path), torch.float32, "meta")
    check_device_map(network, device_map)
    held = (*network.named_parameters(remove_duplicate=False), *network.named_buffers(remove_duplicate=False))
    devices = {}
    for name, tensor in held:
        places = {device for path, device in device_map.items() if f"{name}.".startswith(f"{path}.")}
        assert len(places) == 1, name
        assert devices.setdefault(id(tensor), places) == places, name  # tied weights too
    assert set().union(*devices.values()) >= {0, 1}  # a head that is tied is with the embeddings


@pytest.mark.filterwarnings("ignore::DeprecationWarning")  # of what transformers and accelerate use
@pytest.mark.filterwarnings("ignore::FutureWarning")
def test_a_model_runs_by_its_map(tmp_path):
    """One part of it on the processor, the other on the disk: its outputs are those of the whole model."""
    for name in ("torch", "transformers", "accelerate"):
        if find_spec(name) is None:
            pytest.skip(f"{name} is not installed")
    import torch
    from accelerate import dispatch_model
    from accelerate.utils import check_device_map
    from transformers import LlamaConfig, LlamaForCausalLM

    torch.manual_seed(0)
    sizes = {"vocab_size": 50, "hidden_size": 16, "intermediate_size": 32, "num_hidden_layers": 3}
    ids = {"num_attention_heads": 2, "use_cache": False, "bos_token_id": 0, "eos_token_id": 0}
    model = LlamaForCausalLM(LlamaConfig(**sizes, **ids)).eval()
    names = ["model.embed_tokens", *(f"model.layers.{i}" for i in range(3)), "model.norm", "lm_head"]
    layers = [
        sp.Layer(name=name, kind=layer.kind, compute=layer.compute)
        for name, layer in zip(names, language_model(3).layers, strict=True)
    ]
    plan = plan_of(sp.Workload(name="llama", layers=layers), [0] * 2 + [1] * 4)
    device_map = sp.export(plan, "device-map").value
    check_device_map(model, device_map)
    tokens = torch.randint(0, 50, (2, 7))
    expected = model(input_ids=tokens).logits
    places = {name: ("cpu", "disk")[device] for name, device in device_map.items()}
    placed = dispatch_model(model, places, main_device="cpu", offload_dir=tmp_path)
    assert {str(weight.device) for weight in placed.model.layers[1].parameters()} == {"meta"}
    assert torch.equal(placed(input_ids=tokens).logits, expected)
