"""FLOPs of a function, counted on its jaxpr.

`compiled.cost_analysis()` counts the body of a loop once, whatever its length, and sees what the compiler has made of
the model: rematerialised or fused work counts, work hidden in library calls does not. The walk below counts what the
model asks for: two operations for each multiplication and addition of matrix products, convolutions and dense
factorisations, scan bodies times their lengths, kernels of Pallas times their blocks. Elementwise operations are left
out, as is usual for "model FLOPs".
"""

from __future__ import annotations

import math
import warnings
from collections.abc import Callable, Mapping
from typing import Any

import jax
from jax.extend import core

Rules = Mapping[str, Callable[[Any], float]]  # FLOPs of an equation, by the name of its primitive


def count_flops(function: Callable[..., Any], *args: Any, **kwargs: Any) -> int:
    """FLOPs of `function(*args, **kwargs)`, over all devices together; results that nobody uses count as well.

    Args:
      function: any traceable function; one already jitted keeps its static arguments.
      *args: arrays or `jax.ShapeDtypeStruct`s; nothing is computed.
      **kwargs: likewise, or static arguments of a jitted function.
    """
    traceable = function if hasattr(function, "trace") else jax.jit(function)
    return round(jaxpr_flops(traceable.trace(*args, **kwargs).jaxpr))  # pyright: ignore[reportFunctionMemberAccess]


def jaxpr_flops(jaxpr: Any, rules: Rules | None = None) -> float:
    """FLOPs of a jaxpr, open or closed; `rules` count equations by the name of their primitive, None: as the model."""
    rules = RULES if rules is None else rules
    return sum(_equation_flops(equation, rules) for equation in getattr(jaxpr, "jaxpr", jaxpr).eqns)


def _equation_flops(equation: Any, rules: Rules) -> float:
    name, params = equation.primitive.name, equation.params
    if name in rules:
        return rules[name](equation)
    if name == "scan":
        return params["length"] * jaxpr_flops(params["jaxpr"], rules)
    if name == "cond":
        return max(jaxpr_flops(branch, rules) for branch in params["branches"])
    if name == "custom_linear_solve":
        return jaxpr_flops(params["jaxprs"].solve, rules)
    inner = sum(jaxpr_flops(jaxpr, rules) for jaxpr in core.jaxprs_in_params(params))
    if name == "shard_map":  # its jaxpr is that of one device
        return inner * math.prod(params["mesh"].shape[axis] for axis in params["newly_manual_axes"])
    if name == "pallas_call" and not params["grid_mapping"].num_dynamic_grid_bounds:  # its jaxpr is that of one block
        return inner * math.prod(params["grid_mapping"].grid)
    if name in ("while", "pallas_call") and inner:
        warnings.warn(f"a {name} of unknown length is not counted ({inner:,.0f} FLOPs each turn).", stacklevel=2)
        return 0
    return inner


def _shape(variable: Any) -> tuple[int, ...]:
    return variable.aval.shape


def _dot_general(equation: Any) -> float:
    contracted = equation.params["dimension_numbers"][0][0]
    left = _shape(equation.invars[0])
    return 2 * math.prod(_shape(equation.outvars[0])) * math.prod(left[axis] for axis in contracted)


def _convolution(equation: Any) -> float:
    """Products with padding, and with the zeros that dilation puts between elements, are not counted (as XLA does)."""
    params, numbers = equation.params, equation.params["dimension_numbers"]
    left, right, out = (_shape(v) for v in (*equation.invars, *equation.outvars))
    batch, channels = left[numbers.lhs_spec[0]], left[numbers.lhs_spec[1]]
    features = right[numbers.rhs_spec[0]]
    products = batch / params["batch_group_count"] * channels / params["feature_group_count"] * features
    sides = zip(numbers.lhs_spec[2:], numbers.rhs_spec[2:], numbers.out_spec[2:], strict=True)
    for i, (axis_left, axis_right, axis_out) in enumerate(sides):
        products *= _valid_positions(
            left[axis_left],
            right[axis_right],
            out[axis_out],
            params["window_strides"][i],
            params["padding"][i][0],
            params["lhs_dilation"][i],
            params["rhs_dilation"][i],
        )
    return 2 * products


def _valid_positions(
    length: int, kernel: int, out: int, stride: int, padding: int, dilation: int, kernel_dilation: int
) -> int:
    """Pairs of kernel and output positions along one side that meet an element of the input."""
    count = 0
    for tap in range(kernel):
        positions = (i * stride + tap * kernel_dilation - padding for i in range(out))
        count += sum(position % dilation == 0 and 0 <= position < length * dilation for position in positions)
    return count


def _lu(equation: Any) -> float:
    *batch, m, n = _shape(equation.invars[0])
    k = min(m, n)
    return math.prod(batch) * 2 * (m * n * k - (m + n) * k**2 / 2 + k**3 / 3)


def _triangular_solve(equation: Any) -> float:
    """Half the products of a square matrix with the right-hand sides, on whichever side it stands."""
    return math.prod(_shape(equation.invars[1])) * _shape(equation.invars[0])[-1]


def _cholesky(equation: Any) -> float:
    *batch, n, _ = _shape(equation.invars[0])
    return math.prod(batch) * n**3 / 3


def _qr(equation: Any) -> float:
    """Householder's algorithm, Q formed: twice the work of R alone."""
    *batch, m, n = _shape(equation.invars[0])
    k = min(m, n)
    return math.prod(batch) * 4 * (m * n * k - (m + n) * k**2 / 2 + k**3 / 3)


RULES: Rules = {
    "dot_general": _dot_general,
    "conv_general_dilated": _convolution,
    "lu": _lu,
    "triangular_solve": _triangular_solve,
    "cholesky": _cholesky,
    "qr": _qr,
}
