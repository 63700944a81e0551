"""What matrix products cost on a chip whose matrix unit multiplies by square tiles, however little is in them.

The unit holds a tile of one operand and streams the other past it. A tile's sides are the contracted dimension and one
that is kept, here the smaller one, so those two count as if they were rounded up to whole tiles; what streams counts as
it is. A convolution is a product for each position of its kernel, from input channels to output channels, and the
gradient of a kernel is one that contracts all pixels. What a compiler does better (several positions in one tile) or
worse (the other side of a tile) is not known here.
"""

from __future__ import annotations

import math
from collections.abc import Callable
from functools import partial
from typing import Any

from benchmarks.flops import RULES, jaxpr_flops


def tiled_flops(jaxpr: Any, tile: int) -> float:
    """FLOPs of a jaxpr, as `jaxpr_flops`, on a matrix unit of `tile` x `tile`."""
    rules: dict[str, Callable[[Any], float]] = {
        name: partial(_tiled, RULES[name], sides, tile) for name, sides in _SIDES.items()
    }
    return jaxpr_flops(jaxpr, {**RULES, **rules})


def _tiled(
    count: Callable[[Any], float], sides: Callable[[Any], tuple[float, float, float]], tile: int, equation: Any
) -> float:
    """A product's FLOPs with two of its sides in whole tiles."""
    kept, contracted, other = sides(equation)
    if not kept * contracted * other:
        return 0.0
    smaller = min(kept, other)
    return count(equation) * math.prod(math.ceil(side / tile) * tile / side for side in (smaller, contracted))


def _dot_general(equation: Any) -> tuple[float, float, float]:
    """Rows, what is contracted, columns of each product of a batch."""
    (left_contracted, right_contracted), (left_batch, right_batch) = equation.params["dimension_numbers"]
    left, right = (variable.aval.shape for variable in equation.invars)
    rows = math.prod(n for axis, n in enumerate(left) if axis not in (*left_contracted, *left_batch))
    columns = math.prod(n for axis, n in enumerate(right) if axis not in (*right_contracted, *right_batch))
    return rows, math.prod(left[axis] for axis in left_contracted), columns


def _convolution(equation: Any) -> tuple[float, float, float]:
    """Likewise of the product for each position in the kernel, or in a kernel's gradient."""
    params, numbers = equation.params, equation.params["dimension_numbers"]
    left, right, out = (variable.aval.shape for variable in (*equation.invars, *equation.outvars))
    batch = left[numbers.lhs_spec[0]] / params["batch_group_count"]
    inputs = left[numbers.lhs_spec[1]] / params["feature_group_count"]
    outputs = right[numbers.rhs_spec[0]] / (params["feature_group_count"] * params["batch_group_count"])
    window = math.prod(right[axis] for axis in numbers.rhs_spec[2:])
    positions = math.prod(out[axis] for axis in numbers.out_spec[2:])
    if window > positions:  # a kernel's gradient, whose "window" is the image and whose "channels" are the batch
        return batch, inputs * window, outputs
    return batch * positions, inputs, outputs


_SIDES = {"dot_general": _dot_general, "conv_general_dilated": _convolution}
