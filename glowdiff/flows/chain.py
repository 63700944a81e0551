"""Equal flow steps one after the other, scanned: what the backward pass keeps of them is a setting.

plain: every step's activations, so that memory grows with depth. remat: every step's input; the rest is computed again.
reversible: the chain's output alone. The backward pass walks back through the steps and inverts each one (Gomez et al.,
2017, arXiv:1707.04585); a coupling leaves what its net saw unchanged, so one evaluation of the net, with its VJP,
serves the inversion and the gradient. Remat and reversible compute 4/3 of what plain does.
"""

from __future__ import annotations

from typing import Any, Protocol

import jax
import jax.numpy as jnp
from flax import linen as nn

from glowdiff.networks.recomputation import remat

MEMORY = ("plain", "remat", "reversible")

Context = Any  # what tells one step from the next beside its parameters: an array with a leading axis [depth], or None


class Step(Protocol):
    """A flow step whose coupling can be told apart from the net that conditions it."""

    def __call__(
        self, x: jax.Array, context: Context, inverse: bool = False, h: jax.Array | None = None, **options: Any
    ) -> tuple[jax.Array, jax.Array]:
        """Map x [B, H, W, C]; `h` is what `conditioner` gave, None computes it. With the log-determinant [B]."""
        ...

    def kept(self, y: jax.Array, context: Context) -> jax.Array:
        """The part of a step's output that its coupling has left as it was."""
        ...

    def conditioner(self, kept: jax.Array, context: Context, **options: Any) -> jax.Array:
        """What the net makes of it."""
        ...


def run(
    parent: nn.Module,
    step: Any,
    x: jax.Array,
    contexts: Context,
    inverse_contexts: Context,
    *,
    depth: int,
    unroll: int,
    memory: str,
    inverse: bool = False,
    **options: Any,
) -> tuple[jax.Array, jax.Array]:
    """Run `depth` steps.

    Args:
      parent: the module that calls this in its compact method.
      step: a `Step` made there; its parameters (and statistics) are stacked along a first axis [depth].
      x: [B, H, W, C].
      contexts: of the steps; in the inverse direction, of their inverses.
      inverse_contexts: of the steps' inverses, for `memory="reversible"`.
      depth: number of steps.
      unroll: of these, how many one turn of the loop holds.
      memory: plain | remat | reversible.
      inverse: from the last step's output to the first one's input.
      **options: passed on to the step.

    Returns:
      y [B, H, W, C] and the log-determinant [B].
    """
    unroll = min(unroll, depth)
    if memory == "reversible" and not inverse and not parent.is_initializing():
        variables = {name: parent.get_variable(name, step.name) for name in parent.variables if name != "intermediates"}
        variables = {name: value for name, value in variables.items() if value is not None}
        chain = _Reversible(step.clone(parent=None, name=None), unroll, options)
        y, logdet, statistics = chain(variables, x, contexts, inverse_contexts)
        for name, value in statistics.items():
            parent.put_variable(name, step.name, value)
        return y, logdet

    def body(step: Any, carry: tuple[jax.Array, jax.Array], context: Context) -> tuple[Any, None]:
        x, logdet = carry
        x, more = step(x, context, inverse=inverse, **options)
        return (x, logdet + more), None

    scan = nn.scan(
        remat(body, memory == "remat", prevent_cse=False),
        variable_axes={"params": 0, "batch_stats": 0},
        split_rngs={"params": True},
        length=depth,
        unroll=unroll,
        reverse=inverse,
    )
    (x, logdet), _ = scan(step, (x, jnp.zeros(x.shape[:1], x.dtype)), contexts)
    return x, logdet


