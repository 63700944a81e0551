"""Networks whose every parameter matters; freshly initialised ones return zeros."""

from typing import Any

import jax
import numpy as np


def random_params(module: Any, *args: Any) -> Any:
    """Parameters as a trained network might have, without compiling anything."""
    rng = np.random.default_rng(0)
    shapes = jax.eval_shape(module.init, jax.random.key(0), *args)["params"]

    def random(path: Any, leaf: Any) -> np.ndarray:
        fan_in = max(1, np.prod(leaf.shape[:-1], dtype=int))
        return rng.standard_normal(leaf.shape, np.float32) / np.float32(fan_in) ** 0.5 + (path[-1].key == "scale")

    return jax.tree_util.tree_map_with_path(random, shapes)
