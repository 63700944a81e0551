"""Precision, recall, density and coverage: who lies within whose neighbourhood, of sets of features.

Precision and recall after Kynkaanniemi et al. (2019), density and coverage after Naeem et al. (2020). A point's ball
reaches to its k-th neighbour in its own set, itself not counted. Distances are computed tile by tile, a tile's rows
split over the devices: an array of all pairs is never there.
"""

from __future__ import annotations

import functools
from collections.abc import Callable, Iterator
from typing import Any, NamedTuple

import jax
import jax.numpy as jnp
import numpy as np
from jax.sharding import Mesh

from glowdiff.config.sections import MeshConfig
from glowdiff.errors import require
from glowdiff.metrics.checks import check_features, check_widths
from glowdiff.sharding import batch_sharding, make_mesh, replicated

_ROWS = 1_024  # of a tile, on each device
_COLUMNS = 4_096  # of a tile
_REALISM = 1e-5  # beside the squared distance, as in Kynkaanniemi's code


class Neighbourhoods(NamedTuple):
    """How two sets of features overlap."""

    precision: float  # the share of fakes that lie in the ball of a real one
    recall: float  # the share of real ones that lie in the ball of a fake
    density: float  # in how many real balls a fake lies, over k: the mean over fakes, which may exceed 1
    coverage: float  # the share of real balls that hold a fake


class _Points(NamedTuple):
    """Some points; those that only fill a tile are infinitely far from all others, and have no ball."""

    features: Any  # [..., D]
    squares: Any  # |x|^2 [...]
    radii: Any  # squared [...]


class _Met(NamedTuple):
    """What the rows of a tile, R fakes, and all N real ones are to each other."""

    holding: Any  # [R], real balls that hold a fake
    realism: Any  # [R], the largest r^2 / (d^2 + 1e-5)
    nearest: Any  # [N], the squared distance to the nearest fake
    held: Any  # bool [N], in the ball of a fake


def neighbourhoods(
    real: np.ndarray, fake: np.ndarray, *, k: int = 3, closed: bool = True, mesh: Mesh | None = None
) -> Neighbourhoods:
    """Precision, recall, density and coverage; published are k = 3 for the first two, and 5 for the others.

    Args:
      real: features [N, D].
      fake: features [M, D].
      k: the neighbour that balls reach to.
      closed: balls hold what lies on their surface (Kynkaanniemi's code and ADM's), or not (the package prdc). It
        matters where distances are equal: duplicates, integers.
      mesh: the devices; None: all.

    Raises:
      ConfigError: sets of different widths, not finite, or of no more than k.
    """
    real, fake, mesh = _checked(real, fake, k, mesh)
    real_radii, fake_radii = squared_radii(real, k, mesh), squared_radii(fake, k, mesh)
    met = _meet(real, real_radii, fake, fake_radii, closed, mesh)
    covered = met.nearest <= real_radii if closed else met.nearest < real_radii
    holding = np.asarray(met.holding)
    return Neighbourhoods(
        float((holding > 0).mean()), float(np.mean(met.held)), float(holding.mean() / k), float(np.mean(covered))
    )


def realism(real: np.ndarray, fake: np.ndarray, *, k: int = 3, mesh: Mesh | None = None) -> np.ndarray:
    """How deep within the balls of real images each fake lies: the largest r^2 / d^2, [M]; above 1 is within one.

    As in Kynkaanniemi's code that is of squares, and no ball is left out; for arguments see `neighbourhoods`.
    """
    real, fake, mesh = _checked(real, fake, k, mesh)
    radii = np.zeros(len(fake), np.float32)
    return np.asarray(_meet(real, squared_radii(real, k, mesh), fake, radii, True, mesh).realism)


def squared_radii(features: np.ndarray, k: int = 3, mesh: Mesh | None = None) -> np.ndarray:
    """The squared distance from each row of [N, D] to the k-th of the others: float32 [N].

    Raises:
      ConfigError: there are no more than k rows, or some are not finite.
    """
    _check_k(k)
    features = check_features(features, least=k + 1)
    mesh = mesh or make_mesh(MeshConfig())
    points = _points(features, _shift(features))
    columns = _columns(points, mesh)
    # One more, for a row finds itself. Not at a distance of 0 sharp, so it cannot be told by that.
    found = [np.asarray(_to_neighbour(k + 1, mesh)(rows, columns)) for rows in _rows(points, mesh)]
    return np.concatenate(found)[: len(features)]


def _checked(real: np.ndarray, fake: np.ndarray, k: int, mesh: Mesh | None) -> tuple[np.ndarray, np.ndarray, Mesh]:
    _check_k(k)
    real = check_features(real, "the features of the real images", least=k + 1)
    fake = check_features(fake, "the features of the samples", least=k + 1)
    check_widths(real.shape[1], fake.shape[1], "the features of the real images", "the samples'")
    return real, fake, mesh or make_mesh(MeshConfig())


def _check_k(k: int) -> None:
    require(k > 0, f"k is {k}; a ball reaches to the first neighbour, or one further away.")


