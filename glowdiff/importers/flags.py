"""The command-line flags of Glow's original `train.py`, and what they mean in our configuration."""

from __future__ import annotations

import difflib
import json
from collections.abc import Mapping
from dataclasses import dataclass, fields
from pathlib import Path
from typing import Any

from glowdiff.errors import ConfigError, require
from glowdiff.flows.config import GlowConfig
from glowdiff.spec import DataSpec

_PERMUTATIONS = ("reverse", "shuffle", "conv")
_COUPLINGS = ("additive", "affine")
# What the original derives from `problem`.
_SIZES = {
    "cifar10": 32,
    "imagenet-oord": 64,
    "imagenet": 256,
    "celeba": 256,
    "lsun_realnvp": 64,
    "lsun": 256,
    "mnist": 32,
}
_CLASSES = {
    "cifar10": 10,
    "imagenet-oord": 1000,
    "imagenet": 1000,
    "celeba": 1,
    "lsun_realnvp": 1,
    "lsun": 1,
    "mnist": 10,
}
# Flags, and what the original's log adds to them, that say nothing about the weights.
_IGNORED = (
    "verbose", "restore_path", "logdir", "data_dir", "dal", "fmap", "pmap", "n_train", "n_test", "n_batch_test",
    "n_batch_init", "optimizer", "lr", "beta1", "polyak_epochs", "weight_decay", "epochs", "epochs_warmup",
    "epochs_full_valid", "gradient_checkpointing", "n_sample", "epochs_full_sample", "seed", "local_batch_train",
    "local_batch_test", "local_batch_init", "direct_iterator", "rnd_crop", "train_its", "test_its", "full_test_its",
    "top_shape", "n_bins",
)  # fmt: skip
_TRUE, _FALSE = ("true", "1", ""), ("false", "0")


