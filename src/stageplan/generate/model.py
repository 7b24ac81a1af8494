"""The network of a specification: sizes of a built-in one, or a network of the user's own."""

from __future__ import annotations

from typing import Annotated, Any, Literal

from msgspec import Meta, Struct

from ..errors import InputError
from ..fields import check_fields, whole
from .amounts import Choices, LocalPath, Size

Source = Literal["factory", "hf", "torchvision", "timm"]
SOURCES: tuple[Source, ...] = ("factory", "hf", "torchvision", "timm")
_OF_BUILT_IN = {"preset": "tiny", "layers": None, "width": None, "heads": None}  # with their defaults
# Fields -> the sources that they belong to.
_OF_SOURCE: dict[str, tuple[Source, ...]] = {
    "arguments": ("factory", "torchvision", "timm"),
    "path": ("factory",),
    "download": ("hf",),
}

Function = Annotated[
    str,
    Meta(
        pattern=r"^[A-Za-z_]\w*(\.[A-Za-z_]\w*)*:[A-Za-z_]\w*\Z",
        description="a function, as 'package.module:function'",
    ),
]
Library = Annotated[str, Meta(pattern=r"^[\w.:/-]+\Z", description="the name of a network")]


class Model(Struct, frozen=True, kw_only=True, forbid_unknown_fields=True):
    """Size of the built-in network, or a network of the user's own.

    Parameters
    ----------
    preset : {"tiny", "small"}
        A set of sizes of the built-in network.
    layers : int, optional
        Repeated blocks of the built-in network.
    width : int, optional
        Size of its hidden representation.
    heads : int, optional
        Attention heads of a block; must divide `width`.
    vocabulary : int, optional
        Number of tokens, or of values of a category.
    classes : int, optional
        Number of classes, for the two classification tasks.
    factory : str, optional
        A function of the user's own that returns a torch module, as ``"package.module:function"``.
    arguments : dict, optional
        Named arguments of that function, or of the one that makes a network of torchvision or timm.
    path : str, optional
        Folder of the function's module, or its file, that is copied into the project; relative to the
        specification's file. Absent: the module is of a package of the environment.
    hf : str, optional
        Folder with the ``config.json`` of a network of transformers, and maybe its weights
        (``model.safetensors``) and its tokenizer; or the name of one in the local cache of huggingface_hub.
    download : bool
        Whether a network that is named by `hf` may be downloaded.
    torchvision, timm : str, optional
        Name of a network for images in that library.
    """

    preset: Literal["tiny", "small"] = "tiny"
    layers: Annotated[int, whole(1, 10_000)] | None = None
    width: Size | None = None
    heads: Size | None = None
    vocabulary: Choices | None = None
    classes: Choices | None = None
    factory: Function | None = None
    arguments: Annotated[dict[str, Any], Meta(description="a table of arguments")] | None = None
    path: LocalPath | None = None
    hf: LocalPath | None = None
    download: bool = False
    torchvision: Library | None = None
    timm: Library | None = None

    def __post_init__(self) -> None:
        check_fields(self, "model")
        if self.width is not None and self.heads is not None and self.width % self.heads:
            raise InputError(f"heads is {self.heads}; it must divide width, {self.width} (model)")
        self._check_source()

    @property
    def source(self) -> Source | None:
        """What the user's own network comes from; None for a built-in one."""
        return next((name for name in SOURCES if getattr(self, name) is not None), None)

    def _check_source(self) -> None:
        given = [name for name in SOURCES if getattr(self, name) is not None]
        if len(given) > 1:
            raise InputError(f"{given[0]} and {given[1]} are both given; only one of them may be (model)")
        for name, default in _OF_BUILT_IN.items() if given else ():
            if getattr(self, name) != default:
                raise InputError(
                    f"{name} is {getattr(self, name)}; with {given[0]} it must be absent (model)"
                )
        for name, sources in _OF_SOURCE.items():
            if getattr(self, name) and self.source not in sources:
                raise InputError(
                    f"{name} is {getattr(self, name)!r}; without {' or '.join(sources)} it must be absent "
                    "(model)"
                )
