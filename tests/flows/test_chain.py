"""What the backward pass through a chain of steps keeps in memory."""

import jax
import jax.numpy as jnp
import pytest

from glowdiff.flows.glow import FlowLevel


def temporaries(memory: str, depth: int) -> int:
    """Bytes that the gradient of a level needs beside its inputs and outputs."""
    level = FlowLevel(depth, 8, "reverse", False, "affine", 1, memory, jnp.float32, jnp.float32)
    x = jax.ShapeDtypeStruct((32, 8, 8, 4), jnp.float32)
    variables = jax.eval_shape(level.init, jax.random.key(0), x)

    def loss(params, x):
        y, logdet = level.apply({"params": params}, x)
        return (y**2).sum() - logdet.sum()

    compiled = jax.jit(jax.grad(loss)).lower(variables["params"], x).compile()
    return compiled.memory_analysis().temp_size_in_bytes


@pytest.mark.parametrize(("memory", "grows"), [("plain", True), ("reversible", False)])
def test_reversible_memory_does_not_grow_with_depth(memory, grows):
    few, many = temporaries(memory, 3), temporaries(memory, 24)
    assert (many > 4 * few) == grows
    if not grows:
        assert many < 1.15 * few
