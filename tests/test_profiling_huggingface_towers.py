import pytest

torch = pytest.importorskip("torch")
transformers = pytest.importorskip("transformers")

from stageplan.profiling.huggingface_towers import with_towers  # noqa: E402

SIZES = {"hidden_size": 8, "intermediate_size": 8, "num_hidden_layers": 1, "num_attention_heads": 2}


def llava(**fields):
    config = transformers.LlavaConfig(
        text_config=transformers.LlamaConfig(vocab_size=31, **SIZES),
        vision_config=transformers.CLIPVisionConfig(image_size=8, patch_size=4, **SIZES),
        **({"image_token_id": 30} | fields),
    )
    with torch.device("meta"):
        return transformers.LlavaForConditionalGeneration(config)


def test_as_many_tokens_stand_for_an_image_as_it_has_features():
    made = with_towers(llava(), 2, 9)
    assert {name: tuple(tensor.shape) for name, tensor in made.items()} == {
        "input_ids": (2, 9),
        "pixel_values": (2, 3, 8, 8),
    }
    assert (made["input_ids"] == 30).sum(1).tolist() == [4, 4]  # 2 x 2 patches
    assert with_towers(llava(), 1, None)["input_ids"].shape == (1, 512)


@pytest.mark.parametrize(
    ("network", "sequence"),
    [
        (lambda: llava(), 4),  # no room for text
        (lambda: llava(image_token_id=31), None),  # not of the vocabulary
        (lambda: transformers.LlamaForCausalLM(transformers.LlamaConfig(vocab_size=31, **SIZES)), None),
    ],
)
def test_networks_without_towers_that_can_run_have_no_such_example(network, sequence):
    assert with_towers(network(), 1, sequence) is None
