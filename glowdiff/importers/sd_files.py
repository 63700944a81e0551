"""What checkpoints of Stable Diffusion come in: one file of everything, or a folder of diffusers."""

from __future__ import annotations

import re
from collections.abc import Mapping
from pathlib import Path
from typing import Any, NamedTuple

from etils import epath

from glowdiff.errors import require
from glowdiff.files import read_json
from glowdiff.importers.latent_unet import CLASSES
from glowdiff.importers.mapping import WeightsError
from glowdiff.importers.sd_recognition import check_kind
from glowdiff.importers.stored import Stored, opened

_UNET, _CODEC, _CLASSES = "model.diffusion_model.", "first_stage_model.", "cond_stage_model.embedding.weight"
_TEXT = ("cond_stage_model.transformer.", "cond_stage_model.model.")
_AVERAGES = "model_ema.diffusion_model"
_SCALE = "scale_factor"  # of latents, where training has measured it
_WEIGHTS = re.compile(r".*\.(safetensors|bin)|.*\.safetensors\.index(\.fp16)?\.json")
_SHARD = re.compile(r".*-\d+-of-\d+\..*")
_SOLID = ("non_ema", "flax", "openvino", "onnx")  # other versions of a part, in the names of files


class Pieces(NamedTuple):
    """What a checkpoint holds."""

    unet: Stored
    codec: Stored
    text: Stored | None = None
    classes: Stored | None = None  # the table of classes, as `CLASSES`
    scale: float | None = None  # of latents, if it is told
    configs: Mapping[str, Mapping[str, Any]] = {}  # of a folder: the JSON of each part, by the name of its folder
    vocabulary: Path | None = None  # of a folder: the tokenizer's merges
    pad: str | None = None  # and its padding


def pieces(path: Path, *, averages: bool = False) -> Pieces:
    """What is in a file or a folder; nothing but names and shapes is read.

    Args:
      path: of either.
      averages: take those of the UNet's weights that full checkpoints hold as `model_ema`.

    Raises:
      ConfigError, WeightsError: it is missing, damaged or cut off, holds something else, or not all that is needed.
    """
    path = path.expanduser()
    if path.is_dir():
        require(not averages, "--ema is given, but folders of diffusers hold one set of weights; leave it out.")
        return _folder(path)
    return _file(opened(path), averages)


def _file(found: Stored, averages: bool) -> Pieces:
    check_kind(found, found.origin)
    unet, codec = found.under(_UNET), found.under(_CODEC)
    if not unet:
        alone = any(name.startswith(("encoder.", "decoder.", _CODEC)) for name in found)
        raise WeightsError(
            f"{found.origin}, which holds no UNet of latent diffusion ({_UNET}...)"
            + ("; it is an autoencoder alone, which glowdiff import autoencoder reads." if alone else ".")
        )
    if not codec:
        raise WeightsError(
            f"{found.origin}, which holds a UNet, but no autoencoder ({_CODEC}...); give the whole checkpoint."
        )
    text = next((found.under(prefix) for prefix in _TEXT if found.under(prefix)), None)
    scale = float(found[_SCALE]) if _SCALE in found else None
    classes = found.renamed({_CLASSES: CLASSES}) if _CLASSES in found else None
    return Pieces(_averaged(found, unet) if averages else unet, codec, text, classes, scale)


def _averaged(found: Stored, unet: Stored) -> Stored:
    """The averages of a UNet's weights, whose names have lost their dots."""
    names = {f"{_AVERAGES}{name.replace('.', '')}": name for name in unet}
    missing = [name for name in names if name not in found]
    if missing:
        raise WeightsError(f"{found.origin}, which holds no averages (model_ema) of {len(missing)} weights: no --ema.")
    return found.renamed(names)


def _folder(path: Path) -> Pieces:
    origin = f"--weights is {path}"
    for name, what in (
        ("text_encoder_2", "SDXL, or a later model"), ("transformer", "a transformer (Stable Diffusion 3 ...)"),
        ("prior", "an unCLIP model"), ("image_normalizer", "Stable unCLIP"), ("depth_estimator", "a depth model"),
    ):  # fmt: skip
        if (path / name).is_dir():
            raise WeightsError(f"{origin}, a folder of {what}, which is not read here: it has {name}/.")
    for name in ("unet", "vae"):
        require((path / name).is_dir(), f"{origin}, which is no folder of a whole model: it has no {name}/.")
    configs = {
        name: read_json(epath.Path(file))
        for name, file in (
            *((part, path / part / "config.json") for part in ("unet", "vae", "text_encoder")),
            ("scheduler", path / "scheduler" / "scheduler_config.json"),
            ("tokenizer", path / "tokenizer" / "tokenizer_config.json"),
        )
        if file.is_file()
    }
    for name in ("unet", "vae"):
        require(name in configs, f"{origin}, whose {name}/ has no config.json.")
    reads = configs["unet"].get("cross_attention_dim") is not None
    require(
        not reads or (path / "text_encoder").is_dir(),
        f"{origin}, whose UNet reads captions, but it has no text_encoder/; give a folder of the whole model.",
    )
    unet = weights_of(path / "unet")
    check_kind(unet, origin)
    merges = path / "tokenizer" / "merges.txt"
    scale = configs["vae"].get("scaling_factor")
    pad = configs.get("tokenizer", {}).get("pad_token")
    return Pieces(
        unet, weights_of(path / "vae"), weights_of(path / "text_encoder") if reads else None,
        scale=None if scale is None else float(scale), configs=configs,
        vocabulary=merges if merges.is_file() else None, pad=pad if isinstance(pad, str) else None,
    )  # fmt: skip


def weights_of(folder: Path) -> Stored:
    """The weights in the folder of a part: in full precision rather than half, and as safetensors rather than pickled.

    Raises:
      ConfigError: it holds none, or they cannot be read.
    """
    files = [
        file
        for file in sorted(folder.iterdir())
        if _WEIGHTS.fullmatch(file.name) and not _SHARD.fullmatch(file.name) and not any(x in file.name for x in _SOLID)
    ]
    require(
        bool(files), f"--weights is {folder.parent}, whose {folder.name}/ holds no .safetensors or .bin of weights."
    )
    return opened(min(files, key=lambda file: (file.suffix == ".bin", "fp16" in file.name, file.name)))
