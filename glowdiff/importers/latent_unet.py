"""The UNets of latent diffusion and Stable Diffusion (PyTorch): CompVis' and Stability's layout, and diffusers'.

Flags are the arguments of the original's constructor (`unet_config.params` of its YAML files) or the `config.json` of
diffusers, in which `attention_head_dim` is the number of heads.
"""

from __future__ import annotations

import re
from collections.abc import Callable, Mapping
from typing import Any, NamedTuple

import jax
import jax.numpy as jnp
import numpy as np

from glowdiff.errors import require
from glowdiff.importers import unet
from glowdiff.importers.diffusers_names import original_names
from glowdiff.importers.flags import require_positive, values
from glowdiff.importers.mapping import Arrays, Path, Source, convert, float32, leaves
from glowdiff.method import Condition
from glowdiff.networks.captions import Unread
from glowdiff.networks.denoisers import DENOISERS
from glowdiff.sharding import Platform

_CONSTRUCTOR: dict[str, Any] = unet.CONSTRUCTOR | {
    "use_spatial_transformer": False, "transformer_depth": 1, "context_dim": 0, "disable_self_attentions": "",
    "disable_middle_self_attn": False, "num_classes": 0, "use_linear_in_transformer": False,
    "use_new_attention_order": False,
}  # fmt: skip
_IGNORED = (*unet.IGNORED, "legacy", "use_bf16", "use_linear_in_transformer")
_DIFFUSERS: dict[str, Any] = {
    "sample_size": 64, "in_channels": 4, "out_channels": 4, "block_out_channels": "320,640,1280,1280",
    "layers_per_block": 2, "down_block_types": "", "attention_head_dim": "8", "cross_attention_dim": 0,
    "transformer_layers_per_block": 1, "only_cross_attention": "False", "mid_block_only_cross_attention": False,
    "num_class_embeds": 0, "dropout": 0.0,
}  # fmt: skip
# What a network is not, whose configuration says anything else of these.
_FIXED = {
    "flip_sin_to_cos": True, "freq_shift": 0, "center_input_sample": False, "downsample_padding": 1, "act_fn": "silu",
    "norm_num_groups": 32, "norm_eps": 1e-5, "mid_block_scale_factor": 1, "dual_cross_attention": False,
    "resnet_time_scale_shift": "default", "conv_in_kernel": 3, "conv_out_kernel": 3,
    "mid_block_type": "UNetMidBlock2DCrossAttn",
}  # fmt: skip
FLAGS = (*_CONSTRUCTOR, *_IGNORED)  # of the constructor
_EQUAL = ("num_res_blocks", "context_dim", "transformer_depth")
_ATTENDS, _PLAIN = "CrossAttnDownBlock2D", "DownBlock2D"

# Our layers of a transformer's block and the original's.
_BLOCK = {
    "query": "to_q", "key": "to_k", "value": "to_v", "proj_out": "to_out.0", "mlp_in": "ff.net.0.proj",
    "mlp_out": "ff.net.2",
}  # fmt: skip
_TABLE = "label_emb.weight"
CLASSES = "classes"  # of a table of tokens


class Latent(NamedTuple):
    """What flags say of a network; it has transformers unless `network["name"]` is adm."""

    network: dict[str, Any]  # the `network` section, with its name
    side: int  # of the latents
    channels: int  # of the latents, and of what comes out
    beside: int = 0  # channels that the first convolution sees beside them
    context: int = 0  # channels of the tokens that attention reads
    rows: int = 0  # of the table of noise levels (of adm: of classes)

    def at(self, side: int) -> Latent:
        """The same network for latents of another nominal side: it attends after as many halvings."""
        sides = {name: _scaled(self.network.get(name, ""), self.side, side) for name in ("attention", "cross_only")}
        network = {**self.network, **{name: text for name, text in sides.items() if text}}
        return self._replace(network=network, side=side)

    def takes(self) -> tuple[Condition, ...]:
        """The conditions that the network sees or is told beside the latents, as the published models have them."""
        beside = []
        if self.beside == self.channels + 1:
            beside = [("hole", 1), ("surroundings", self.channels)]
        elif self.beside:
            beside = [("low_res" if self.beside == 3 else "beside", self.beside)]
        table = "label" if self.network["name"] == "adm" else "noise_level"
        told = [Condition(table, (), jnp.int32, self.rows)] if self.rows else []
        return (*told, *(Condition(name, (0, 0, n), jnp.uint8, channels=n) for name, n in beside))

    def module(self) -> Any:
        """The network for use by hand, in float32."""
        section = DENOISERS[self.network["name"]](**self.network)
        platform = Platform("cpu")
        return section.module(self.side, self.channels, self.takes(), Unread("none"), "float32", platform=platform)

    def shapes(self) -> dict[str, Any]:
        """Shapes and dtypes of its variables."""
        x = jnp.zeros((1, self.side, self.side, self.channels))
        cond = {each.name: jnp.zeros((1, *x.shape[1:3], each.channels)) for each in self.takes() if each.channels}
        cond |= {each.name: jnp.zeros(1, jnp.int32) for each in self.takes() if not each.channels}
        if self.context:
            cond["text"] = jnp.zeros((1, 1, self.context))
        return dict(jax.eval_shape(self.module().init, jax.random.key(0), x, jnp.zeros(1), cond))