@dataclass(frozen=True)
class Flags:
    """The flags that matter here; names and defaults are the original's."""

    n_levels: int = 3
    depth: int = 32
    width: int = 512
    flow_permutation: int = 2  # 0 reverse, 1 shuffle, 2 invertible 1x1 convolution
    flow_coupling: int = 0  # 0 additive, 1 affine
    learntop: bool = False
    ycond: bool = False
    weight_y: float = 0.0
    n_bits_x: int = 8
    n_y: int = -1  # -1: as the original sets it for `problem`
    image_size: int = -1  # likewise
    problem: str = ""  # cifar10, imagenet-oord, imagenet, celeba, lsun_realnvp, lsun
    category: str = ""  # of LSUN
    n_batch_train: int = 64  # per device, for images of anchor_size
    anchor_size: int = 32

    def model(self) -> GlowConfig:
        """The `model` section of these flags."""
        return GlowConfig(
            levels=self.n_levels,
            depth=self.depth,
            width=self.width,
            permutation=_PERMUTATIONS[self.flow_permutation],
            coupling=_COUPLINGS[self.flow_coupling],
            learn_top=self.learntop,
            class_conditional=self.ycond,
            class_weight=self.weight_y if self.ycond else GlowConfig.class_weight,
            n_bits=self.n_bits_x if self.n_bits_x < 8 else None,
        )

    def spec(self, name: str = "unknown") -> DataSpec:
        """What the flags say of the data, of which they know neither the number of images nor the classes' names."""
        classes = tuple(str(label) for label in range(self.n_y)) if self.n_y > 1 or self.ycond else ()
        return DataSpec(name, (self.image_size, self.image_size, 3), 256, 0, 0, classes)

    def batch(self) -> int:
        """Images per step and device."""
        return max(1, self.n_batch_train * self.anchor_size**2 // self.image_size**2)


def parse(values: Mapping[str, Any]) -> Flags:
    """Flags of a dictionary, with what `problem` implies filled in.

    Args:
      values: by the original's names; numbers and booleans may be strings. The original's other flags are ignored.

    Raises:
      ConfigError: a flag that the original does not have, of another type, or with an impossible value.
    """
    defaults = {field.name: field.default for field in fields(Flags)}
    found: dict[str, Any] = {}
    for name, value in values.items():
        if name in defaults:
            found[name] = typed(name, value, type(defaults[name]))
        elif name not in _IGNORED:
            close = difflib.get_close_matches(name, [*defaults, *_IGNORED], 1)
            hint = f" Did you mean {close[0]}?" if close else f" Known: {', '.join(defaults)}."
            raise ConfigError(f"--flags has {name}, which the original's train.py does not know.{hint}")
    problem = found.get("problem", "")
    require(
        not problem or problem in _SIZES,
        f"--flags has problem={problem}; it must be one of {', '.join(_SIZES)}.",
    )
    for name, table in (("image_size", _SIZES), ("n_y", _CLASSES)):
        if found.get(name, -1) == -1 and problem:
            found[name] = table[problem]
    flags = Flags(**found)
    _check(flags)
    return flags


def read(text: str) -> dict[str, Any]:
    """The dictionary in `--flags`: `key=value,key=value`, JSON, or a file of either.

    Of a file with several lines of JSON, such as the `train.txt` that the original logs, the first one counts.

    Raises:
      ConfigError: it is none of these.
    """
    text = text.strip()
    if "=" not in text and not text.startswith("{"):
        path = Path(text).expanduser()
        require(
            path.is_file(),
            f"--flags is {text!r}, where there is no file; it must be a JSON file, JSON, or key=value,key=value.",
        )
        text = path.read_text(errors="replace").strip().partition("\n{")[0]
    if text.startswith("{"):
        try:
            return json.loads(text)
        except json.JSONDecodeError as error:
            raise ConfigError(f"--flags is not JSON ({error}).") from error
    pairs = [pair.strip().removeprefix("--").partition("=") for pair in text.replace("\n", ",").split(",")]
    return {name.strip(): value.strip() for name, _, value in pairs if name.strip()}


def typed(name: str, value: Any, kind: type, true: tuple[str, ...] = _TRUE, false: tuple[str, ...] = _FALSE) -> Any:
    """A flag's value, perhaps a string, as bool, int, float or string.

    Args:
      name: of the flag, for messages.
      value: of the flag.
      kind: what it should be.
      true: how people write a bool that holds, in small letters,
      false: and one that does not.

    Raises:
      ConfigError: it is none.
    """
    text = str(value).strip()
    if kind is bool and text.lower() in (*true, *false):
        return text.lower() in true
    if kind is not bool:
        try:
            return kind(text)
        except ValueError:
            pass
    raise ConfigError(f"--flags has {name}={value}; it must be of type {kind.__name__}.")


def _check(flags: Flags) -> None:
    for name, choices in (("flow_permutation", _PERMUTATIONS), ("flow_coupling", _COUPLINGS)):
        value = getattr(flags, name)
        listed = ", ".join(f"{i} ({choice})" for i, choice in enumerate(choices))
        require(0 <= value < len(choices), f"--flags has {name}={value}; it must be one of {listed}.")
    for name in ("n_levels", "depth", "width", "n_batch_train", "anchor_size"):
        value = getattr(flags, name)
        require(value > 0, f"--flags has {name}={value}; it must be at least 1.")
    require(1 <= flags.n_bits_x <= 8, f"--flags has n_bits_x={flags.n_bits_x}; it must be from 1 to 8.")
    require(flags.image_size != -1, "--flags has no image_size, and no problem that would imply it; add one of them.")
    factor = 2**flags.n_levels
    require(
        flags.image_size > 0 and flags.image_size % factor == 0,
        f"--flags has image_size={flags.image_size}, which n_levels={flags.n_levels} cannot halve {flags.n_levels} "
        f"times; it must be a multiple of {factor}.",
    )
    require(
        not flags.ycond or flags.n_y > 0,
        f"--flags has ycond and n_y={flags.n_y}; add n_y, the number of classes, or the problem.",
    )
