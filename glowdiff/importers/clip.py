"""GLIDE's noise-aware CLIP (PyTorch), in two files, one of each tower; flags are its constructor's arguments."""

from __future__ import annotations

import math
from collections.abc import Mapping
from pathlib import Path as FilePath
from typing import Any, NamedTuple

import numpy as np

from glowdiff.catalog.parse import Settings, defaults
from glowdiff.catalog.recipes import clip_training
from glowdiff.errors import require
from glowdiff.importers.family import Family, File
from glowdiff.importers.flags import values
from glowdiff.importers.mapping import Path, Source, conv, matrix, stacked
from glowdiff.importers.workdir import named_data
from glowdiff.networks.clip import MAX_SCALE
from glowdiff.spec import DataSpec
from glowdiff.text import tokenizer as tokenizers
from glowdiff.text.tokenizer import Tokenizer

# Our layers and the original's, in a block; keys have no bias.
_BLOCK = {
    "norm_attention": "f_attn.ln", "query": "f_attn.f_q", "key": "f_attn.f_k", "value": "f_attn.f_v",
    "proj_out": "f_attn.f_c", "norm_mlp": "f_mlp.ln", "mlp_in": "f_mlp.f_1", "mlp_out": "f_mlp.f_2",
}  # fmt: skip
_REST = {
    "head.norm": "output.ln", "head.out": "output.f", "norm_in": "input.ln", "tokens": "input.w_voc",
    "positions": "input.w_pos", "times": "input.w_t", "patches": "input.patch_proj",
}  # fmt: skip
_LEAVES = {"kernel": "w", "bias": "b", "scale": "g"}
_TOWERS = {"text_tower": "text_weights", "image_tower": "image_weights"}


class Flags(NamedTuple):
    """Arguments of the original's constructor, by its names; the defaults are those of the release."""

    image_size: int = 64
    patch_size: int = 4
    n_vocab: int = 65_536
    max_text_len: int = 77
    n_embd: int = 512
    n_head_text: int = 8
    n_xf_blocks_text: int = 12
    n_head_state_text: int = 64
    n_head_image: int = 12
    n_xf_blocks_image: int = 12
    n_head_state_image: int = 64
    n_timesteps: int = 1000
    logit_scale: float = MAX_SCALE


def parse(flags: Mapping[str, Any]) -> Flags:
    """See `Family.parse`."""
    parsed = Flags(**values(flags, Flags()._asdict()))
    for name, value in parsed._asdict().items():
        require(value > 0, f"--flags has {name}={value}; it must be positive.")
    require(
        parsed.image_size % parsed.patch_size == 0,
        f"--flags has patch_size={parsed.patch_size}, which does not divide image_size={parsed.image_size}.",
    )
    require(
        parsed.logit_scale <= MAX_SCALE,
        f"--flags has logit_scale={parsed.logit_scale}; it is at most {MAX_SCALE:g}, as in CLIP.",
    )
    return parsed


def _spec(flags: Flags, name: str) -> DataSpec:
    return DataSpec(name, (flags.image_size, flags.image_size, 3), 256, 0, 0, captions=True)


def _data(flags: Flags, release: str | None) -> dict[str, Any]:
    """OpenMoji, which stands in for the original's pictures: they are not public."""
    return named_data("openmoji", flags.image_size)


def _settings(flags: Flags, data: Mapping[str, Any], batch: int) -> Settings:
    config = defaults("clip")
    clip_training(config, batch=batch or 2_048)
    config.model.process.update(schedule="cosine", timesteps=flags.n_timesteps)
    width = flags.n_head_image * flags.n_head_state_image
    config.model.network.update(width=width, layers=flags.n_xf_blocks_image, heads=flags.n_head_image)
    config.model.network.update(patch=flags.patch_size, embedding=flags.n_embd)
    width = flags.n_head_text * flags.n_head_state_text
    config.model.text.update(width=width, layers=flags.n_xf_blocks_text, heads=flags.n_head_text)
    config.model.text.update(tokenizer="clip", vocab_size=flags.n_vocab, context=flags.max_text_len)
    return config


def clip_tokenizer(vocabulary: FilePath | None, flag: str, entries: int) -> Tokenizer:
    """CLIP's tokenizer, from the file of its vocabulary or the package that has it.

    Raises:
      ConfigError: a network whose `flag` says so many entries has not one for each of the vocabulary.
    """
    tokenizer = tokenizers.clip(vocabulary)
    require(
        tokenizer.size <= entries, f"--flags has {flag}={entries}, but the vocabulary has {tokenizer.size} entries."
    )
    return tokenizer


def _tokenizer(flags: Flags, vocabulary: FilePath | None) -> Tokenizer:
    return clip_tokenizer(vocabulary, "n_vocab", flags.n_vocab)


def _sources(flags: Flags, paths: list[Path]) -> dict[str, dict[Path, Source]]:
    found: dict[str, dict[Path, Source]] = {"text_weights": {}, "image_weights": {}}
    for path in paths:
        if path[1] == "log_scale":  # a flag, and in no file
            found["image_weights"][path] = Source((), lambda: np.asarray(math.log(flags.logit_scale), np.float32))
        else:
            layers = flags.n_xf_blocks_text if path[1] == "text_tower" else flags.n_xf_blocks_image
            found[_TOWERS[path[1]]][path] = _source(path[2:], layers)
    return found


def _source(path: Path, layers: int) -> Source:
    leaf = _LEAVES.get(path[-1])
    each = matrix if leaf == "w" else np.asarray
    if path[0] == "transformer":  # transformer, blocks, layer, leaf: stacked
        return Source(tuple(f"blocks.block_{n}.{_BLOCK[path[-2]]}.{leaf}" for n in range(layers)), stacked(each))
    if path == ("patches", "kernel"):
        return Source((f"blocks.{_REST['patches']}",), conv)
    if leaf is None:  # a table
        return Source((f"blocks.{_REST[path[0]]}",))
    return Source((f"blocks.{_REST['.'.join(path[:-1])]}.{leaf}",), each)


_HELP = "the state dict of clip/{}-enc: a .pt, .safetensors or .npz file"
CLIP = Family(
    name="clip",
    help="GLIDE's noise-aware CLIP (PyTorch)",
    parse=parse,
    spec=_spec,
    data=_data,
    settings=_settings,
    sources=_sources,
    files=(
        File("text_weights", _HELP.format("text"), "The text encoder"),
        File("image_weights", _HELP.format("image"), "The image encoder"),
    ),
    flags="of its constructor: JSON, a file of it, or key=value,...; default: the release's",
    complete=True,
    unpublished="Its data set is not on this machine: to train on, name one by --data.",
    vocabulary="CLIP's bpe_simple_vocab_16e6.txt.gz; default: the one of open_clip",
    tokenizer=_tokenizer,
)
