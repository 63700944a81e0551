"""Fine-tuning: a run that starts from the weights of another workdir's model (`train.init_from`)."""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence
from typing import Any

import jax
import jax.numpy as jnp

from glowdiff.errors import ConfigError, require
from glowdiff.method import Condition
from glowdiff.trained import restore
from glowdiff.training.experiment import Experiment
from glowdiff.training.state import TrainState
from glowdiff.workdir import description as workdirs

_FIRST = "['input_blocks_0']['kernel']"  # of denoisers: it sees x, and conditions beside it


def check_source(workdir: str) -> None:
    """Raise `ConfigError` unless `workdir` describes a model; before anything takes time."""
    try:
        workdirs.read(workdir)
    except ConfigError as error:
        raise ConfigError(f"train.init_from: {error}") from error


def start_from(state: TrainState, experiment: Experiment, workdir: str) -> TrainState:
    """The state with the averaged weights of a workdir's model.

    All weights must have the same shapes but one: where this model sees more beside the noisy image than that one
    (known pixels and their mask, for inpainting), the weights of the new channels are 0, so that it starts as the same
    function (Nichol et al., 2021, section 2.5).

    Raises:
      ConfigError: `workdir` is not one, or its model is another one.
    """
    other = restore(workdir)
    require(
        other.config.method == experiment.config.method,
        f"train.init_from is {workdir}, a model of method {other.config.method}; this one is of method "
        f"{experiment.config.method}.",
    )
    ours, theirs = (_flat(params) for params in (state.variables["params"], other.variables["params"]))
    if _FIRST in theirs and _FIRST in ours:
        codec = experiment.method.codec
        channels = codec.shape[-1] if codec else experiment.dataset.spec.shape[-1]
        before, now = ([("x", channels), *_beside(each.takes)] for each in (other.method, experiment.method))
        theirs[_FIRST] = _widened(theirs[_FIRST], before, now, workdir)
    differing = [
        f"{name} ({theirs[name].shape if name in theirs else 'missing'}, here {ours[name].shape})"
        for name in ours
        if name not in theirs or theirs[name].shape != ours[name].shape
    ]
    differing += [f"{name} (not here)" for name in theirs if name not in ours]
    require(
        not differing,
        f"train.init_from is {workdir}, whose model is another one: {len(differing)} weights do not fit, such as "
        f"{'; '.join(differing[:3])}. Give this one the same model section.",
    )
    names, tree = list(ours), jax.tree.structure(state.variables["params"])
    placed = [jax.device_put(theirs[name].astype(ours[name].dtype), ours[name].sharding) for name in names]
    params = jax.tree.unflatten(tree, placed)
    copy = jax.tree.map(jnp.copy, params)
    return state._replace(variables={**state.variables, "params": params}, ema=copy)


def _beside(takes: Iterable[Condition]) -> list[tuple[str, int]]:
    """Names and channels of what the first convolution sees beside x."""
    return [(each.name, each.channels) for each in takes if each.channels]


def _widened(
    kernel: jax.Array, theirs: Sequence[tuple[str, int]], ours: Sequence[tuple[str, int]], workdir: str
) -> jax.Array:
    """The kernel [3, 3, in, out] of the first convolution with zeros for inputs that the other model does not have.

    Args:
      kernel: of the other model.
      theirs: names and channels of what it sees, in order,
      ours: and of what this one sees.
      workdir: of the other model, for messages.
    """
    parts, start = {}, 0
    for name, channels in theirs:
        parts[name] = kernel[:, :, start : start + channels]
        start += channels
    lost = [name for name in parts if name not in dict(ours)]
    if lost:
        raise ConfigError(f"train.init_from is {workdir}, whose model sees {', '.join(lost)}; this one does not.")

    def zeros(channels: int) -> jax.Array:
        return jnp.zeros((*kernel.shape[:2], channels, kernel.shape[3]), kernel.dtype)

    return jnp.concatenate([parts[name] if name in parts else zeros(channels) for name, channels in ours], 2)


def _flat(params: Mapping[str, Any]) -> dict[str, jax.Array]:
    return {jax.tree_util.keystr(path): leaf for path, leaf in jax.tree_util.tree_leaves_with_path(params)}