def parse(flags: Mapping[str, Any]) -> Latent:
    """What flags of either kind say.

    Raises:
      ConfigError: there is a flag that the original does not have, or they ask for what cannot be.
    """
    return _diffusers(flags) if "block_out_channels" in flags else _constructor(flags)


def _constructor(flags: Mapping[str, Any]) -> Latent:
    given = {name: value for name, value in flags.items() if value is not None}
    given |= {name: _one(name, given[name]) for name in _EQUAL if name in given}
    read = values(given, _CONSTRUCTOR, _IGNORED)
    require_positive(read, "image_size", "model_channels", "in_channels", "out_channels", "num_res_blocks")
    if read["num_heads"] < 1 and read["num_head_channels"] > 0:
        read["num_heads"] = 1
    network = unet.network_section(read, halvings=True)
    sides = [read["image_size"] // 2**level for level in range(len(network["channel_mult"].split(",")))]
    alone = _booleans("disable_self_attentions", read["disable_self_attentions"] or "False", len(sides))
    common = (read["image_size"], read["out_channels"], read["in_channels"] - read["out_channels"])
    if not read["use_spatial_transformer"]:
        return Latent(network | {"name": "adm"}, *common, 0, read["num_classes"])
    require_positive(read, "context_dim", "transformer_depth")
    return Latent(
        _transforming(network, sides, alone, read["transformer_depth"], read["disable_middle_self_attn"]),
        *common, read["context_dim"], read["num_classes"],
    )  # fmt: skip


def _one(name: str, value: Any) -> Any:
    """The number of a flag that may be a list of one for each level."""
    numbers = value if isinstance(value, list) else [value]
    require(
        len({*numbers}) == 1,
        f"--flags has {name}={value}; networks here have the same at every level (SDXL's have not, and are not read).",
    )
    return numbers[0]


def _scaled(sides: str, before: int, after: int) -> str:
    return ",".join(str(int(side) * after // before) for side in sides.split(",") if side)


def _transforming(
    network: Mapping[str, Any], sides: list[int], alone: list[bool], depth: int, middle: bool
) -> dict[str, Any]:
    attention = [int(side) for side in network["attention"].split(",") if side]
    cross_only = [side for side, each in zip(sides, alone, strict=True) if each and side in attention]
    rest = {name: value for name, value in network.items() if name != "new_attention_order"}
    return rest | {
        "name": "ldm", "depth": depth, "cross_only": ",".join(map(str, cross_only)), "middle_cross_only": middle,
    }  # fmt: skip


def _diffusers(flags: Mapping[str, Any]) -> Latent:
    flags = {name: value for name, value in flags.items() if value is not None}
    flags |= {
        name: _one(name, flags[name]) for name in ("layers_per_block", "transformer_layers_per_block") if name in flags
    }
    for name, value in _FIXED.items():
        require(
            flags.get(name, value) == value,
            f"config.json of the UNet has {name}={flags.get(name)}; only networks with {value} are read.",
        )
    require(
        "addition_embed_type" not in flags and flags.get("class_embed_type") in (None, "timestep"),
        "config.json of the UNet is that of another system than Stable Diffusion 1 or 2 (SDXL, unCLIP): it has "
        "addition_embed_type or class_embed_type.",
    )
    given = {name: value for name, value in flags.items() if name in _DIFFUSERS}
    read = values(given, _DIFFUSERS)
    widths = [int(width) for width in read["block_out_channels"].split(",")]
    kinds = read["down_block_types"].split(",") if read["down_block_types"] else [_ATTENDS] * 3 + [_PLAIN]
    strangers = {*kinds} - {_ATTENDS, _PLAIN}
    require(
        not strangers and len(kinds) == len(widths),
        f"config.json of the UNet has down_block_types={','.join(kinds)}; there must be {_ATTENDS} or {_PLAIN} for "
        f"each of {len(widths)} levels.",
    )
    require_positive(read, "sample_size", "in_channels", "out_channels", "layers_per_block", "cross_attention_dim")
    heads = _per_level("attention_head_dim", [int(n) for n in read["attention_head_dim"].split(",")], len(widths))
    sides = [read["sample_size"] // 2**level for level in range(len(widths))]
    head_widths = {width // n for width, n in zip(widths, heads, strict=True)}
    several = len({*heads}) > 1
    section = unet.network_section(
        unet.CONSTRUCTOR | {
            "image_size": read["sample_size"], "model_channels": widths[0], "num_res_blocks": read["layers_per_block"],
            "channel_mult": ",".join(str(width / widths[0]) for width in widths), "dropout": read["dropout"],
            "attention_resolutions": ",".join(str(2**i) for i, kind in enumerate(kinds) if kind == _ATTENDS),
            "num_heads": 1 if several else heads[0], "num_head_channels": _only(head_widths) if several else -1,
            "use_new_attention_order": False,
        },
        halvings=True,
    )  # fmt: skip
    alone = _booleans("only_cross_attention", read["only_cross_attention"], len(widths))
    depth, middle = read["transformer_layers_per_block"], read["mid_block_only_cross_attention"]
    return Latent(
        _transforming(section, sides, alone, depth, middle), read["sample_size"], read["out_channels"],
        read["in_channels"] - read["out_channels"], read["cross_attention_dim"], read["num_class_embeds"],
    )  # fmt: skip


def _only(widths: set[int]) -> int:
    require(
        len(widths) == 1,
        "config.json of the UNet has an attention_head_dim (which is numbers of heads) that gives heads of several "
        "widths; networks here have one number of heads at all levels, or one width.",
    )
    return widths.pop()


def _booleans(name: str, text: str, levels: int) -> list[bool]:
    words = [word.strip().lower() for word in text.split(",")]
    require({*words} <= {"true", "false"}, f"--flags has {name}={text}; it must be True or False for each level.")
    return _per_level(name, [word == "true" for word in words], levels)


def _per_level(name: str, given: list[Any], levels: int) -> list[Any]:
    require(len(given) in (1, levels), f"--flags has {name} of {len(given)} levels; the network has {levels}.")
    return given * levels if len(given) == 1 else given


# ---- Names.


def variables(
    latent: Latent, weights: Arrays, leaf: Callable[[np.ndarray], Any] = float32, shapes: Any = None
) -> dict[str, Any]:
    """The network's variables, of weights in either layout.

    Args:
      latent: the network.
      weights: arrays by name.
      leaf: what to keep of each array.
      shapes: of the variables, if they are at hand.

    Raises:
      WeightsError: a weight is missing, not expected, or of another shape.
    """
    shapes = latent.shapes() if shapes is None else shapes
    names, expected = original_names(weights), leaves(shapes)
    theirs = {original: name for name, original in names.items()}
    found = {
        path: source._replace(keys=tuple(theirs.get(key, key) for key in source.keys))
        for path, source in sources(latent, list(expected)).items()
    }
    arrays = convert(weights, found, expected, leaf)
    return jax.tree.unflatten(jax.tree.structure(shapes), [arrays[path] for path in expected])


def sources(latent: Latent, paths: list[Path]) -> dict[Path, Source]:
    """Where the arrays of the network come from, by the names of the original's layout."""
    tables = [path for path in paths if path[-1] == "embedding"]
    found = unet.sources([path for path in paths if path not in tables], unet.END, _transformer_layer)
    classes = latent.network["name"] == "ldm"  # are tokens, whose table is not the UNet's
    found |= {path: Source((CLASSES if classes and path[1] == "label_embed" else _TABLE,)) for path in tables}
    return found


def _transformer_layer(layer: str) -> str:
    """`block_0.attn1.query` -> `transformer_blocks.0.attn1.to_q`; layers of other attention blocks keep their names."""
    match = re.fullmatch(r"block_(\d+)\.(.*)", layer)
    if match is None:
        return layer
    *outer, last = match[2].split(".")
    return ".".join(["transformer_blocks", match[1], *outer, _BLOCK.get(last, last)])
