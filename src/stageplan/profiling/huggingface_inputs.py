"""Made-up examples of networks of transformers: by the names of the arguments of their forward passes.

The names have the same meaning in all of transformers; sizes are those of the configuration.
"""

from __future__ import annotations

import inspect
import sys
from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from math import prod
from typing import Any, NamedTuple

import torch
from torch import Tensor, nn

from ..errors import InputError

SEQUENCE = 512
IMAGE = 224
PATCH = 16
FRAMES = 8  # of a video
AUDIO = 16_000  # samples: one second
SPECTRA = 800  # of sound: eight seconds
OBJECTS = 36  # regions of an image

MELS = ("num_mel_bins", "input_feat_per_channel", "n_mels", "num_mels", "feature_size", "input_dim")
CHANNELS = ("num_channels", "in_channels", "in_chans", "image_channels")

# The arguments that may each be the whole input of a network, or that of one of its parts.
MAIN = (
    "input_ids",
    "pixel_values",
    "input_features",
    "input_values",
    "past_values",
    "flattened_patches",
    "pixel_values_videos",
    "inputs_embeds",
    "hidden_states",
)


class ExampleError(InputError):
    """No example can be made; the message is a complete sentence."""


def examples(
    network: nn.Module,
    batch: int,
    sequence: int | None = None,
    shape: Sequence[int] | None = None,
    name: str = "sequence",
) -> Iterator[dict[str, Tensor]]:
    """Make batches of examples of what a network of transformers may take, the plainest first.

    The plainest is its main input, with whatever else its forward pass cannot do without; then come the same
    in other layouts (images as patches, sound as rows of samples), and the inputs of all of its parts.

    Parameters
    ----------
    network
        Says which inputs it takes.
    batch
        Number of examples.
    sequence
        Tokens (of audio: samples) of an example; default: 512, or the most that the network takes.
    shape
        Of the whole batch, instead, where the network takes images or the like.
    name
        What errors call `sequence`.

    Raises
    ------
    ValueError
        It takes something else.
    """
    config: Any = network.config
    arguments = inspect.signature(network.forward).parameters
    required = [called for called, argument in arguments.items() if is_required(argument)]
    named = str(network.main_input_name)
    main = named if named in arguments else next((called for called in MAIN if called in arguments), named)
    maker = _Maker(network, config, batch, sequence, shape, frozenset(arguments), name)
    plain = dict.fromkeys([main, *required])
    if config.is_encoder_decoder and "decoder_input_ids" in arguments:
        plain["decoder_input_ids"] = None
    yield from maker.layouts(list(plain))
    full = [called for called in arguments if called in plain or called in PARTS]
    if shape is None and len(full) > len(plain):
        yield from maker.layouts(full)


def layouts(
    network: nn.Module, names: Sequence[str], arguments: Iterable[str], batch: int
) -> Iterator[dict[str, Tensor]]:
    """Make some of the arguments of a function of a network, in each of their layouts."""
    return _Maker(network, network.config, batch, None, None, frozenset(arguments)).layouts(names)


def text(network: nn.Module, batch: int, length: int) -> Tensor:
    """Make tokens of text alone."""
    return _Maker(network, network.config, batch, length, None, frozenset()).tokens()[0]


def is_required(argument: inspect.Parameter) -> bool:
    """Whether an argument of a function must be given."""
    return argument.default is argument.empty and argument.kind not in (
        argument.VAR_POSITIONAL,
        argument.VAR_KEYWORD,
    )