def _meet(
    real: np.ndarray, real_radii: np.ndarray, fake: np.ndarray, fake_radii: np.ndarray, closed: bool, mesh: Mesh
) -> _Met:
    shift = _shift(real)
    columns = _columns(_points(real, shift, real_radii), mesh)
    tiles = _rows(_points(fake, shift, fake_radii), mesh)
    each = [jax.device_get(_met(closed, mesh)(rows, columns)) for rows in tiles]
    holding, of_realism = (np.concatenate(parts)[: len(fake)] for parts in zip(*(met[:2] for met in each), strict=True))
    nearest = functools.reduce(np.minimum, (met.nearest for met in each)).ravel()[: len(real)]
    held = functools.reduce(np.logical_or, (met.held for met in each)).ravel()[: len(real)]
    return _Met(holding, of_realism, nearest, held)


def _shift(features: np.ndarray) -> np.ndarray:
    """Near the mean, [D], to be subtracted, so that |x|^2 - 2 x.y + |y|^2 loses less.

    It is a multiple of a power of two near the deviation: so differences of whole numbers, and of whatever else is
    exact in float32, stay exact, and equal distances equal.
    """
    mean, squares = features.mean(0, dtype=np.float64), np.zeros(features.shape[1])
    for start in range(0, len(features), _COLUMNS):
        squares += np.square(features[start : start + _COLUMNS] - mean).sum(0)
    deviation = np.sqrt(squares / len(features))
    grid = np.exp2(np.floor(np.log2(np.maximum(deviation, np.finfo(np.float32).tiny))))
    return (np.rint(mean / grid) * grid).astype(np.float32)


def _points(features: np.ndarray, shift: np.ndarray, radii: np.ndarray | None = None) -> _Points:
    features = np.subtract(features, shift, dtype=np.float32)
    squares = np.einsum("nd,nd->n", features, features)
    return _Points(features, squares, np.zeros(len(features), np.float32) if radii is None else radii)


def _padded(points: _Points, start: int, end: int) -> _Points:
    """The points from `start` to `end`, of which the last ones may only fill."""
    more = end - min(end, len(points.squares))
    return _Points(
        np.pad(points.features[start:end], ((0, more), (0, 0))),
        np.pad(points.squares[start:end], (0, more), constant_values=np.inf),
        np.pad(points.radii[start:end], (0, more), constant_values=-1),
    )


def _columns(points: _Points, mesh: Mesh) -> _Points:
    """All points, on every device, in tiles: [T, c, D], [T, c], [T, c]."""
    count = len(points.squares)
    size = min(_COLUMNS, count)
    tiled = jax.tree.map(lambda a: a.reshape(-1, size, *a.shape[1:]), _padded(points, 0, -(-count // size) * size))
    return _put(tiled, replicated(mesh))


def _rows(points: _Points, mesh: Mesh) -> Iterator[_Points]:
    """All points, in tiles that are split over the devices."""
    count = len(points.squares)
    size = min(_ROWS, -(-count // mesh.size)) * mesh.size
    for start in range(0, count, size):
        yield _put(_padded(points, start, start + size), batch_sharding(mesh))


def _put(points: _Points, sharding: Any) -> _Points:
    """On the devices of all processes, each of which holds all points."""
    return jax.tree.map(lambda a: jax.make_array_from_callback(a.shape, sharding, lambda index: a[index]), points)


def _squared_distances(rows: _Points, columns: _Points) -> jax.Array:
    """[R, c], at least 0."""
    products = jnp.einsum("rd,cd->rc", rows.features, columns.features, precision=jax.lax.Precision.HIGHEST)
    return jnp.maximum(rows.squares[:, None] - 2 * products + columns.squares[None], 0)


@functools.cache
def _to_neighbour(k: int, mesh: Mesh) -> Callable[[_Points, _Points], jax.Array]:
    """(rows, columns) -> the k-th smallest squared distance of each row, [R]."""

    def run(rows: _Points, columns: _Points) -> jax.Array:
        def step(smallest: jax.Array, tile: _Points) -> tuple[jax.Array, None]:
            here = jnp.concatenate([smallest, _squared_distances(rows, tile)], 1)
            return -jax.lax.top_k(-here, k)[0], None

        start = jnp.full((rows.squares.shape[0], k), jnp.inf, jnp.float32)
        return jax.lax.scan(step, start, columns)[0][:, -1]

    return jax.jit(run, out_shardings=replicated(mesh))


@functools.cache
def _met(closed: bool, mesh: Mesh) -> Callable[[_Points, _Points], _Met]:
    """(fakes in rows, real ones in columns) -> `_Met`, whose arrays of real ones are [T, c]."""
    within = jnp.less_equal if closed else jnp.less

    def run(rows: _Points, columns: _Points) -> _Met:
        def step(carry: tuple[jax.Array, jax.Array], tile: _Points) -> tuple[Any, tuple[jax.Array, jax.Array]]:
            squares = _squared_distances(rows, tile)
            holding = carry[0] + within(squares, tile.radii[None]).sum(1)
            best = jnp.maximum(carry[1], (tile.radii[None] / (squares + _REALISM)).max(1))
            return (holding, best), (squares.min(0), within(squares, rows.radii[:, None]).any(0))

        count = rows.squares.shape[0]
        start = jnp.zeros(count, jnp.int32), jnp.zeros(count, jnp.float32)
        return _Met(*(each for part in jax.lax.scan(step, start, columns) for each in part))

    return jax.jit(run, out_shardings=replicated(mesh))
