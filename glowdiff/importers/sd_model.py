"""What a checkpoint of Stable Diffusion is, and what is asked of the workdir that it becomes."""

from __future__ import annotations

from collections.abc import Mapping
from pathlib import Path
from typing import Any, NamedTuple

from absl import logging

from glowdiff.errors import ConfigError, require
from glowdiff.importers.autoencoder import FirstStage
from glowdiff.importers.clip_text import parse as parse_text
from glowdiff.importers.clip_text import recognised as recognised_text
from glowdiff.importers.diffusers_names import original_names
from glowdiff.importers.latent_unet import CLASSES, Latent
from glowdiff.importers.latent_unet import parse as parse_unet
from glowdiff.importers.mapping import WeightsError
from glowdiff.importers.sd_files import Pieces
from glowdiff.importers.sd_recognition import Kind, kind_of, unet_flags
from glowdiff.networks.captions import CLIPText

_PREDICTIONS = {"epsilon": "eps", "eps": "eps", "v_prediction": "v", "v": "v"}  # as schedulers and YAML files call them


class Asked(NamedTuple):
    """What is asked of a workdir beside the weights."""

    prediction: str | None = None  # eps | v; None: as the checkpoint says, or its kind
    flags: Mapping[str, Any] = {}  # see `glowdiff.importers.sd_flags.sections`
    clip_skip: int = 1  # see `glowdiff.importers.clip_text.parse`
    averages: bool = False  # of the UNet's weights, see `pieces`
    size: int | None = None  # pixels of a side; None: as published
    data: str | None = None  # see `glowdiff.importers.family.Request`, as for the rest
    batch: int = 0
    dtype: str = "float32"
    vocabulary: Path | None = None


class Model(NamedTuple):
    """What a checkpoint is."""

    kind: Kind
    latent: Latent
    stage: FirstStage
    text: CLIPText | None
    classes: int  # rows of the table of classes
    side: int  # of the images, in pixels
    prediction: str
    betas: tuple[float, float]
    zero_terminal_snr: bool
    scale: float  # of latents


def recognised(found: Pieces, stage: FirstStage, asked: Asked) -> Model:
    """What a checkpoint is, by its configurations, names and shapes, and by what is asked.

    Raises:
      ConfigError, WeightsError: it is something else, or something decides that nothing says.
    """
    factor, flags = stage.network.factor, asked.flags
    text = _text_section(found, asked)
    names = original_names(found.unet)
    shapes = {names[name]: shape for name, shape in found.unet.shapes.items()}
    own = {**flags.get("unet", {})}
    folder = found.configs.get("unet")
    if folder:
        latent = parse_unet({**folder, **own})
    else:
        inferred = unet_flags(shapes)
        if "num_heads" in own:
            inferred.pop("num_head_channels", None)
        latent = parse_unet({**inferred, **own})
    classes = found.classes.shapes[CLASSES][0] if found.classes else 0
    kind = kind_of(latent, text, classes, found.unet.origin)
    scheduler = found.configs.get("scheduler", {})
    prediction = _prediction(kind, asked, scheduler, found.unet.origin)
    published = kind.sides.get(prediction, 512) // factor
    side = asked.size // factor if asked.size else latent.side if folder or "image_size" in own else published
    halved = 2 ** (len(str(latent.network["channel_mult"]).split(",")) - 1)
    require(
        not asked.size or asked.size % (factor * halved) == 0,
        f"--size is {asked.size}; it must be a multiple of {factor * halved}, of the {factor} by which the autoencoder "
        f"divides sides and the {halved} by which the UNet does.",
    )
    latent = latent.at(side)
    process = flags.get("process", {})
    ends = [
        float(scheduler.get(f"beta_{end}", process.get(f"linear_{end}", beta)))
        for end, beta in zip(("start", "end"), kind.betas, strict=True)
    ]
    scale = process.get("scale_factor", found.scale if found.scale is not None else kind.scale)
    if scale is None:
        raise WeightsError(
            f"{found.unet.origin}, which does not hold the scale of its latents (scale_factor); give --flags="
            "scale_factor=NUMBER."
        )
    schedule, timesteps = scheduler.get("beta_schedule", "scaled_linear"), scheduler.get("num_train_timesteps", 1000)
    require(
        (schedule, timesteps) == ("scaled_linear", 1000),
        f"{found.unet.origin}, whose scheduler has beta_schedule={schedule} and num_train_timesteps={timesteps}; only "
        "models of scaled_linear and 1000 are read.",
    )
    zero = bool(scheduler.get("rescale_betas_zero_snr", False))
    return Model(kind, latent, stage, text, classes, side * factor, prediction, (ends[0], ends[1]), zero, float(scale))


def _prediction(kind: Kind, asked: Asked, scheduler: Mapping[str, Any], origin: str) -> str:
    said = scheduler.get("prediction_type", asked.flags.get("process", {}).get("parameterization"))
    require(
        said is None or said in _PREDICTIONS,
        f"{origin}, whose UNet predicts {said!r} by its configuration; only eps and v are read.",
    )
    told = _PREDICTIONS[said] if said is not None else None
    if asked.prediction and told and asked.prediction != told:
        logging.warning(
            "--prediction is %s, but %s says that the UNet predicts %s: run as the other one it draws noise.",
            asked.prediction, origin.removeprefix("--weights is "), told,
        )  # fmt: skip
    chosen = asked.prediction or told or kind.prediction
    if chosen is None:
        raise ConfigError(
            f"{origin}, which is {kind.name}, and nothing in it says what its UNet predicts: give --prediction=eps "
            "(Stable Diffusion 2 base, of 512 pixels) or --prediction=v (of 768). As the other one it draws noise."
        )
    return chosen


def _text_section(found: Pieces, asked: Asked) -> CLIPText | None:
    if found.text is None:
        require(asked.clip_skip == 1, f"--clip_skip is {asked.clip_skip}, but the model reads no captions.")
        return None
    own = asked.flags.get("text", {})
    if "text_encoder" in found.configs:
        section = parse_text({**found.configs["text_encoder"], **own}, asked.clip_skip)
    else:
        heads = own.get("num_attention_heads", own.get("heads"))
        given = (int(heads) if heads else None, own.get("hidden_act"))
        section = recognised_text(found.text.shapes, asked.clip_skip, *given)
    if found.pad is None:
        return section
    return section.padded_with("zero" if found.pad == "!" else "end")
