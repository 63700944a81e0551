"""What ADM's and GLIDE's networks have in common: their constructors' arguments, our sections, and layers' names."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from typing import Any, NamedTuple

from glowdiff.catalog.parse import Settings
from glowdiff.diffusion.schedules import SCHEDULES
from glowdiff.errors import ConfigError, require, require_choice
from glowdiff.importers.flags import numbers, require_positive
from glowdiff.importers.mapping import Path, Source, conv, matrix
from glowdiff.networks.plan import check_unet
from glowdiff.spec import DataSpec

# What both constructors take; 0 and "" are no defaults.
CONSTRUCTOR: dict[str, Any] = {
    "model": "", "image_size": 0, "in_channels": 3, "model_channels": 0, "out_channels": 0, "num_res_blocks": 0,
    "attention_resolutions": "", "dropout": 0.0, "channel_mult": "1,2,4,8", "conv_resample": True, "num_heads": 1,
    "num_head_channels": -1, "num_heads_upsample": -1, "use_scale_shift_norm": False, "resblock_updown": False,
}  # fmt: skip
_NETWORK = {
    "channels": "model_channels", "res_blocks": "num_res_blocks", "heads": "num_heads", "dropout": "dropout",
    "adagn": "use_scale_shift_norm", "updown": "resblock_updown", "new_attention_order": "use_new_attention_order",
}  # fmt: skip
IGNORED = ("use_fp16", "use_checkpoint", "dims")

# Our layers and the original's, in a residual block, at a network's start, in its middle, and at a denoiser's end.
_RESIDUAL = {
    "norm_in": "in_layers.0", "conv_in": "in_layers.2", "embed": "emb_layers.1", "norm_out": "out_layers.0",
    "conv_out": "out_layers.3", "skip": "skip_connection",
}  # fmt: skip
_START = {
    "time_embed.dense_0": "time_embed.0", "time_embed.dense_1": "time_embed.2", "input_blocks_0": "input_blocks.0.0",
}  # fmt: skip
_MIDDLE = {"middle_res_0": "middle_block.0", "middle_attention": "middle_block.1", "middle_res_1": "middle_block.2"}
END = {"norm_out": "out.0", "conv_out": "out.2"}


class Process(NamedTuple):
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
    side: int  # of the images, in pixels
    channels: int  # of the images
    outputs: int  # channels of what comes out, or classes of a classifier
    classes: int  # that it is told, or tells apart
    network: dict[str, Any]  # the `network` section
    process: Process
    small_size: int | None = None  # of what enlarges, where the flags tell: the side of the small images
    inpaint: bool = False
    text: dict[str, Any] | None = None  # sizes in the `text` section


def constructed(kind: str, read: Mapping[str, Any], *, halvings: bool, classes: int, **more: Any) -> Flags:
    """What a constructor's arguments say, and the process by `Process`'s names; checked.

    Args:
      kind: see `Flags`.
      read: the arguments by name.
      halvings: attention is asked for after so many halvings of the image; else at sides in pixels.
      classes: see `Flags`, as for what else the system knows.
      **more: of `network` what is not in the constructors of both systems.
    """
    read = {**CONSTRUCTOR, "use_new_attention_order": False, **read}
    require_positive(read, "image_size", "model_channels", "out_channels", "num_res_blocks")
    process = Process(**{name: read[name] for name in Process._fields if name in read})
    require_choice("--flags: noise_schedule", process.noise_schedule, SCHEDULES)
    network = network_section(read, halvings) | more.pop("network", {})
    flags = Flags(
        kind, read["image_size"], read["in_channels"], read["out_channels"], classes, network, process, **more
    )
    if kind != "classifier":
        outputs, single, double = flags.outputs, flags.channels, 2 * flags.channels
        require(
            outputs in (single, double),
            f"--flags has out_channels={outputs}; it must be {single}, or with a learned variance {double}.",
        )
        require(
            outputs == double or not process.learn_sigma,
            f"--flags has learn_sigma, which needs out_channels={double}, not {single}.",
        )
    return flags


def published_mult(flag: str, size: int, table: Mapping[int, str], otherwise: str = ", or give channel_mult.") -> str:
    """The multipliers that an original's command line takes for a size in pixels, if it has any."""
    require(
        size in table,
        f"--flags has {flag}={size}, for which the originals have no channel_mult; it must be one of "
        f"{', '.join(map(str, sorted(table)))}{otherwise}",
    )
    return table[size]


def quarter(side: int) -> int:
    """The side of the small images, where nothing says it: of a quarter as the releases', if there is one."""
    return side // 4 if side % 4 == 0 else 1


def spec(flags: Flags, name: str, *, captions: bool = False) -> DataSpec:
    """What the flags say of the data, of which they know neither the number of images nor the classes' names."""
    classes = tuple(map(str, range(flags.classes)))
    return DataSpec(name, (flags.side, flags.side, flags.channels), 256, 0, 0, classes, captions=captions)


