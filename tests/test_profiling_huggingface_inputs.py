from itertools import islice

import pytest

torch = pytest.importorskip("torch")
transformers = pytest.importorskip("transformers")

from stageplan.profiling import huggingface  # noqa: E402
from stageplan.profiling.huggingface_inputs import examples  # noqa: E402


def build(name):
    return huggingface.build(name, torch.bfloat16, "meta")


def example(*args, **options):
    return next(examples(*args, **options))


def shapes_of(made):
    return {key: tuple(value.shape) for key, value in made.items()}


@pytest.mark.parametrize(
    ("name", "shapes"),
    [
        ("gpt2", {"input_ids": (2, 512)}),
        ("t5", {"input_ids": (2, 512), "decoder_input_ids": (2, 512)}),
        ("resnet", {"pixel_values": (2, 3, 224, 224)}),
        ("whisper", {"input_features": (2, 80, 3000), "decoder_input_ids": (2, 448)}),
        ("wav2vec2", {"input_values": (2, 16_000)}),
    ],
)
def test_examples_are_what_networks_take(name, shapes):
    made = example(build(name), 2)
    assert {key: tuple(value.shape) for key, value in made.items()} == shapes


def test_examples_of_other_sizes():
    assert example(build("gpt2"), 3, sequence=7)["input_ids"].shape == (3, 7)
    images = example(build("resnet"), 1, shape=(1, 3, 64, 32))
    assert images["pixel_values"].shape == (1, 3, 64, 32)
    with pytest.raises(ValueError, match="sequence is 1025; it must be at most 1024"):
        example(build("gpt2"), 1, sequence=1025)


class Network(torch.nn.Module):
    """Takes what its configuration and its forward pass say."""

    main_input_name = "input_ids"

    def __init__(self, config, forward, main="input_ids"):
        super().__init__()
        self.config, self.forward, self.main_input_name = config, forward, main
        self.first = torch.nn.Linear(24, 4)


TINY = transformers.GPT2Config(vocab_size=11, n_positions=4, eos_token_id=10, bos_token_id=3)


def test_tokens_are_of_text_and_always_the_same():
    first, second = (example(Network(TINY, lambda input_ids: None), 40)["input_ids"] for _ in range(2))
    assert torch.equal(first, second)
    assert set(first.flatten().tolist()) == set(range(11)) - {3, 10}


@pytest.mark.parametrize(
    ("forward", "main", "shapes"),
    [
        (lambda input_ids, bbox: None, "input_ids", {"input_ids": (2, 4), "bbox": (2, 4, 4)}),
        (lambda pixel_values, grid_thw: None, "input_ids", {"pixel_values": (8, 48), "grid_thw": (2, 3)}),
        (lambda hidden_states, grid_thw: None, "input_ids", {"hidden_states": (8, 48), "grid_thw": (2, 3)}),
        (
            lambda pixel_values, pixel_attention_mask, spatial_shapes: None,
            "pixel_values",
            {"pixel_values": (2, 4, 48), "pixel_attention_mask": (2, 4), "spatial_shapes": (2, 2)},
        ),
        (lambda past_values=None: None, "past_values", {"past_values": (2, 512, 1)}),
        (
            lambda input_features, input_features_mask: None,
            "input_features",
            {"input_features": (2, 20, 800), "input_features_mask": (2, 800)},
        ),
    ],
)
def test_examples_have_what_a_forward_pass_needs(forward, main, shapes):
    config = transformers.GPT2Config(vocab_size=11, n_positions=4)
    config.update({"image_size": 8, "patch_size": 4, "num_mel_bins": 20})
    assert shapes_of(example(Network(config, forward, main), 2)) == shapes


def test_the_inputs_of_all_parts_come_after_the_plainest():
    network = Network(TINY, lambda input_ids=None, pixel_values=None, labels=None: None)
    first, *others = islice(examples(network, 1), 6)
    assert list(first) == ["input_ids"]
    assert shapes_of(others[0]) == {"input_ids": (1, 4), "pixel_values": (1, 3, 224, 224)}
    assert all(list(other) == ["input_ids", "pixel_values"] for other in others)


def test_layouts_have_the_width_that_the_first_layer_takes():
    network = Network(TINY, lambda input_features: None, "input_features")
    shapes = [shapes_of(made)["input_features"] for made in examples(network, 1)]
    assert (1, 80, 800) in shapes
    assert (1, 800, 24) in shapes


def test_inputs_that_cannot_be_made_up_are_named():
    with pytest.raises(ValueError, match="model takes session, which cannot be made up; it must be profiled"):
        example(Network(TINY, lambda session: None), 1)
