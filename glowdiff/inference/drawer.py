"""Any number of samples of any method, in batches, over all devices and processes."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Mapping
from functools import partial
from typing import Any, NamedTuple

import jax
import jax.numpy as jnp
import numpy as np
from jax.experimental import multihost_utils
from jax.sharding import Mesh

from glowdiff.config.options import SampleOptions, as_float32
from glowdiff.data.progress import counted
from glowdiff.inference.checks import check_count, check_key, check_switch
from glowdiff.inference.finite import check_finite
from glowdiff.method import Condition, Draws, Method, Variables, classes, example_keys
from glowdiff.networks.shards import reading, shards
from glowdiff.profiling.profiler import Profiler
from glowdiff.sharding import batch_sharding, fits_whole, replicated

LABEL_STREAM = 2**31 - 1  # folded into an example's key to draw the label that was not asked for


class Samples(NamedTuple):
    """What `Drawer` returns."""

    images: np.ndarray  # uint8 [n, H, W, C]; of a film [n, frames, H, W, C]
    labels: np.ndarray | None  # int32 [n], of methods that take a label
    finite: np.ndarray  # bool [n]: which of them are pictures; of the others, a number was NaN or infinite


class Chain(NamedTuple):
    """Several methods as one that draws."""

    draws: Draws
    takes: tuple[Condition, ...]  # what all of them are told
    stages: tuple[str, ...] = ()  # what they are called


class Drawer:
    """`Draws.sample`, compiled once per batch size and static option; keys, labels and numbers never recompile."""

    def __init__(self, method: Method | Chain, mesh: Mesh) -> None:
        """Of what a method draws, on the devices of `mesh`.

        Raises:
          ValueError: it draws nothing.
        """
        if method.draws is None:
            raise ValueError("this method draws no samples: it is a guide for others.")
        self._draws, self._takes, self._mesh = method.draws, method.takes, mesh
        self._stages = method.stages if isinstance(method, Chain) else ()
        self._run = jax.jit(self._batch, static_argnames="size", out_shardings=batch_sharding(mesh))

    def __call__(
        self,
        variables: Variables,
        key: jax.Array,
        n: int,
        *,
        cond: Mapping[str, np.ndarray] | None = None,
        options: SampleOptions | None = None,
        batch: int | None = None,
        allow_nonfinite: bool = False,
        profiler: Profiler | None = None,
    ) -> Samples:
        """Draw samples 0 ... n - 1 of `key`; they do not depend on `batch` or on the devices.

        Args:
          variables: of the method.
          key: a scalar `jax.random.key`, or a key for each sample, [n].
          n: how many.
          cond: conditions, arrays [n, ...]; labels that are not given are drawn uniformly.
          options: see `SampleOptions`.
          batch: images at a time; None: all at once.
          allow_nonfinite: samples that are not finite are drawn all the same; `Samples.finite` tells which.
          profiler: traces the batches of its span.

        Raises:
          ConfigError: n or batch is not positive, there are too few keys, there are fewer batches than the profiler's
            span asks for, or samples are not finite.
        """
        n, size = check_count("n", n), check_count("batch", n if batch is None else batch)
        check_key(key, n)
        check_switch("allow_nonfinite", allow_nonfinite)
        size = -(-min(size, n) // self._mesh.size) * self._mesh.size
        numbers: SampleOptions = as_float32(options or SampleOptions())
        if profiler:
            batches = -(-n // size)
            profiler.span.check_within(0, batches, f"{n} samples in batches of {size} make {batches}")
        run: Callable[..., Any] | None = None
        whole: list[np.ndarray] = []  # images, labels and which are finite, of all samples
        for start in _counted(n, size):
            end = min(start + size, n)
            rows = np.resize(np.arange(start, end), size)  # repeats fill the last batch
            part = {name: np.asarray(array)[rows] for name, array in (cond or {}).items()}
            keys = key[rows] if key.ndim else key
            arguments = (variables, keys, np.int32(start), part, numbers)
            if run is None:
                run = self._program(profiler, arguments, size)
            arrays = run(*arguments)
            fetched = [_fetch(array)[: end - start] for array in arrays]
            whole = whole or [np.empty((n, *array.shape[1:]), array.dtype) for array in fetched]
            for array, some in zip(whole, fetched, strict=True):
                array[start:end] = some
            if not allow_nonfinite:
                check_finite(whole[2][:end], self._draws.options, self._stages)
        images, labels, finite = whole
        return Samples(
            images,
            labels if self._classes(numbers) else None,
            np.all(finite.reshape(n, -1), axis=1, keepdims=True)[:, 0],
        )

    def lower(self, variables: Any, size: int, *, cond: Any = None, options: SampleOptions | None = None) -> Any:
        """The program of one batch of `size` images, traced for arrays or shapes: `.compile()` does the rest."""
        return self.program.lower(*self.arguments(variables, cond=cond, options=options), size=size)

    @property
    def program(self) -> Any:
        """The jitted function behind a call, of `arguments` and the static `size`."""
        return self._run

    @staticmethod
    def arguments(variables: Any, *, cond: Any = None, options: SampleOptions | None = None) -> tuple[Any, ...]:
        """Shapes and dtypes that `program` takes for one batch."""

        def shape(leaf: Any) -> jax.ShapeDtypeStruct:
            return jax.ShapeDtypeStruct(jnp.shape(leaf), jnp.result_type(leaf))

        options = jax.tree.map(shape, as_float32(options or SampleOptions()))
        key = jax.eval_shape(jax.random.key, 0)
        return variables, key, jax.ShapeDtypeStruct((), np.int32), dict(cond or {}), options

    def _program(self, profiler: Profiler | None, arguments: tuple[Any, ...], size: int) -> Callable[..., Any]:
        """What draws a batch; with a profiler compiled beforehand, lest the trace hold that."""
        if profiler is None:
            return partial(self._run, size=size)
        return profiler.watch(self._run.lower(*arguments, size=size).compile())

    def _batch(
        self,
        variables: Variables,
        key: jax.Array,
        start: jax.Array,
        cond: dict[str, jax.Array],
        options: SampleOptions,
        *,
        size: int,
    ) -> tuple[jax.Array, jax.Array, jax.Array]:
        keys, known = example_keys(key, size, start), self._classes(options)
        cond = jax.lax.with_sharding_constraint(cond, batch_sharding(self._mesh))

        def draw_label(key: jax.Array) -> jax.Array:
            return jax.random.randint(jax.random.fold_in(key, LABEL_STREAM), (), 0, max(known, 1))

        labels = cond["label"] if "label" in cond else jax.vmap(draw_label)(keys)
        if known:
            cond = {**cond, "label": labels}
        latents = jax.lax.with_sharding_constraint(self._draws.latents(keys, size), batch_sharding(self._mesh))
        # Parameters of the model and of its guides are gathered once, in front of all steps, where there is room.
        everywhere = replicated(self._mesh)
        if fits_whole(variables, self._mesh):
            variables, options = jax.lax.with_sharding_constraint((variables, options), everywhere)
            drawn = self._draws.sample(variables, keys, latents, cond, options)
        else:
            options = jax.lax.with_sharding_constraint(options, everywhere)
            with reading(self._mesh):
                drawn = self._draws.sample(shards(variables, self._mesh), keys, latents, cond, options)
        return drawn.images, labels, drawn.finite

    def _classes(self, options: SampleOptions) -> int:
        """How many classes a label may name: the model's, or those of what guides it."""
        return classes(self._takes) or max((classes(guide.takes) for guide in options.guides), default=0)


def _counted(n: int, size: int) -> Iterable[int]:
    """The first number of each batch; where there are several, the person who waits is told how far it is."""
    starts = range(0, n, size)
    if len(starts) > 1 and jax.process_index() == 0:
        return counted(starts, f"drawing, in batches of {size}", len(starts))
    return starts


def _fetch(array: jax.Array) -> Any:
    if array.is_fully_addressable:
        return np.asarray(array)
    return np.asarray(multihost_utils.process_allgather(array, tiled=True))
