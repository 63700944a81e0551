"""The `text` section: how captions become tokens, and the size of the transformer that reads them."""

from __future__ import annotations

from dataclasses import dataclass

from glowdiff.config.parts import Part
from glowdiff.errors import require, require_choice

TOKENIZERS = ("bpe", "gpt2", "clip")


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


@dataclass(frozen=True)
class CLIPCaptions(Captions):
    """The tower of a CLIP that reads captions; the sizes are those of GLIDE's (Nichol et al., 2022)."""

    vocab_size: int = 65_536
    context: int = 77
    width: int = 512
    layers: int = 12
    heads: int = 8


TEXTS = {"none": Unread, "glide": Captions}  # that denoisers read
CLIP_TEXTS = {"clip": CLIPCaptions}
