"""GLIDE's two models as compiled programs: a base that draws from captions, and an upsampler of what it drew."""

from __future__ import annotations

from typing import Any, NamedTuple

import jax
import jax.numpy as jnp
import numpy as np

from glowdiff.catalog.methods import build_method
from glowdiff.config.options import as_float32, changed
from glowdiff.config.sections import Config, MeshConfig
from glowdiff.inference.drawer import Drawer
from glowdiff.method import Method, batch_shapes
from glowdiff.sharding import make_mesh
from glowdiff.spec import DataSpec

# By name: what is changed of the configurations' sampling, for the base and for the upsampler.
PLANS: dict[str, tuple[dict[str, Any], dict[str, Any]]] = {
    "original": (
        {"sampler": "ancestral", "steps": "100", "guidance_scale": 3.0},
        {"sampler": "ddim", "steps": "fast27", "temperature": 0.997},
    ),
    "dpmpp_2m": (
        {"sampler": "dpmpp_2m", "steps": "20", "spacing": "log_snr", "guidance_scale": 3.0},
        {"sampler": "dpmpp_2m", "steps": "10", "spacing": "log_snr", "temperature": 0.997},
    ),
}
WORDS = 12  # tokens of a prompt
PUBLISHED_SECONDS = 15.0  # for a picture, of the original on an A100


class Stage(NamedTuple):
    """A model, and the shapes of its weights."""

    config: Config
    method: Method
    variables: Any


class Call(NamedTuple):
    """A jitted sampler with its arguments, whose weights may be shapes."""

    program: Any
    args: tuple[Any, ...]
    batch: int

    def trace(self) -> Any:
        """Its jaxpr; `.lower().compile()` does the rest."""
        return self.program.trace(*self.args, size=self.batch)


def stage(config: Config, weights: str) -> Stage:
    """A configuration built for captioned pictures that need not be there, its weights kept in a dtype of that name."""
    side = config.data.size
    assert side is not None
    spec = DataSpec("captioned pictures", (side, side, 3), 256, 1, 1, captions=True)
    method = build_method(config, spec)
    shapes = jax.eval_shape(method.init, jax.random.key(0), batch_shapes(spec, 1, method.takes))
    kept = jnp.dtype(weights)
    return Stage(config, method, jax.tree.map(lambda leaf: jax.ShapeDtypeStruct(leaf.shape, kept), dict(shapes)))


def calls(plan: str, batch: int, stages: tuple[Stage, Stage], weights: list[Any]) -> list[Call]:
    """What draws `batch` small pictures, and what enlarges them."""
    mesh = make_mesh(MeshConfig(), jax.devices()[:1])
    rng, made = np.random.default_rng(0), []
    for each, variables, choices in zip(stages, weights, PLANS[plan], strict=True):
        shape = (batch, each.config.model.captions.context)
        tokens = rng.integers(each.config.model.captions.vocab_size, size=shape, dtype=np.int32)
        given: dict[str, Any] = {"tokens": tokens, "mask": np.arange(shape[1])[None] < np.full((batch, 1), WORDS)}
        if low_res := each.config.model.low_res:
            given["low_res"] = np.zeros((batch, low_res, low_res, 3), np.uint8)
        options = as_float32(changed(each.config.sampling, each.config.model.options, choices))
        args = (variables, jax.random.key(1), np.int32(0), given, options)
        made.append(Call(Drawer(each.method, mesh).program, args, batch))
    return made


def draw(compiled: list[Any], made: list[Call], weights: list[Any], *, enlarge: bool = True) -> jax.Array:
    """Pictures of the compiled calls; the small ones never leave the device. Without `enlarge` those."""
    small = compiled[0](weights[0], *made[0].args[1:])[0]
    if not enlarge:
        return small
    _, key, first, given, options = made[1].args
    return compiled[1](weights[1], key, first, {**given, "low_res": small}, options)[0]