class _Maker(NamedTuple):
    """Makes tensors of the sizes that a configuration says."""

    network: nn.Module
    config: Any
    batch: int
    sequence: int | None
    shape: Sequence[int] | None
    arguments: frozenset[str]
    length_name: str = "sequence"

    def layouts(self, names: Sequence[str]) -> Iterator[dict[str, Tensor]]:
        """Make the named arguments, in each of their layouts."""
        made = {name: self.make(name) for name in names}
        if self.shape is not None and names[0] not in ("input_ids", "decoder_input_ids"):
            made[names[0]] = [torch.rand(tuple(self.shape))]
        for place in range(max(map(len, made.values()))):
            yield {name: tensors[min(place, len(tensors) - 1)] for name, tensors in made.items()}

    def make(self, name: str) -> list[Tensor]:
        """Make an argument, in each layout that it may have."""
        maker = MAKERS.get(name) or next(
            (maker for ending, maker in ENDINGS.items() if name.endswith(ending)), None
        )
        if maker is None:
            raise ExampleError(
                f"model takes {name}, which cannot be made up; it must be profiled with an example in Python"
            )
        return maker(self)

    def find(self, *names: str, default: int = 0) -> int:
        """Find the first of a configuration's fields, or of the configurations in it, that is a number."""
        found = self.look(*names)
        return int(found) if isinstance(found, (int, float)) else default

    def look(self, *names: str) -> Any:
        """Find the first of a configuration's fields, or of the configurations in it, that is set."""
        configs = [self.config]
        for config in configs:
            for name in names:
                if (value := getattr(config, name, None)) is not None:
                    return value
            parts = (getattr(config, name, None) for name in getattr(config, "sub_configs", ()))
            configs += [part for part in parts if part is not None]
        return None

    def width(self) -> int | None:
        """Width of what the first layer of the network takes."""
        for part in self.network.modules():
            if isinstance(part, nn.Linear):
                return part.in_features
            if isinstance(part, nn.Conv1d):
                return part.in_channels
            if isinstance(part, nn.LayerNorm):
                return int(part.normalized_shape[-1])
        return None

    # Text -----------------------------------------------------------------------------------------------

    def length(self) -> int:
        """Tokens of an example."""
        text = self.config.get_text_config()
        limits = (getattr(text, name, None) for name in ("max_position_embeddings", "max_target_positions"))
        most = next((limit for limit in limits if limit and limit > 0), sys.maxsize)
        length = min(SEQUENCE, most) if self.sequence is None else self.sequence
        if length > most:
            raise ExampleError(
                f"{self.length_name} is {length}; it must be at most {most}, the positions that the model has"
            )
        return length

    def tokens(self) -> list[Tensor]:
        """Tokens of text alone: none of those that stand for something else."""
        length = self.length()
        vocabulary = getattr(self.config.get_text_config(), "vocab_size", None) or 1
        generator = torch.Generator().manual_seed(0)
        tokens = torch.randint(vocabulary, (self.batch, length), generator=generator)
        special = set(_special(self.config.to_dict()))
        plain = next((token for token in range(vocabulary) if token not in special), 0)
        text = torch.where(torch.isin(tokens, torch.tensor(sorted(special))), plain, tokens)
        books = self.find("num_codebooks", default=1)
        if books == 1:
            return [text]
        sound = text.unsqueeze(1).repeat(1, books, 1)  # codes of sound, several for each moment
        return [text, sound.flatten(0, 1), sound, sound.transpose(1, 2), sound[:, :, 0]]

    def ones(self) -> list[Tensor]:
        return [torch.ones(self.batch, self.length(), dtype=torch.long)]

    def zeros(self) -> list[Tensor]:
        return [torch.zeros(self.batch, self.length(), dtype=torch.long)]

    def boxes(self) -> list[Tensor]:
        return [torch.zeros(self.batch, self.length(), 4, dtype=torch.long)]

    def vectors(self) -> list[Tensor]:
        if self.takes_patches():
            return self.images()
        hidden = self.find("hidden_size", "d_model", "dim", "embed_dim", "input_dim", default=1)
        widths = dict.fromkeys([hidden, self.width() or hidden])
        return [torch.rand(self.batch, self.length(), width) for width in widths]

    def encoded(self) -> list[Tensor]:
        hidden = self.find("encoder_hidden_size", "cross_attention_hidden_size", "hidden_size", "d_model")
        return [torch.rand(self.batch, self.length(), hidden or 1)]

    # Images ---------------------------------------------------------------------------------------------

    def size(self) -> tuple[int, int]:
        """Height and width of an image."""
        size = self.look("image_size") or IMAGE
        if isinstance(size, Mapping):
            size = [size["height"], size["width"]] if "height" in size else list(size.values())
        height, width = (size, size) if isinstance(size, int) else size
        return int(height), int(width)

    def patch(self) -> int:
        patch = self.look("patch_size") or PATCH
        return int(patch if isinstance(patch, (int, float)) else patch[-1])

    def grid(self) -> tuple[int, int]:
        """Rows and columns of patches of an image, multiples of those that are merged."""
        merged = max(1, self.find("spatial_merge_size", "merge_size", "pooling_kernel_size", default=1))
        height, width = (max(1, side // self.patch() // merged) * merged for side in self.size())
        return height, width

    def takes_patches(self) -> bool:
        """Whether the network takes the patches of images, and a grid of them, without text."""
        return "grid_thw" in " ".join(self.arguments) and "input_ids" not in self.arguments

    def images(self) -> list[Tensor]:
        channels, patch, number = self.find(*CHANNELS, default=3), self.patch(), prod(self.grid())
        if self.takes_patches():
            flat = channels * patch * patch * self.find("temporal_patch_size", default=1)
            return [
                *(
                    torch.rand(self.batch * number, width)
                    for width in dict.fromkeys([flat, self.width() or flat])
                ),
                torch.rand(self.batch * number, channels, patch, patch),
                torch.rand(1, self.batch * number, channels, patch, patch),
            ]
        patches = torch.rand(self.batch, number, channels * patch * patch)
        if {"spatial_shapes", "pixel_position_ids"} & self.arguments:
            return [patches]
        frames = self.find("num_frames", "frames_per_clip", default=FRAMES)
        return [
            torch.rand(self.batch, channels, *self.size()),
            torch.rand(self.batch, frames, channels, *self.size()),
            torch.rand(self.batch, 2, channels, *self.size()),
            patches,
        ]

    def videos(self) -> list[Tensor]:
        frames = self.find("num_frames", "frames_per_clip", default=FRAMES)
        return [torch.rand(self.batch, frames, self.find(*CHANNELS, default=3), *self.size())]

    def grids(self) -> list[Tensor]:
        return [torch.tensor([[1, *self.grid()]] * self.batch)]

    def image_sizes(self) -> list[Tensor]:
        return [torch.tensor([self.size()] * self.batch)]

    def shapes(self) -> list[Tensor]:
        return [torch.tensor([self.grid()] * self.batch)]

    def merges(self) -> list[Tensor]:
        return [torch.ones(self.batch, dtype=torch.long)]

    def patch_mask(self) -> list[Tensor]:
        return [torch.ones(self.batch, prod(self.grid()), dtype=torch.long)]

    def patch_places(self) -> list[Tensor]:
        rows, columns = self.grid()
        places = torch.cartesian_prod(torch.arange(rows), torch.arange(columns))
        return [places.expand(self.batch, -1, -1).clone()]

    def flattened(self) -> list[Tensor]:
        patch, number = self.patch(), min(self.find("seq_len", "max_num_patches", default=1024), 1024)
        places = torch.ones(self.batch, number, 2)
        return [torch.cat([places, torch.rand(self.batch, number, 3 * patch * patch)], -1)]

    def regions(self) -> list[Tensor]:
        width = self.find("visual_feat_dim", "visual_embedding_dim", default=1)
        return [torch.rand(self.batch, OBJECTS, width)]

    def region_places(self) -> list[Tensor]:
        return [torch.rand(self.batch, OBJECTS, self.find("visual_pos_dim", default=4))]

    def masked_patches(self) -> list[Tensor]:
        """Mask half of the patches of an image or of a video."""
        number = prod(side // self.patch() for side in self.size())
        number *= max(1, self.find("num_frames", default=1) // self.find("tubelet_size", default=1))
        mask = torch.arange(number) % 2 == 0
        return [mask.expand(self.batch, -1).clone()]

    # Sound ----------------------------------------------------------------------------------------------

    def spectra(self) -> list[Tensor]:
        mels = self.find(*MELS, default=80)
        found = []
        for width in dict.fromkeys([mels, self.width() or mels]):
            rows = torch.rand(self.batch, self.spectra_number(), width)
            columns = rows.transpose(1, 2).contiguous()
            found += [columns, rows]
        return [*found, columns.unsqueeze(1), rows.unsqueeze(1), columns[0]]

    def spectra_number(self) -> int:
        """Count the spectra of an example: twice those that the network has positions for."""
        return 2 * self.find("max_source_positions") or SPECTRA

    def spectra_mask(self) -> list[Tensor]:
        return [torch.ones(self.batch, self.spectra_number(), dtype=torch.long)]

    def spectra_lengths(self) -> list[Tensor]:
        return [torch.full((self.batch,), self.spectra_number())]

    def samples(self) -> list[Tensor]:
        number = self.sequence or AUDIO
        flat = torch.rand(self.batch, number)
        mels, rows = self.look("num_mel_bins"), self.look("max_length")
        spectra = [torch.rand(self.batch, rows, mels)] if mels and isinstance(rows, int) and rows > 20 else []
        return [flat, *spectra, flat.unsqueeze(1), flat.repeat_interleave(2, 0).unsqueeze(0)]

    def mels(self) -> list[Tensor]:
        width = self.find("model_in_dim", "mel_dim", *MELS, default=80)
        rows = torch.rand(self.batch, SPECTRA, width)
        return [rows, rows.transpose(1, 2).contiguous()]

    # Series ---------------------------------------------------------------------------------------------

    def series(self) -> list[Tensor]:
        number = self.past()
        width = self.find("num_input_channels", "input_size", default=1)
        return [torch.rand(self.batch, number, width), torch.rand(self.batch, number)]

    def past(self) -> int:
        lags = self.look("lags_sequence")
        return self.find("context_length", default=SEQUENCE) + (max(lags) if lags else 0)

    def series_mask(self) -> list[Tensor]:
        return [torch.ones_like(tensor) for tensor in self.series()]

    def series_times(self) -> list[Tensor]:
        return [torch.rand(self.batch, self.past(), self.find("num_time_features", default=1))]


def _special(fields: Mapping[str, Any]) -> Iterator[int]:
    """Find the tokens that stand for something else than text."""
    for name, value in fields.items():
        if isinstance(value, Mapping):
            yield from _special(value)
        elif str(name).endswith(("_token_id", "_token_index")) and isinstance(value, int):
            yield value


MAKERS: dict[str, Callable[[_Maker], list[Tensor]]] = {
    "pixel_values": _Maker.images,
    "image": _Maker.images,
    "pixel_values_videos": _Maker.videos,
    "pixel_attention_mask": _Maker.patch_mask,
    "pixel_position_ids": _Maker.patch_places,
    "spatial_shapes": _Maker.shapes,
    "flattened_patches": _Maker.flattened,
    "bool_masked_pos": _Maker.masked_patches,
    "visual_feats": _Maker.regions,
    "visual_pos": _Maker.region_places,
    "bbox": _Maker.boxes,
    "input_features": _Maker.spectra,
    "input_values": _Maker.samples,
    "spectrogram": _Maker.mels,
    "mel_spectrogram": _Maker.mels,
    "past_values": _Maker.series,
    "past_observed_mask": _Maker.series_mask,
    "past_time_features": _Maker.series_times,
    "encoder_hidden_states": _Maker.encoded,
    "hidden_states": _Maker.vectors,
    "audio_mel": _Maker.mels,
    "feature_lens": _Maker.spectra_lengths,
    "merge_sizes": _Maker.merges,
    "image_sizes": _Maker.image_sizes,
}
ENDINGS: dict[str, Callable[[_Maker], list[Tensor]]] = {
    "input_ids": _Maker.tokens,
    "grid_thw": _Maker.grids,
    "features_mask": _Maker.spectra_mask,
    "mel_mask": _Maker.spectra_mask,
    "mask": _Maker.ones,
    "_features": _Maker.vectors,
    "_ids": _Maker.zeros,
    "embeds": _Maker.vectors,
    "hidden_state": _Maker.vectors,
}
# Inputs of parts of a network, which are given where its main input alone is not enough.
PARTS = {
    "input_ids",
    "decoder_input_ids",
    "pixel_values",
    "input_features",
    "input_values",
    "bbox",
    "image",
    "visual_feats",
    "visual_pos",
    "pixel_attention_mask",
    "spatial_shapes",
    "feature_lens",
}
