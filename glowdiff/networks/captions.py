"""The `text` section: how captions become tokens, and the size of the transformer that reads them."""

from __future__ import annotations

from dataclasses import dataclass, replace
from typing import Any

from glowdiff.config.parts import Part
from glowdiff.errors import require, require_choice
from glowdiff.networks.clip_text import CLIPTextEncoder
from glowdiff.networks.text_encoder import TextEncoder
from glowdiff.networks.transformer import ACTIVATIONS

TOKENIZERS = ("bpe", "gpt2", "clip")
_FRAMES = {"clip": (-2, -1), "bpe": (1, 2)}  # by tokenizer, the ids of start and end; negative: from the end


@dataclass(frozen=True)
class Unread(Part):
    """Captions are not looked at."""


@dataclass(frozen=True)
class Captions(Part):
    """A tokenizer, and a transformer trained with the network (GLIDE's); the defaults suit captions of drawings."""

    tokenizer: str = "bpe"  # bpe (trained on the captions of the data set) | gpt2 (GLIDE's) | clip
    vocab_size: int = 2048  # entries of the tokenizer, at most as many if it is trained
    context: int = 32  # tokens that are read of a caption
    width: int = 256
    layers: int = 4
    heads: int = 4

    def check(self, key: str) -> None:
        """Raise `ConfigError` for impossible values."""
        require_choice(f"{key}.tokenizer", self.tokenizer, TOKENIZERS)
        for name in ("vocab_size", "context", "width", "layers", "heads"):
            value = getattr(self, name)
            require(value > 0, f"{key}.{name} is {value}; it must be at least 1.")
        require(
            self.width % self.heads == 0,
            f"{key}.heads is {self.heads}, which does not divide {key}.width={self.width}.",
        )

    @property
    def trained(self) -> bool:
        """Whether what reads captions is trained with the network, and a part of it."""
        return True

    @property
    def chunks(self) -> bool:
        """Whether a long prompt may be read in several contexts."""
        return False

    def encoder(self, features: int | None, *, remat: bool, dtype: Any, param_dtype: Any) -> Any:
        """The module that reads captions.

        Args:
          features: of the one vector that stands for a caption; None: there is none.
          remat: recompute each block in the backward pass.
          dtype: of its arithmetic,
          param_dtype: and of its parameters.
        """
        kinds = {"remat": remat, "dtype": dtype, "param_dtype": param_dtype}
        return TextEncoder(features, self.vocab_size, self.context, self.width, self.layers, self.heads, **kinds)


@dataclass(frozen=True)
class CLIPText(Captions):
    """CLIP's text transformer, all states of which condition; the sizes are those of Stable Diffusion 1 (ViT-L/14).

    As published: trained before, and frozen. Fewer layers than there were is what users call clip skip.
    """

    tokenizer: str = "clip"  # clip | bpe (trained on the captions of the data set)
    vocab_size: int = 49_408
    context: int = 77
    width: int = 768
    layers: int = 12
    heads: int = 12
    activation: str = "quick_gelu"  # of the MLPs: quick_gelu (OpenAI's) | gelu (OpenCLIP's)
    padding: str = "end"  # what fills captions up: end (the token that ends them; OpenAI's) | zero (0; OpenCLIP's)
    workdir: str | None = None  # of what reads captions and is not trained; None: it is trained with the network

    def check(self, key: str) -> None:
        """Raise `ConfigError` for impossible values."""
        super().check(key)
        require_choice(f"{key}.tokenizer", self.tokenizer, _FRAMES)
        require_choice(f"{key}.activation", self.activation, ACTIVATIONS)
        require_choice(f"{key}.padding", self.padding, ("end", "zero"))

    @property
    def frozen_workdir(self) -> str | None:
        """See `Part`."""
        return self.workdir

    @property
    def trained(self) -> bool:
        """See `Captions`."""
        return self.workdir is None

    @property
    def chunks(self) -> bool:
        """See `Captions`."""
        return True

    def padded_with(self, padding: str) -> CLIPText:
        """The same with other padding."""
        return replace(self, padding=padding)

    def encoder(self, features: int | None, *, remat: bool, dtype: Any, param_dtype: Any) -> Any:
        """See `Captions`; there is no vector that stands for a caption."""
        assert features is None, "no vector stands for a caption"
        # Ids of the tokens that begin and end a caption; CLIP's are the last of its vocabulary.
        start, end = (number % self.vocab_size for number in _FRAMES[self.tokenizer])
        return CLIPTextEncoder(
            self.context, self.vocab_size, self.width, self.layers, self.heads, self.activation, remat, dtype,
            param_dtype, start=start, end=end, padding=end if self.padding == "end" else 0,
        )  # fmt: skip


@dataclass(frozen=True)
class CLIPCaptions(Captions):
    """The tower of a CLIP that reads captions; the sizes are those of GLIDE's (Nichol et al., 2022)."""

    vocab_size: int = 65_536
    context: int = 77
    width: int = 512
    layers: int = 12
    heads: int = 8


TEXTS = {"none": Unread, "glide": Captions, "clip": CLIPText}  # that denoisers read
ENCODERS = {"clip": CLIPText}  # that are models of their own
CLIP_TEXTS = {"clip": CLIPCaptions}
