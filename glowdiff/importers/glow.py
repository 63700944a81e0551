"""Glow (TensorFlow): flags are those of the original's `train.py`."""

from __future__ import annotations

import re
from collections.abc import Mapping
from typing import Any, NamedTuple

import numpy as np

from glowdiff.catalog.parse import Settings, defaults
from glowdiff.catalog.recipes import EPOCH, glow_training
from glowdiff.errors import ConfigError, require
from glowdiff.flows.config import GlowConfig
from glowdiff.importers.family import NAME_DATA, Family, File
from glowdiff.importers.flags import require_positive, values
from glowdiff.importers.mapping import Arrays, Path, Source, stacked
from glowdiff.spec import DataSpec

_PERMUTATIONS = ("reverse", "shuffle", "conv")
_COUPLINGS = ("additive", "affine")
# What the original derives from `problem`: sides of the images, and classes.
_PROBLEMS = {
    "cifar10": (32, 10), "imagenet-oord": (64, 1000), "imagenet": (256, 1000), "celeba": (256, 1),
    "lsun_realnvp": (64, 1), "lsun": (256, 1), "mnist": (32, 10),
}  # fmt: skip
# Flags, and what the original's log adds to them, that say nothing about the weights.
_IGNORED = (
    "verbose", "restore_path", "logdir", "data_dir", "dal", "fmap", "pmap", "n_train", "n_test", "n_batch_test",
    "n_batch_init", "optimizer", "lr", "beta1", "polyak_epochs", "weight_decay", "epochs", "epochs_warmup",
    "epochs_full_valid", "gradient_checkpointing", "n_sample", "epochs_full_sample", "seed", "local_batch_train",
    "local_batch_test", "local_batch_init", "direct_iterator", "rnd_crop", "train_its", "test_its", "full_test_its",
    "top_shape", "n_bins",
)  # fmt: skip
_AVERAGE = "/ExponentialMovingAverage"


class Flags(NamedTuple):
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


def parse(flags: Mapping[str, Any]) -> Flags:
    """See `Family.parse`; what `problem` implies is filled in."""
    read = values(flags, Flags()._asdict(), _IGNORED)
    problem = read["problem"]
    require(
        not problem or problem in _PROBLEMS,
        f"--flags has problem={problem}; it must be one of {', '.join(_PROBLEMS)}.",
    )
    for name, implied in zip(("image_size", "n_y"), _PROBLEMS.get(problem, (-1, -1)), strict=True):
        read[name] = implied if read[name] == -1 else read[name]
    parsed = Flags(**read)
    for name, choices in (("flow_permutation", _PERMUTATIONS), ("flow_coupling", _COUPLINGS)):
        listed = ", ".join(f"{i} ({choice})" for i, choice in enumerate(choices))
        require(0 <= read[name] < len(choices), f"--flags has {name}={read[name]}; it must be one of {listed}.")
    require_positive(read, "n_levels", "depth", "width", "n_batch_train", "anchor_size")
    require(1 <= parsed.n_bits_x <= 8, f"--flags has n_bits_x={parsed.n_bits_x}; it must be from 1 to 8.")
    require(parsed.image_size != -1, "--flags has no image_size, and no problem that would imply it; add one of them.")
    factor = 2**parsed.n_levels
    require(
        parsed.image_size > 0 and parsed.image_size % factor == 0,
        f"--flags has image_size={parsed.image_size}, which n_levels={parsed.n_levels} cannot halve {parsed.n_levels} "
        f"times; it must be a multiple of {factor}.",
    )
    require(
        not parsed.ycond or parsed.n_y > 0,
        f"--flags has ycond and n_y={parsed.n_y}; add n_y, the number of classes, or the problem.",
    )
    return parsed


def _spec(flags: Flags, name: str) -> DataSpec:
    """What the flags say of the data, of which they know neither the number of images nor the classes' names."""
    classes = tuple(map(str, range(flags.n_y))) if flags.n_y > 1 or flags.ycond else ()
    return DataSpec(name, (flags.image_size, flags.image_size, 3), 256, 0, 0, classes)


def _data(flags: Flags, release: str | None) -> dict[str, Any]:
    """That of the original's `problem`."""
    size, problem = flags.image_size, flags.problem
    if problem == "cifar10":
        return {"name": "cifar10", "flip": True}
    if problem in ("imagenet-oord", "imagenet") and size in (32, 64):
        name = "downsampled_imagenet" if problem == "imagenet-oord" else "imagenet_resized"
        return {"name": f"{name}/{size}x{size}", "test_split": "validation"}
    if problem == "celeba":
        splits = {"train_split": "train[:27000]", "test_split": "train[27000:]"}
        return {"name": f"celeb_a_hq/{size}", "flip": True, **splits}
    if problem in ("lsun_realnvp", "lsun"):
        return {"name": f"lsun/{flags.category or 'bedroom'}", "size": size, "test_split": "validation", "flip": True}
    named = f"problem={problem} of {size} pixels" if problem else "no problem"
    raise ConfigError(f"--flags has {named}, which does not tell which data set of ours has such images; {NAME_DATA}")


