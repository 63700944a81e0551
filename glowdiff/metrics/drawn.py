"""Samples that are drawn batch by batch as they are asked for, and perhaps kept in a folder, where drawing goes on."""

from __future__ import annotations

import json
from collections.abc import Callable, Iterator, Mapping, Sequence
from pathlib import Path
from typing import Any

import jax
import numpy as np
from etils import epath

from glowdiff.archives import open_npz
from glowdiff.errors import ConfigError, require
from glowdiff.files import read_json, write_whole
from glowdiff.inference.drawer import Samples
from glowdiff.inference.finite import not_finite
from glowdiff.metrics.images import as_colours
from glowdiff.pictures.files import write_npz
from glowdiff.spec import DataSpec
from glowdiff.workdir.agreement import everywhere, first_alone

Draw = Callable[[jax.Array, np.ndarray], Samples]  # (keys [n], numbers [n]) -> samples, finite or not
_FACTS = "drawn.json"  # in the folder: on what the samples depend
_NAMED = 8  # samples in a message


class Stream:
    """The samples of a seed in order, as batches for `glowdiff.metrics`.

    Attributes:
      lost: how many were not finite, so far.
    """

    def __init__(
        self,
        draw: Draw,
        spec: DataSpec,
        seed: int,
        number: int,
        *,
        allow_nonfinite: bool,
        keep: Path | None = None,
        prompts: Sequence[str] = (),
    ) -> None:
        """Of what draws.

        Args:
          draw: draws them.
          spec: of the images.
          seed: of all samples; sample i is that of `glowdiff sample` with this seed.
          number: of samples.
          allow_nonfinite: those that are not finite are measured, black or white; else they are an error.
          keep: a folder, as of `check_kept`; None: they are not kept.
          prompts: of all samples, to be kept with them.
        """
        self.lost = 0
        self._draw, self._spec, self._seed, self._number = draw, spec, seed, number
        self._allowed, self._keep, self._prompts = allow_nonfinite, keep, prompts

    def batches(self, size: int) -> Iterator[Mapping[str, Any]]:
        """This process's rows of all samples, uint8 [b, H, W, 3].

        Raises:
          ConfigError: samples are not finite: they are counted and named; or a choice that cannot be.
        """
        share = size // jax.process_count()
        for start in range(0, self._number, size):
            rows = np.minimum(np.arange(start, start + size), self._number - 1)  # the last one fills up
            real = np.arange(start, start + size) < self._number
            samples = self._batch(start, rows)
            self._check(samples.finite[real], start)
            own = slice(jax.process_index() * share, (jax.process_index() + 1) * share)
            image = as_colours(samples.images[own], self._spec.levels)
            yield {"image": image, "index": np.arange(start, start + size, dtype=np.int32)[own], "mask": real[own]}

    def _batch(self, start: int, rows: np.ndarray) -> Samples:
        new = int(rows[-1]) + 1 - start
        file = None if self._keep is None else self._keep / f"{start:08d}.npz"
        kept = None if file is None else _kept(file, (new, *self._spec.shape))
        if kept is not None:
            return Samples(kept[rows - start], None, np.ones(len(rows), bool))
        keys = jax.vmap(lambda row: jax.random.fold_in(jax.random.key(self._seed), row))(rows)
        samples = self._draw(keys, rows)
        if file is not None and bool(samples.finite.all()) and jax.process_index() == 0:
            labels = None if samples.labels is None else samples.labels[:new]
            prompts, due = self._prompts[start : start + new], self._spec.attribution
            write_npz(file, samples.images[:new], labels, self._spec.levels, prompts=prompts, attribution=due)
        return samples

    def _check(self, finite: np.ndarray, start: int) -> None:
        lost = start + np.flatnonzero(~finite)
        self.lost += len(lost)
        if not len(lost) or self._allowed:
            return
        listed = ", ".join(map(str, lost[:_NAMED])) + (" ..." if len(lost) > _NAMED else "")
        raise ConfigError(
            f"{not_finite(finite)}: of the samples from {start} on, numbers {listed}. Nothing can be measured of them. "
            "Try another checkpoint (--step), raw parameters (--noema) or less guidance; --allow_nonfinite measures "
            "them all the same, black or white where they are no numbers."
        )


def shuffled(count: int) -> np.ndarray:
    """The order, [count], in which samples are told what test examples are: the first ones are of all kinds."""
    return np.random.default_rng(0).permutation(count)


def check_kept(folder: Path, facts: Mapping[str, Any]) -> None:
    """Take a folder for samples that depend on `facts`, JSON; what it holds of the same samples stays.

    Every process must call it.

    Raises:
      ConfigError: it holds something else.
    """
    first_alone(lambda: _take(folder, facts))


def _take(folder: Path, facts: Mapping[str, Any]) -> None:
    file = folder / _FACTS
    if not file.exists():
        require(
            not folder.exists() or (folder.is_dir() and not any(folder.iterdir())),
            f"--keep is {folder}, which holds something else; give a new folder.",
        )
        write_whole(file, json.dumps(facts, indent=2))
        return
    held = read_json(epath.Path(file))
    facts = json.loads(json.dumps(facts))
    different = sorted(name for name in {*held, *facts} if held.get(name) != facts.get(name))
    require(
        not different,
        f"--keep is {folder}, which holds other samples: they differ in {', '.join(different)}. Give a new folder.",
    )


def _kept(file: Path, shape: tuple[int, ...]) -> np.ndarray | None:
    """The samples in a file; None: there is none in sight of all processes, or it holds fewer than are asked for.

    Raises:
      ConfigError: it holds something else.
    """
    if not everywhere(file.exists()):
        return None
    with open_npz(file, "--keep", "a folder of samples", "sample.py") as arrays:
        header = arrays.header("arr_0") if "arr_0" in arrays else None
        require(
            header is not None and header.shape[1:] == shape[1:] and header.dtype == np.uint8,
            f"--keep holds {file}, which is no batch of these samples; remove it to draw them again.",
        )
        images = arrays["arr_0"]
    return images if len(images) >= shape[0] else None