class _Reversible:
    """The chain as a function of arrays whose VJP keeps nothing between the steps.

    In training a step that normalises by its batch leaves the batch's statistics in "batch_stats". With these in place
    its evaluation mode is the same map, and can be inverted.
    """

    def __init__(self, step: Any, unroll: int, options: dict[str, Any]) -> None:
        self._step, self._unroll, self._options = step, unroll, options
        self._mutable = ["batch_stats"] if options.get("train") else []
        self._call = jax.custom_vjp(self._run)
        self._call.defvjp(self._forward, self._backward)

    def __call__(self, variables: Any, x: jax.Array, contexts: Context, inverse_contexts: Context) -> Any:
        """Y [B, H, W, C], the log-determinant [B], and the collections that have changed."""
        params = variables["params"]
        rest = {name: value for name, value in variables.items() if name != "params"}
        return self._call(params, rest, x, contexts, inverse_contexts)

    def _step_forward(self, params: Any, rest: Any, x: jax.Array, context: Context, h: jax.Array | None) -> Any:
        variables = {"params": params, **rest}
        (y, logdet), updates = self._step.apply(variables, x, context, h=h, mutable=self._mutable, **self._options)
        return y, logdet, updates

    def _run(self, params: Any, rest: Any, x: jax.Array, contexts: Context, inverse_contexts: Context) -> Any:
        del inverse_contexts

        def body(carry: Any, inputs: Any) -> Any:
            x, logdet = carry
            params, rest, context = inputs
            x, more, statistics = self._step_forward(params, rest, x, context, None)
            return (x, logdet + more), statistics

        carry = (x, jnp.zeros(x.shape[:1], x.dtype))
        (y, logdet), statistics = jax.lax.scan(body, carry, (params, rest, contexts), unroll=self._unroll)
        return y, logdet, statistics

    def _forward(self, params: Any, rest: Any, x: jax.Array, contexts: Context, inverse_contexts: Context) -> Any:
        y, logdet, statistics = self._run(params, rest, x, contexts, inverse_contexts)
        return (y, logdet, statistics), (params, rest, statistics, y, contexts, inverse_contexts)

    def _backward(self, residuals: Any, gradients: Any) -> Any:
        params, rest, statistics, y, contexts, inverse_contexts = residuals
        gradient, logdet_gradient, _ = gradients  # statistics are reported, not differentiated

        def body(carry: tuple[jax.Array, jax.Array], inputs: Any) -> Any:
            y, g = carry
            params, rest, statistics, context, inverse_context = inputs
            back = {"params": params, **rest, **statistics}
            kept, to_output = jax.vjp(lambda y: self._step.apply(back, y, context, method="kept"), y)
            h, net_vjp = jax.vjp(lambda p, kept: self._conditioner(p, rest, kept, context), params, kept)
            x, _ = self._step.apply(back, y, inverse_context, inverse=True, h=h)

            # Contexts that are no numbers to differentiate by, such as indices, are left out.
            numbers = (context,) if _is_float(context) else ()

            def transform(params: Any, x: jax.Array, h: jax.Array, *numbers: jax.Array) -> Any:
                return self._step_forward(params, rest, x, numbers[0] if numbers else context, h)[:2]

            _, step_vjp = jax.vjp(transform, params, x, h, *numbers)
            # The net's gradient first, which needs that of h only; what it sends to the part it saw joins the output's.
            net_gradient, kept_gradient = net_vjp(step_vjp((g, logdet_gradient))[2])
            g = g + to_output(kept_gradient)[0]
            step_gradient, g, _, *context_gradient = step_vjp((g, logdet_gradient))
            params_gradient = jax.tree.map(jnp.add, net_gradient, step_gradient)
            return (x, g), (params_gradient, context_gradient[0] if numbers else None)

        (_, gradient), (params_gradient, context_gradients) = jax.lax.scan(
            body,
            (y, gradient),
            (params, rest, statistics, contexts, inverse_contexts),
            reverse=True,
            unroll=self._unroll,
        )
        return params_gradient, None, gradient, context_gradients, None

    def _conditioner(self, params: Any, rest: Any, kept: jax.Array, context: Context) -> jax.Array:
        variables = {"params": params, **rest}
        h, _ = self._step.apply(variables, kept, context, method="conditioner", mutable=self._mutable, **self._options)
        return h


def _is_float(context: Context) -> bool:
    return context is not None and jnp.issubdtype(context.dtype, jnp.inexact)
