"""What the flags of ADM's and GLIDE's networks have in common, and what that means in our modules."""

from __future__ import annotations

import difflib
from collections.abc import Iterable, Mapping
from dataclasses import dataclass
from typing import Any, NamedTuple

from glowdiff.errors import ConfigError, require
from glowdiff.importers.flags import typed
from glowdiff.networks.plan import check_unet

_TRUE, _FALSE = ("yes", "true", "t", "y", "1"), ("no", "false", "f", "n", "0")


@dataclass(frozen=True)
class Process:
    """The process that a network was trained for; names and defaults are guided-diffusion's."""

    diffusion_steps: int = 1000
    noise_schedule: str = "linear"
    timestep_respacing: str = ""
    learn_sigma: bool = False
    sigma_small: bool = False
    use_kl: bool = False
    predict_xstart: bool = False
    rescale_timesteps: bool = False
    rescale_learned_sigmas: bool = False


class Flags(NamedTuple):
    """What the flags say."""

    kind: str  # unet | superres | classifier | text
    network: dict[str, Any]  # arguments of our module
    in_channels: int  # of the images
    process: Process
    small_size: int | None  # superres, where the flags tell: side of the small images


def read_values(values: Mapping[str, Any], known: Mapping[str, Any], ignored: Iterable[str]) -> dict[str, Any]:
    """All of `known`, with the flags' values, of the types of the defaults, in place of the defaults.

    Args:
      values: of flags by name; numbers and booleans may be strings.
      known: flags and their defaults.
      ignored: flags that say nothing here.

    Raises:
      ConfigError: a flag that is neither known nor ignored, or of another type.
    """
    chosen = {name: value for name, value in values.items() if _is_known(name, known, tuple(ignored))}
    return {**known, **{name: _typed(name, value, known[name]) for name, value in chosen.items()}}


def require_sizes(read: Mapping[str, Any]) -> None:
    """Raise `ConfigError` unless a constructor's arguments hold what has no default."""
    for name in ("image_size", "model_channels", "out_channels", "num_res_blocks"):
        require(read[name] > 0, f"--flags has {name}={read[name]}; it must be there and at least 1.")


def backbone(read: Mapping[str, Any]) -> dict[str, Any]:
    """Arguments of every module of ours; multipliers and attention are left to `sized`."""
    return {
        "image_size": read["image_size"],
        "res_blocks": read["num_res_blocks"],
        "attention": read["attention_resolutions"],
        "heads": read["num_heads"],
        "head_channels": read["num_head_channels"] if read["num_head_channels"] != -1 else None,
        "adagn": read["use_scale_shift_norm"],
        "updown": read["resblock_updown"],
        "new_order": read["use_new_attention_order"],
        "dropout": read["dropout"],
    }


def denoiser(read: Mapping[str, Any], classes: int, low_res: bool) -> dict[str, Any]:
    """Arguments of a denoiser, besides those of `backbone`."""
    heads = read["num_heads_upsample"]
    return {"classes": classes, "heads_up": heads if heads != -1 else None, "low_res": low_res}


def sized(network: dict[str, Any], halvings: bool) -> dict[str, Any]:
    """The network with multipliers and attention as numbers.

    Like the originals, ask in vain for attention where there is no level.

    Args:
      network: arguments of our module; those two are strings.
      halvings: attention is asked for after so many halvings of the image; else at sides in pixels.

    Raises:
      ConfigError: they are no numbers, or there can be no such network.
    """
    mult = tuple(_numbers("channel_mult", network["channel_mult"]))
    asked = [int(value) for value in _numbers("attention_resolutions", network["attention"])]
    require(all(value > 0 for value in asked), f"--flags has attention_resolutions={network['attention']}.")
    size = network["image_size"]
    factors = asked if halvings else [size // side for side in asked]
    attention = tuple(size // 2**level for level in range(len(mult)) if 2**level in factors)
    network = network | {"channel_mult": mult, "attention": attention}
    sizes = ("image_size", "channels", "channel_mult", "attention", "heads", "head_channels")
    try:
        check_unet(*(network[name] for name in sizes))
    except ConfigError as error:
        raise ConfigError(f"--flags ask for a network that cannot be: {error}") from error
    return network


def _is_known(name: str, known: Mapping[str, Any], ignored: tuple[str, ...]) -> bool:
    if name in known:
        return True
    if name in ignored:
        return False
    close = difflib.get_close_matches(name, [*known, *ignored], 1)
    hint = f" Did you mean {close[0]}?" if close else f" Known: {', '.join(known)}."
    raise ConfigError(f"--flags has {name}, which the originals do not know of such a network.{hint}")


def _typed(name: str, value: Any, default: Any) -> Any:
    kind = type(default)
    if kind is str:
        return ",".join(map(str, value)) if isinstance(value, (list, tuple)) else str(value).strip()
    return typed(name, 0 if value is None else value, kind, _TRUE, _FALSE)


def _numbers(name: str, text: str) -> list[float]:
    try:
        return [float(part) for part in text.split(",") if part.strip()]
    except ValueError:
        raise ConfigError(f"--flags has {name}={text}; it must be numbers with commas in between.") from None
