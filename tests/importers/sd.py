"""Whole checkpoints of Stable Diffusion at toy size, whose prompts are words of a toy vocabulary."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any, NamedTuple

import numpy as np
from safetensors.numpy import save_file

from glowdiff.text import tokenizer as tokenizers
from tests.importers.golden import FOLDER, random_weight

# In the form of CLIP's file. Letters alone are tokens, of which every prompt can be made.
MERGES = '"bpe_simple_vocab"#version: 0.2\na t</w>\nc at</w>\n'
WORDS = "abcdefghijklmnopqrstuvwxyz0123456789"


class Toy(NamedTuple):
    """A golden file: what goes in, what comes out, and the checkpoint."""

    arrays: dict[str, np.ndarray]
    config: dict[str, Any]
    spec: dict[str, Any]
    weights: dict[str, np.ndarray]  # with as many tokens as the vocabulary has
    prompts: list[str]
    negative: list[str]
    vocab: Path


def toy(name: str, folder: Path) -> Toy:
    """The golden file of a name, and its vocabulary in a folder."""
    with np.load(FOLDER / "latent" / f"{name}.npz", allow_pickle=False) as file:
        arrays = dict(file)
    spec = json.loads(str(arrays.pop("spec")))
    weights = {}
    for key, shape in (spec["manifest"] | spec["extra"]).items():
        weights[key] = np.asarray(random_weight(key, tuple(shape)), np.float32)
        if len(shape) == 1 and key.endswith(".weight"):
            weights[key] += np.float32(1)
    vocab = folder / "vocab.txt"
    vocab.write_text(MERGES)
    tokenizer = tokenizers.clip(vocab)
    table = next(key for key in weights if key.endswith("token_embedding.weight"))
    weights[table], words = _vocabulary(weights[table], arrays, tokenizer)
    prompts, negative = (
        [" ".join(words[token] for token in row if token in words) for row in arrays[key]]
        for key in ("in_tokens", "in_uncond_tokens")
    )
    return Toy(arrays, spec["config"], spec, weights, prompts, negative, vocab)


def _vocabulary(table: np.ndarray, arrays: dict[str, np.ndarray], tokenizer: Any) -> tuple[np.ndarray, dict[int, str]]:
    """The rows of the golden's tokens as those of the toy vocabulary, and the golden's tokens as words."""
    size, last = tokenizer.size, len(table)
    rows = np.zeros((size, table.shape[1]), np.float32)
    rows[size - 2 :] = table[last - 2 :]  # start and end
    padded = {0} if (arrays["in_tokens"] == 0).any() else set()
    rows[0] = table[0]
    used = sorted({*arrays["in_tokens"].ravel().tolist(), *arrays["in_uncond_tokens"].ravel().tolist()})
    used = [token for token in used if token < last - 2 and token not in padded]
    words = dict(zip(used, WORDS, strict=False))
    assert len(words) == len(used)
    for token, word in words.items():
        rows[tokenizer.encode([word], 3).tokens[0, 1]] = table[token]
    return rows, words


def write(toy: Toy, folder: Path, **kinds: Any) -> Path:
    """The checkpoint as a single file."""
    path = folder / "model.safetensors"
    save_file({key: np.ascontiguousarray(weight) for key, weight in toy.weights.items()}, path, **kinds)
    return path
