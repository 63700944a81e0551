"""Fine-tuning: a run that starts from the weights of another workdir's model (`train.init_from`)."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

import jax
import jax.numpy as jnp

from glowdiff.errors import ConfigError, require
from glowdiff.method import Method
from glowdiff.trained import restore
from glowdiff.training.experiment import Experiment
from glowdiff.training.state import TrainState
from glowdiff.workdir import description as workdirs

_FIRST = "['input_blocks_0']['kernel']"  # of denoisers: it sees `Method.inputs`


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
    wanted, found = (_flat(params) for params in (state.variables["params"], other.variables["params"]))
    if other.method.inputs and experiment.method.inputs:
        found[_FIRST] = _widened(found[_FIRST], other.method, experiment.method, workdir)
    differing = [
        f"{name} ({found[name].shape if name in found else 'missing'}, here {wanted[name].shape})"
        for name in wanted
        if name not in found or found[name].shape != wanted[name].shape
    ]
    differing += [f"{name} (not here)" for name in found if name not in wanted]
    require(
        not differing,
        f"train.init_from is {workdir}, whose model is another one: {len(differing)} weights do not fit, such as "
        f"{'; '.join(differing[:3])}. Give this one the same model section.",
    )
    names, tree = list(wanted), jax.tree.structure(state.variables["params"])
    placed = [jax.device_put(found[name].astype(wanted[name].dtype), wanted[name].sharding) for name in names]
    params = jax.tree.unflatten(tree, placed)
    copy = jax.tree.map(jnp.copy, params)
    return state._replace(variables={**state.variables, "params": params}, ema=copy)


def _widened(kernel: jax.Array, theirs: Method, ours: Method, workdir: str) -> jax.Array:
    """The kernel [3, 3, in, out] of the first convolution with zeros for inputs that the other model does not have."""
    parts, start = {}, 0
    for name, channels in theirs.inputs:
        parts[name] = kernel[:, :, start : start + channels]
        start += channels
    lost = [name for name in parts if name not in dict(ours.inputs)]
    if lost:
        raise ConfigError(f"train.init_from is {workdir}, whose model sees {', '.join(lost)}; this one does not.")
    zeros = lambda channels: jnp.zeros((*kernel.shape[:2], channels, kernel.shape[3]), kernel.dtype)  # noqa: E731
    return jnp.concatenate([parts.get(name, zeros(channels)) for name, channels in ours.inputs], 2)


def _flat(params: Mapping[str, Any]) -> dict[str, jax.Array]:
    return {jax.tree_util.keystr(path): leaf for path, leaf in jax.tree_util.tree_leaves_with_path(params)}