def _settings(flags: Flags, data: Mapping[str, Any], batch: int) -> Settings:
    """With the original's images per step, of one device."""
    batch = batch or max(1, flags.n_batch_train * flags.anchor_size**2 // flags.image_size**2)
    require(1 <= batch <= EPOCH, f"--batch is {batch}; it must be from 1 to {EPOCH:,}.")
    config = defaults("glow")
    glow_training(config, batch)
    config.model.update(
        levels=flags.n_levels,
        depth=flags.depth,
        width=flags.width,
        permutation=_PERMUTATIONS[flags.flow_permutation],
        coupling=_COUPLINGS[flags.flow_coupling],
        learn_top=flags.learntop,
        class_conditional=flags.ycond,
        class_weight=flags.weight_y if flags.ycond else GlowConfig.class_weight,
        n_bits=flags.n_bits_x if flags.n_bits_x < 8 else None,
    )
    return config


def _split(arrays: dict[str, np.ndarray]) -> tuple[Arrays, Arrays]:
    """Weights, and the averages that TensorFlow keeps beside them; without the `:0` that it appends to names."""
    named = {name.removesuffix(":0"): array for name, array in arrays.items()}
    averages = {name.removesuffix(_AVERAGE): array for name, array in named.items() if name.endswith(_AVERAGE)}
    return {name: array for name, array in named.items() if not name.endswith(_AVERAGE)}, averages


# ---- Where our arrays come from. Kernels of convolutions are [3, 3, C + 1, F]: the last channel they read is a ring of
# ones around the image, which our `edge` sees.


def _inside(kernel: np.ndarray) -> np.ndarray:
    return kernel[:, :, :-1]


def _edge(kernel: np.ndarray) -> np.ndarray:
    return kernel[:, :, -1:]


_ACTNORM = {"bias": ("actnorm_center/b", np.ravel), "logs": ("actnorm_scale/logs", np.ravel)}
_CONV = {"kernel": ("W", _inside), "edge/kernel": ("W", _edge)}
_OUTPUT = {"bias": ("b", np.ravel), "logs": ("logs", np.ravel)}


def _rows(kind: Mapping[str, tuple[str, Any]], ours: str, theirs: str = "") -> dict[str, tuple[str, Any]]:
    return {f"{ours}/{leaf}": (theirs + key, each) for leaf, (key, each) in kind.items()}


# In all the steps of a level, whose arrays are stacked here.
_STEPS = {
    **_rows(_ACTNORM, "steps/actnorm"),
    **_rows(_CONV, "steps/net/conv_in", "f1/l_1/"),
    **_rows(_ACTNORM, "steps/net/actnorm_in", "f1/l_1/"),
    "steps/net/kernel_mid": ("f1/l_2/W", lambda kernel: kernel[0, 0]),
    **_rows(_ACTNORM, "steps/net/actnorm_mid", "f1/l_2/"),
    **_rows(_CONV, "steps/net/conv_out/conv", "f1/l_last/"),
    **_rows(_OUTPUT, "steps/net/conv_out/output", "f1/l_last/"),
    "permutations/kernel": ("invconv/W", np.asarray),
    "permutations/indices": ("shuffle/indices", np.int32),
}
_SPLIT = {**_rows(_CONV, "conv/conv", "conv/"), **_rows(_OUTPUT, "conv/output", "conv/")}
# Of the top's kernel the original convolves zeros with all but the edge, which therefore says nothing.
_TOP = {
    "edge/kernel": ("p/W", _edge), **_rows(_OUTPUT, "output", "p/"),
    "label_kernel": ("y_emb/W", np.asarray), **_rows(_OUTPUT, "label", "y_emb/"),
}  # fmt: skip
# The head that predicts the class from the top latent; zeros, as initialised, where the weights leave it out.
_CLASSIFIER = {"classifier/kernel": ("W", np.asarray), **_rows(_OUTPUT, "classifier_output")}


def _sources(flags: Flags, paths: list[Path]) -> dict[str, dict[Path, Source]]:
    return {"weights": {path: _source(path, flags.depth) for path in paths}}


def _source(path: Path, depth: int) -> Source:
    block, number = re.fullmatch(r"([a-z_]*?)_?(\d*)", path[1]).groups()  # pyright: ignore[reportOptionalMemberAccess]
    name = "/".join(path[2:])
    if block == "flows":
        key, each = _STEPS[name]
        return Source(tuple(f"model/{number}/{step}/{key}" for step in range(depth)), stacked(each))
    theirs, table = {"splits": (f"pool{number}", _SPLIT), "top": ("prior", _TOP)}.get(
        block, ("classifier", _CLASSIFIER)
    )
    key, each = table[name if table is not _CLASSIFIER else f"{block}/{name}"]
    return Source((f"model/{theirs}/{key}",), each, optional=table is _CLASSIFIER)


GLOW = Family(
    name="glow",
    help="a checkpoint of the original Glow (TensorFlow)",
    parse=parse,
    spec=_spec,
    data=_data,
    settings=_settings,
    sources=_sources,
    files=(File(help="an .npz file of its variables by name"),),
    flags="of its training: a JSON file (such as its train.txt), JSON, or key=value,...",
    classes="n_y",
    # The optimisers name their moments by accident: tf.Variable's second argument is not the name.
    unread=rf"(Variable(_\d+)?|global_step)(:0)?|.*{_AVERAGE}/.+",
    averages=_split,
    unused=r"model/\d+/\d+/shuffle/indices_inverse|model/classifier/(W|b|logs)",
)
