"""Which model a checkpoint of latent diffusion is, by the names and shapes of its arrays."""

from __future__ import annotations

import re
from collections.abc import Mapping
from types import MappingProxyType
from typing import Any, NamedTuple

from glowdiff.importers.latent_unet import Latent
from glowdiff.importers.mapping import WeightsError
from glowdiff.networks.captions import CLIPText

Shapes = Mapping[str, tuple[int, ...]]

# By what names hold, what a file is instead of a model that is read here.
_OTHERS = (
    (r"lora_|\.lora\.|hada_w\d|lokr_w\d", "a LoRA: changes to a model, not a model; merge it first"),
    (r"conditioner\.embedders\.|add_embedding\.linear_1", "SDXL, which has two text encoders and other conditions"),
    (r"joint_blocks\.|\.add_q_proj\.|context_embedder\.", "Stable Diffusion 3, whose denoiser is no UNet"),
    (r"double_blocks\.|single_transformer_blocks\.", "Flux, whose denoiser is no UNet"),
    (r"^control_model\.|input_hint_block\.|controlnet_cond_embedding\.|^zero_convs\.", "a ControlNet"),
    (r"position_net\.|\.fuser\.", "GLIGEN, which grounds boxes"),
    (r"^string_to_param|^emb_params$", "a textual inversion: a word for a model, not a model itself"),
    (r"^embedder\.model\.visual|noise_augmentor\.", "Stable unCLIP, which is told of an image's embedding"),
    (r"^depth_model\.", "Stable Diffusion 2's depth model, which is told MiDaS' depths"),
    (r"^cond_stage_model\.transformer\.attn_layers\.|\.to_logits\.weight", "latent diffusion that reads by BERT"),
)  # fmt: skip


def check_kind(names: Any, origin: str) -> None:
    """Raise `WeightsError` for what is known to be something else; `origin` begins the message."""
    for pattern, what in _OTHERS:
        search = re.compile(pattern).search
        if any(search(name) for name in names):
            raise WeightsError(
                f"{origin}, which holds {what}. Read are Stable Diffusion 1 and 2, inpainting ones too, its x4 "
                "upscaler, and latent diffusion's models without conditions or with classes."
            )


def unet_flags(shapes: Shapes) -> dict[str, Any]:
    """Arguments of the original's constructor with which the network has arrays of these names and shapes.

    Heads cannot be told from shapes; they are as in the published models.

    Args:
      shapes: by the original's names, without `model.diffusion_model.`.

    Raises:
      WeightsError: they are of no such network.
    """
    try:
        return _flags(shapes)
    except (IndexError, KeyError, StopIteration) as error:
        raise WeightsError(f"These are not the weights of a UNet of latent diffusion: {error} is missing.") from error


def _flags(shapes: Shapes) -> dict[str, Any]:
    width, in_channels = shapes["input_blocks.0.0.weight"][:2]
    blocks = 1 + max(int(name.split(".")[1]) for name in shapes if name.startswith("output_blocks."))
    # Behind the last block of a level the image is doubled, by a convolution or by a residual block.
    doubling = re.compile(r"output_blocks\.(\d+)\.[12]\.(conv\.weight|in_layers\.0\.weight)")
    ends = sorted(int(match[1]) for match in map(doubling.fullmatch, shapes) if match)
    per_level = ends[0] + 1 if ends else blocks
    levels = blocks // per_level
    first = [f"input_blocks.{1 + level * per_level}" for level in range(levels)]  # blocks of the levels
    widths = [shapes[f"{block}.0.out_layers.3.weight"][0] for block in first]
    attending = [level for level in range(levels) if f"{first[level]}.1.norm.weight" in shapes]
    flags: dict[str, Any] = {
        "image_size": 2 ** (levels - 1), "in_channels": in_channels, "out_channels": shapes["out.2.weight"][0],
        "model_channels": width, "num_res_blocks": per_level - 1,
        "channel_mult": ",".join(f"{each / width:g}" for each in widths),
        "attention_resolutions": ",".join(str(2**level) for level in attending),
        "resblock_updown": any(match[2].startswith("in_layers") for match in map(doubling.fullmatch, shapes) if match),
        "use_scale_shift_norm": shapes[f"{first[0]}.0.emb_layers.1.weight"][0] == 2 * widths[0],
    }  # fmt: skip
    if "label_emb.weight" in shapes:
        flags["num_classes"] = shapes["label_emb.weight"][0]
    middle = "middle_block.1.transformer_blocks"
    if f"{middle}.0.attn2.to_k.weight" not in shapes:
        return flags | _heads(shapes, flags)
    context = shapes[f"{middle}.0.attn2.to_k.weight"][1]
    depth = next(n for n in range(1, 100) if f"{middle}.{n}.norm1.weight" not in shapes)
    seen = [shapes.get(f"{block}.1.transformer_blocks.0.attn1.to_k.weight", (0, 0))[1] for block in first]
    flags |= {
        "use_spatial_transformer": True, "transformer_depth": depth, "context_dim": context,
        "disable_self_attentions": ",".join(
            str(each == context != widths[level]) for level, each in enumerate(seen)
        ),
        "disable_middle_self_attn": shapes[f"{middle}.0.attn1.to_k.weight"][1] == context != widths[-1],
    }  # fmt: skip
    return flags | _heads(shapes, flags)