def configure(config: Settings, flags: Flags) -> None:
    """Set the `model` section, unless the flags leave out what the model must know."""
    model, process = config.model, flags.process
    model.network.update(flags.network)
    model.process.update(schedule=process.noise_schedule, timesteps=process.diffusion_steps)
    model.process.rescale_timesteps = process.rescale_timesteps
    if flags.kind == "classifier":
        return
    require(
        flags.kind != "superres" or flags.small_size is not None,
        "--flags has no small_size, the side of the images that the network enlarges.",
    )
    learned = flags.outputs == 2 * flags.channels
    fixed = "fixed_small" if process.sigma_small else "fixed_large"
    # At a thousand steps the original's plain loss is the hybrid one.
    hybrid = learned and (process.rescale_learned_sigmas or process.diffusion_steps == 1000)
    model.process.prediction = "x_0" if process.predict_xstart else "eps"
    model.process.variance = "learned" if learned else fixed
    model.update(
        loss="rescaled_kl" if process.use_kl else "hybrid" if hybrid else "simple",
        class_conditional=flags.classes > 0,
        low_res=flags.small_size,
        inpaint=flags.inpaint,
    )


def respace(config: Settings, flags: Flags) -> None:
    """Set the steps of samples to what the flags say, if they do; after the paper's own are set."""
    if steps := flags.process.timestep_respacing:
        config.sampling.update(steps=steps, sampler="ddim" if steps.startswith("ddim") else "ancestral")


def _same(layer: str) -> str:
    return layer


def sources(paths: list[Path], ends: Mapping[str, str], attention: Callable[[str], str] = _same) -> dict[Path, Source]:
    """Where the arrays of a UNet come from.

    Args:
      paths: of our arrays.
      ends: the original's names of the layers behind the last block.
      attention: (a layer of an attention block) -> the original's name of it.
    """
    layers = {path[:-1] for path in paths}
    found: dict[Path, Source] = {}
    for path in paths:
        key = _key(".".join(path[1:-1]), ends, layers, attention)
        if path[-1] == "kernel":
            found[path] = Source((f"{key}.weight",), conv if _is_conv(path) else matrix)
        else:
            found[path] = Source((f"{key}.{'bias' if path[-1] == 'bias' else 'weight'}",))
    return found


def network_section(read: Mapping[str, Any], halvings: bool) -> dict[str, Any]:
    """The `network` section of what a constructor is given, all of `CONSTRUCTOR` and `use_new_attention_order`.

    Like the originals, ask in vain for attention where there is no level; `halvings` as of `constructed`.
    """
    require(
        read["resblock_updown"] or read["conv_resample"],
        "--flags has conv_resample=False; networks here halve images by residual blocks or convolutions.",
    )
    heads, up = read["num_heads"], read["num_heads_upsample"]
    head_channels = read["num_head_channels"] if read["num_head_channels"] != -1 else None
    require(
        head_channels is not None or up in (-1, heads),
        f"--flags has num_heads_upsample={up} and num_heads={heads}; networks here have as many heads in both halves.",
    )
    mult = tuple(numbers("channel_mult", read["channel_mult"]))
    asked = [int(value) for value in numbers("attention_resolutions", read["attention_resolutions"])]
    require(all(value > 0 for value in asked), f"--flags has attention_resolutions={read['attention_resolutions']}.")
    size = read["image_size"]
    factors = asked if halvings else [size // side for side in asked]
    attention = tuple(size // 2**level for level in range(len(mult)) if 2**level in factors)
    try:
        check_unet(size, read["model_channels"], mult, attention, heads, head_channels)
    except ConfigError as error:
        raise ConfigError(f"--flags ask for a network that cannot be: {error}") from error
    return {ours: read[theirs] for ours, theirs in _NETWORK.items()} | {
        "channel_mult": ",".join(str(each).removesuffix(".0") for each in mult),
        "attention": ",".join(map(str, attention)),
        "head_channels": head_channels,
    }


def _key(name: str, ends: Mapping[str, str], layers: set[Path], attention: Callable[[str], str]) -> str:
    """The original's name of one of our layers, `block.layer`."""
    fixed = {**_START, **ends}
    if name in fixed:
        return fixed[name]
    block, _, layer = name.partition(".")
    layer = attention(layer) if block.endswith("_attention") else _RESIDUAL.get(layer, layer)
    if block in _MIDDLE:
        return f"{_MIDDLE[block]}.{layer}"
    half, rest = block.split("_blocks_")
    number, part = rest.split("_")
    where = {"res": 0, "attention": 1, "down": 0, "up": 1}[part]
    if part == "up" and any(path[1] == f"output_blocks_{number}_attention" for path in layers if len(path) > 1):
        where = 2
    return f"{half}_blocks.{number}.{where}.{layer or {'down': 'op', 'up': 'conv'}[part]}"


def _is_conv(path: Path) -> bool:
    return path[-2] in ("conv_in", "conv_out", "input_blocks_0") or path[-2].endswith(("_down", "_up"))
