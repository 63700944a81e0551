"""A toy vocabulary in each of the forms in which the published ones come."""

from __future__ import annotations

import base64
from pathlib import Path

import pytest

# Merges as GPT-2's vocab.bpe lists them: "Ġ" is a blank, "Ċ" a newline, "Ã ©" the two bytes of é.
GPT2 = ["Ġ c", "a t", "Ġc at", "t h", "th e", "Ġ the", "' s", "Ã ©", "Ċ Ċ", "c at", "Ġ a", "l l", "' ll", "1 2", "Ġ Ġ"]
CLIP = ["a t</w>", "c at</w>", "t h", "th e</w>", "' s</w>", "a t", "c at", "Ã ©</w>"]


def byte_order() -> list[int]:
    """Bytes in the order of their ids in GPT-2's and CLIP's vocabularies."""
    first = [*range(33, 127), *range(161, 173), *range(174, 256)]
    return first + [byte for byte in range(256) if byte not in first]


def toy_ranks() -> dict[bytes, int]:
    texts = {"Ġ": " ", "Ċ": "\n", "Ã": "\udcc3", "©": "\udca9"}
    joined = ["".join(texts.get(letter, letter) for letter in merge.replace(" ", "")) for merge in GPT2]
    tokens = [bytes([byte]) for byte in byte_order()] + [text.encode("utf-8", "surrogateescape") for text in joined]
    return {token: rank for rank, token in enumerate(tokens)}


@pytest.fixture
def gpt2_file(tmp_path: Path) -> Path:
    path = tmp_path / "vocab.bpe"
    path.write_text("\n".join(["#version: 0.2", *GPT2, ""]))
    return path


@pytest.fixture
def rank_file(tmp_path: Path) -> Path:
    path = tmp_path / "toy.tiktoken"
    path.write_bytes(b"".join(b"%s %d\n" % (base64.b64encode(token), rank) for token, rank in toy_ranks().items()))
    return path


@pytest.fixture
def clip_file(tmp_path: Path) -> Path:
    path = tmp_path / "clip.txt"
    path.write_text("\n".join(['"bpe_simple_vocab"#version: 0.2', *CLIP, ""]))
    return path