def _heads(shapes: Shapes, flags: Mapping[str, Any]) -> dict[str, int]:
    """Of the published models: none of them is told from another one by heads alone."""
    if not flags.get("use_spatial_transformer"):
        return {"num_heads": 8} if flags["resblock_updown"] else {"num_head_channels": 32}
    linear = len(shapes["middle_block.1.proj_in.weight"]) == 2
    if linear and "num_classes" not in flags:  # Stable Diffusion 2; its upscaler has as many at all levels
        return {"num_head_channels": 64}
    if flags["context_dim"] == 512:  # that of classes
        return {"num_heads": 1} if flags["model_channels"] == 192 else {"num_head_channels": 32}
    return {"num_heads": 8}


class Kind(NamedTuple):
    """A published kind of model; what no checkpoint of it says is as it was published."""

    name: str
    betas: tuple[float, float] = (0.00085, 0.012)  # the first and the last
    prediction: str | None = "eps"  # None: there are both
    sides: Mapping[str, int] = MappingProxyType({"eps": 512, "v": 512})  # of images in pixels, by what is predicted
    scale: float | None = 0.18215  # of latents; None: it was measured, and is in the file
    guidance: float | None = None  # None: as its training has it
    inpaints: bool = False
    enlarges: bool = False


_OF_256 = MappingProxyType({"eps": 256, "v": 256})
_SD2 = Kind("Stable Diffusion 2", prediction=None, sides=MappingProxyType({"eps": 512, "v": 768}))
_UPSCALER = Kind("Stable Diffusion's x4 upscaler", (0.0001, 0.02), "v", scale=0.08333, guidance=9.0, enlarges=True)


def kind_of(latent: Latent, text: CLIPText | None, classes: int, origin: str) -> Kind:
    """The kind of a model.

    Args:
      latent: its UNet.
      text: its text encoder; None: there is none.
      classes: rows of its table of classes; 0: there is none.
      origin: begins messages.

    Raises:
      WeightsError: there is no such kind, or a part of it is missing.
    """
    reads, inpaints = latent.context > 0, latent.beside == latent.channels + 1
    if not reads and latent.beside == 0 and latent.rows == 0:
        end = 0.0155 if latent.channels == 4 else 0.0195  # LSUN churches', in the latents of kl-f8
        return Kind("latent diffusion", (0.0015, end), sides=_OF_256, scale=None if latent.channels == 4 else 1.0)
    if classes and latent.beside == 0:
        return Kind("latent diffusion with classes", (0.0015, 0.0195), sides=_OF_256, scale=1.0)
    if reads and text is None:
        raise WeightsError(
            f"{origin}, whose UNet reads captions or classes ({latent.context} channels), but it holds no text encoder "
            "(cond_stage_model.transformer... or .model...); give the whole checkpoint."
        )
    if text is not None and latent.beside == 3 and latent.rows:
        return _UPSCALER
    if text is None or latent.rows or not (inpaints or latent.beside == 0):
        raise WeightsError(
            f"{origin}, whose UNet sees {latent.beside} channels beside {latent.channels} of latents; such models "
            "(depth, layouts, segments) are not read."
        )
    kind = Kind("Stable Diffusion 1") if text.activation == "quick_gelu" else _SD2
    if inpaints:
        kind = kind._replace(name=f"{kind.name}, inpainting", prediction="eps", inpaints=True)
    return kind
