"""Stable Diffusion 1 and 2, their inpainting models and x4 upscaler, and latent diffusion, to one workdir each.

UNet, autoencoder and text encoder come in one file, or in a folder of diffusers; which model it is follows from names
and shapes. The UNet becomes the workdir's network, the others its frozen parts.
"""

from __future__ import annotations

from pathlib import Path
from typing import Any

import jax
import jax.numpy as jnp
from etils import epath

from glowdiff.catalog.methods import METHODS
from glowdiff.catalog.parse import Settings, defaults, parse
from glowdiff.catalog.recipes import latent_model, latent_training, stable_diffusion_training
from glowdiff.config.sections import Config, MeshConfig
from glowdiff.data.sets.stock import OWN
from glowdiff.errors import require
from glowdiff.importers.autoencoder import variables as codec_variables
from glowdiff.importers.clip import clip_tokenizer
from glowdiff.importers.clip_text import variables as text_variables
from glowdiff.importers.latent_unet import variables as unet_variables
from glowdiff.importers.sd_files import pieces
from glowdiff.importers.sd_model import Asked, Model, recognised
from glowdiff.importers.workdir import check_new, facts, named_data
from glowdiff.method import Frozen, Method, batch_shapes
from glowdiff.networks.captions import CLIPText
from glowdiff.sharding import Platform, make_mesh
from glowdiff.spec import DataSpec
from glowdiff.text.tokenizer import Tokenizer
from glowdiff.trained import Trained, keep, part_folder

_PLATFORM = Platform("cpu")  # the workdir holds no program
_NULL = 1001  # rows of ImageNet's table with a class that stands for none


def import_checkpoint(path: Path, workdir: epath.PathLike, asked: Asked) -> Model:
    """Write a workdir: the UNet as its network, the autoencoder and the text encoder as its frozen parts.

    Arrays are read one by one, so that memory holds one of the three models at a time. They are kept in float32, as
    averages; there is no state of an optimiser: training goes on in another workdir, which starts from this one.

    Args:
      path: of a single file, or of a folder of diffusers.
      workdir: a folder that is empty or not there.
      asked: what is asked for beside.

    Returns:
      What the checkpoint is.

    Raises:
      ConfigError, WeightsError: in the user's words.
    """
    check_new(workdir)
    found = pieces(path, averages=asked.averages)
    stage, codec_params = codec_variables(found.codec)
    model = recognised(found, stage, asked)
    config, spec = configuration(model, workdir, asked)
    tokenizer = _tokenizer(model.text, asked.vocabulary or found.vocabulary)
    parts = {"codec": _codec(model, config, spec)} | ({"text": _text(model.text, config, spec)} if model.text else {})
    method = METHODS["diffusion"].build(
        config.model, spec, config.dtype, platform=_PLATFORM,
        frozen={name: Frozen(part, spec) for name, (_, part) in parts.items()},
    )  # fmt: skip

    def write(name: str, section: Config, part: Method, params: Any) -> None:
        shapes = _shapes(part, spec)
        variables = jax.tree.map(lambda leaf: jnp.zeros(leaf.shape, leaf.dtype), {**shapes, "params": {}})
        kept = tokenizer if name != "codec" else None
        folder = part_folder(workdir, name) if name else workdir
        keep(Trained(part, {**variables, "params": params}, section, spec, make_mesh(MeshConfig()), 0, kept), folder)

    write("codec", *parts["codec"], {"autoencoder": codec_params})
    del codec_params
    if model.text is not None and found.text is not None:
        write("text", *parts["text"], text_variables(model.text, found.text)["params"])
    unet = found.unet.joined(found.classes) if found.classes else found.unet
    write("", config, method, unet_variables(model.latent, unet, shapes=_shapes(method, spec))["params"])
    return model


