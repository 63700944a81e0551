"""The levels of an ADM network: how wide each is and where there is attention; and which sizes cannot be."""

from __future__ import annotations

from typing import NamedTuple

from glowdiff.errors import require

GROUPS = 32  # of every GroupNorm
# What the published models of each image size have (Dhariwal & Nichol, 2021; 32: Nichol & Dhariwal, 2021).
_CHANNEL_MULT = {
    512: (0.5, 1, 1, 2, 2, 4, 4),
    256: (1, 1, 2, 2, 4, 4),
    128: (1, 1, 2, 3, 4),
    64: (1, 2, 3, 4),
    0: (1, 2, 2, 2),
}


class Level(NamedTuple):
    """The blocks that see images of one size."""

    channels: int
    attention: bool


def default_channel_mult(image_size: int) -> tuple[float, ...]:
    """The published multipliers for images of this side; between those sizes, the next smaller one's.

    Levels that the side cannot be halved to are left out.

    >>> default_channel_mult(64), default_channel_mult(28)
    ((1, 2, 3, 4), (1, 2, 2))
    """
    mult = next(mult for size, mult in _CHANNEL_MULT.items() if image_size >= size)
    while image_size % 2 ** (len(mult) - 1):
        mult = mult[:-1]
    return mult


def plan(
    image_size: int, channels: int, channel_mult: tuple[float, ...], attention: tuple[int, ...]
) -> tuple[Level, ...]:
    """The levels, largest image first.

    Like the original, the network attends after so many halvings, whatever the size of an image it is given:
    `attention` holds the sides, in pixels, of images of the nominal `image_size`.
    """
    factors = {image_size // side for side in attention}
    return tuple(Level(int(channels * mult), 2**level in factors) for level, mult in enumerate(channel_mult))


def check_sides(height: int, width: int, levels: int) -> None:
    """Raise `ConfigError` unless images of this size can be halved as often as `levels` levels ask for."""
    factor = 2 ** (levels - 1)
    require(
        height % factor == 0 and width % factor == 0 and min(height, width) > 0,
        f"model.network.channel_mult has {levels} levels, so images are halved {levels - 1} times; their sides must be "
        f"multiples of {factor}, not {height}x{width}.",
    )


def check_unet(
    image_size: int,
    channels: int,
    channel_mult: tuple[float, ...],
    attention: tuple[int, ...],
    heads: int,
    head_channels: int | None = None,
) -> None:
    """Raise `ConfigError`, naming keys of the `model` section, for sizes that no network can have.

    Args:
      image_size: the side of the images.
      channels: of the first level, before `channel_mult`.
      channel_mult: for each level, its channels are this many times `channels`.
      attention: sides of the images, in pixels, at which there is attention.
      heads: of each attention, unless `head_channels` is given.
      head_channels: channels of a head; their number then follows from the level's channels.
    """
    require(channels > 0, f"model.network.channels is {channels}; it must be a multiple of {GROUPS}.")
    require(
        bool(channel_mult),
        "model.network.channel_mult is empty; it must hold a number for each level: 1,2,2.",
    )
    check_sides(image_size, image_size, len(channel_mult))
    sides = [image_size // 2**level for level in range(len(channel_mult))]
    strangers = [side for side in attention if side not in sides]
    require(
        not strangers,
        f"model.network.attention has {', '.join(map(str, strangers))}; it must hold sides of the images at the "
        f"network's levels, which are {', '.join(map(str, sides))}.",
    )
    for mult in channel_mult:
        require(
            channels * mult > 0 and channels * mult % GROUPS == 0,
            f"model.network.channels is {channels} and model.network.channel_mult has {mult}, which makes "
            f"{channels * mult:g} channels; each level must have a multiple of {GROUPS}.",
        )
    require(
        head_channels is None or head_channels > 0,
        f"model.network.head_channels is {head_channels}; it must be 1 or more.",
    )
    require(head_channels is not None or heads > 0, f"model.network.heads is {heads}; it must be at least 1.")
    levels = plan(image_size, channels, channel_mult, attention)
    for side, level in zip([*sides, sides[-1]], [*levels, levels[-1]._replace(attention=True)], strict=True):
        key, value = ("heads", heads) if head_channels is None else ("head_channels", head_channels)
        require(
            not level.attention or level.channels % value == 0,
            f"model.network.{key} is {value}, which does not divide the {level.channels} channels that attend at "
            f"{side}x{side} pixels.",
        )
