"""The keys of a `model` section that say how captions are read."""

from __future__ import annotations

from dataclasses import dataclass

from glowdiff.config.sections import ModelConfig
from glowdiff.errors import require, require_choice

TOKENIZERS = ("bpe", "gpt2", "clip")


@dataclass(frozen=True)
class TextConfig(ModelConfig):
    """A tokenizer and a transformer; the defaults are sized for the captions of drawings."""

    tokenizer: str = "bpe"  # bpe (trained on the captions of the data set) | gpt2 (GLIDE's) | clip
    vocab_size: int = 2048  # entries of the tokenizer, at most as many if it is trained
    text_context: int = 32  # tokens that are read of a caption
    text_width: int = 256
    text_layers: int = 4
    text_heads: int = 4

    @property
    def context(self) -> int:
        """Tokens of a caption that the model reads."""
        return self.text_context

    def check(self) -> None:
        """Raise `ConfigError` for impossible values."""
        super().check()
        require_choice("model.tokenizer", self.tokenizer, TOKENIZERS)
        for key in ("vocab_size", "text_context", "text_width", "text_layers", "text_heads"):
            value = getattr(self, key)
            require(value > 0, f"model.{key} is {value}; it must be at least 1.")
        require(
            self.text_width % self.text_heads == 0,
            f"model.text_heads is {self.text_heads}, which does not divide model.text_width={self.text_width}.",
        )