def configuration(model: Model, workdir: epath.PathLike, asked: Asked) -> tuple[Config, DataSpec]:
    """The configuration of the workdir, and what is known of the data."""
    network, text = dict(model.latent.network), model.text
    config = defaults("diffusion", network=network.pop("name"), text="clip" if text else "none", codec="autoencoder")
    latent_model(config, *model.betas)
    config.model.process.update(prediction=model.prediction, zero_terminal_snr=model.zero_terminal_snr)
    if text:
        stable_diffusion_training(config, steps=500_000, batch=asked.batch or 2048)
        _set(config.model.text, text)
        config.model.text.workdir = str(part_folder(workdir, "text"))
        config.sampling.guidance_scale = model.kind.guidance or config.sampling.guidance_scale
    else:
        latent_training(config, steps=500_000, batch=asked.batch or 64, learning_rate=1e-4)
    if model.zero_terminal_snr:
        config.sampling.update(spacing="trailing", final="data", guidance_rescale=0.7)
    config.model.network.update(network)
    config.model.codec.workdir = str(part_folder(workdir, "codec"))
    config.model.inpaint = model.kind.inpaints
    if model.kind.enlarges:
        levels = model.latent.rows
        config.model.update(low_res=model.latent.side, noise_levels=levels, max_noise_level=min(350, levels - 1))
    known = 0
    if model.classes:
        known = model.classes - (model.classes == _NULL)
        config.model.network.label_width = model.latent.context
        config.model.update(class_conditional=True, label_dropout=0.1 if known < model.classes else 0.0)
        config.sampling.guidance_scale = 1.5 if known < model.classes else None
    config.dtype = asked.dtype
    section = _data(model, asked)
    config.data.update(section)
    parsed, name = parse(config), section["name"]
    captions = text is not None and (name in OWN or not asked.data)
    spec = DataSpec(name, (model.side, model.side, 3), 256, 0, 0, tuple(map(str, range(known))), captions=captions)
    if asked.data:
        spec, _ = facts(spec, parsed.data, "classes" if known else "")
    parsed.model.check_data(spec, parsed.data)
    return parsed, spec


def _data(model: Model, asked: Asked) -> dict[str, Any]:
    """The `data` section; a folder that is not there, where nothing says of which images the model is."""
    if asked.data:
        return named_data(asked.data, model.side)
    if model.classes:
        return named_data("imagenet2012", model.side)
    return {"name": "folder", "path": "captioned_images" if model.text else "images", "size": model.side}


# ---- Its parts.


def _tokenizer(text: CLIPText | None, vocabulary: Path | None) -> Tokenizer | None:
    if text is None:
        return None
    tokenizer = clip_tokenizer(vocabulary, "vocab_size", text.vocab_size)
    require(
        tokenizer.size == text.vocab_size,
        f"the vocabulary has {tokenizer.size:,} entries, but the text encoder {text.vocab_size:,}; both must be "
        "CLIP's, whose last two begin and end a caption.",
    )
    return tokenizer


def _codec(model: Model, config: Config, spec: DataSpec) -> tuple[Config, Method]:
    section = defaults("autoencoder", bottleneck=model.stage.bottleneck.name)
    _set(section.model.network, model.stage.network)
    _set(section.model.bottleneck, model.stage.bottleneck)
    section.model.scale = model.scale
    # Decoders of the upscaler break in half precision.
    section.dtype = "float32" if model.kind.enlarges else config.dtype
    return _built(section, config, spec)


def _text(text: CLIPText, config: Config, spec: DataSpec) -> tuple[Config, Method]:
    section = defaults("text")
    _set(section.model.text, text)
    section.dtype = config.dtype
    return _built(section, config, spec)


def _built(section: Settings, config: Config, spec: DataSpec) -> tuple[Config, Method]:
    section.data.update(vars(config.data))
    parsed = parse(section)
    return parsed, METHODS[parsed.method].build(parsed.model, spec, parsed.dtype, platform=_PLATFORM)


def _set(section: Settings, part: Any) -> None:
    section.update({name: value for name, value in vars(part).items() if name != "name"})


def _shapes(method: Method, spec: DataSpec) -> dict[str, Any]:
    return dict(jax.eval_shape(method.init, jax.random.key(0), batch_shapes(spec, 1, method.takes)))
