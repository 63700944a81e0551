"""Attribute vectors: the mean of the latents with an attribute, minus the mean without it (Glow, section 5)."""

from __future__ import annotations

import hashlib
import json
from collections.abc import Iterator
from dataclasses import dataclass
from typing import Any

import jax
import jax.numpy as jnp
import numpy as np

from glowdiff.data.dataset import Dataset
from glowdiff.data.progress import counted
from glowdiff.data.sources import Example
from glowdiff.editing.attributes import find
from glowdiff.errors import ConfigError, require
from glowdiff.inference.checks import check_count, check_model
from glowdiff.inference.model import Model
from glowdiff.method import Batch, Latents, Variables
from glowdiff.sharding import put_batch, replicated
from glowdiff.workdir.checksum import checksums


@dataclass(frozen=True)
class AttributeVector:
    """A direction in latent space, and where it comes from."""

    direction: Latents  # arrays of the latents without their batch axis
    attribute: str
    among: str | None  # the attribute that all images had, with or without `attribute`; None: all images
    data: str  # name of the data set
    step: int  # of the model
    ema: bool  # of the averaged parameters
    images_with: int
    images_without: int
    model: str = ""  # `fingerprint` of the model; empty: nobody knows


def attribute_vector(
    model: Model,
    dataset: Dataset,
    attribute: str,
    *,
    among: str | None = None,
    batch: int = 64,
    ema: bool = True,
) -> AttributeVector:
    """The vector of an attribute over the training images, read once, a batch at a time.

    A class-conditional model encodes every image given its own label, and its prior has already taken the class's mean
    out of the last latent. A label's vector then holds only what the other latents still know of the class. A model
    that reads captions encodes every image without its own, which would say it all.

    Args:
      model: with `encode`.
      dataset: what it was trained on.
      attribute: see `glowdiff.editing.attributes.find`.
      among: only images with this attribute count, on both sides: a skin tone is a contrast among people.
      batch: images at a time, rounded up to a multiple of the devices; changes the vector by rounding only.
      ema: whether the model's parameters are the averaged ones; kept with the vector.

    Raises:
      ConfigError: the method has no `encode`; there is no such attribute, or no image with it, or none without it; or
        latents are not finite.
    """
    check_model("model", model)
    batch = check_count("batch", batch)
    if model.method.draws is None or model.method.draws.encode is None:
        raise ConfigError(f"method {model.config.method} has no latents of given images, so no attribute vectors.")
    size = -(-batch // model.mesh.size) * model.mesh.size
    rows = _rows(dataset, attribute, among)
    sums, counts = _sums(model, _batches(rows, size))
    require(counts.sum() > 0, f"--among is {among!r}, which no training image of {dataset.spec.name} has.")
    where = f"training images of {dataset.spec.name}" + (f" that have {among!r}" if among else "")
    require(counts[0] > 0, f"attribute {attribute!r}: none of the {counts[1]:,} {where} has it.")
    require(counts[1] > 0, f"attribute {attribute!r}: all of the {counts[0]:,} {where} have it, so nothing differs.")
    direction = jax.tree.map(lambda x: (x[0] / counts[0] - x[1] / counts[1]).astype(np.float32), sums)
    require(
        all(np.isfinite(leaf).all() for leaf in jax.tree.leaves(direction)),
        f"attribute {attribute!r}: the latents of some training images are not finite; the model cannot be edited.",
    )
    numbers = int(counts[0]), int(counts[1])
    return AttributeVector(
        direction, attribute, among, dataset.spec.name, model.step, ema, *numbers, fingerprint(model)
    )


def fingerprint(model: Model) -> str:
    """16 hexadecimal digits that tell a model's variables from those of any other: of another run, step or average."""
    sums = sorted(checksums(dict(model.variables)).items())
    return hashlib.sha256(json.dumps(sums).encode()).hexdigest()[:16]


def _rows(dataset: Dataset, attribute: str, among: str | None) -> Iterator[tuple[Example, bool]]:
    """The training examples that count, with whether they have the attribute."""
    belongs = find(attribute, dataset.spec)
    counts = find(among, dataset.spec, "--among") if among else None

    def read() -> Iterator[tuple[Example, bool]]:
        for index in counted(range(len(dataset.train)), f"encoding images for {attribute}", len(dataset.train)):
            example = dataset.train[index]
            if counts is None or counts(example):
                yield example, belongs(example)

    return read()


def _batches(rows: Iterator[tuple[Example, bool]], size: int) -> Iterator[Any]:
    """Batches of `size`; `weights` float32 [size, 2] are one in the column with or without, zero where rows fill up."""
    chunk: list[tuple[Example, bool]] = []
    for row in rows:
        chunk.append(row)
        if len(chunk) == size:
            yield _stack(chunk, size)
            chunk = []
    if chunk:
        yield _stack(chunk, size)


def _stack(chunk: list[tuple[Example, bool]], size: int) -> dict[str, Any]:
    weights = np.zeros((size, 2), np.float32)
    weights[range(len(chunk)), [0 if has else 1 for _, has in chunk]] = 1
    examples = [example for example, _ in chunk] + [chunk[-1][0]] * (size - len(chunk))
    cond = {name: np.stack([example["cond"][name] for example in examples]) for name in examples[0]["cond"]}
    return {"image": np.stack([example["image"] for example in examples]), "cond": cond, "weights": weights}


def _sums(model: Model, batches: Iterator[Any]) -> tuple[Any, np.ndarray]:
    """Sums of latents (arrays float64 [2, ...]) and numbers of images [2], with and without the attribute."""
    assert model.method.draws is not None
    encode, options = model.method.draws.encode, model.inverse_options()
    assert encode is not None
    # Captions: a mask of zeros says nothing.
    unsaid = [each for each in model.method.takes if each.of_data and each.shape]

    def weighted(variables: Variables, batch: Batch) -> Latents:
        variables = jax.lax.with_sharding_constraint(variables, replicated(model.mesh))
        n = batch["image"].shape[0]
        cond = batch["cond"] | {each.name: jnp.zeros((n, *each.shape), each.dtype) for each in unsaid}
        latents = encode(variables, jax.random.key(0), {"image": batch["image"], "cond": cond}, options)
        highest = jax.lax.Precision.HIGHEST
        return jax.tree.map(
            lambda x: jnp.tensordot(batch["weights"], x.astype(jnp.float32), (0, 0), precision=highest), latents
        )

    run = jax.jit(weighted, out_shardings=replicated(model.mesh))
    total: Any = None
    counts = np.zeros(2, np.int64)
    pending: Any = None  # fetched only when the next batch is under way
    for batch in batches:
        counts += batch["weights"].sum(0).astype(np.int64)
        begun = run(model.variables, put_batch(batch, model.mesh))
        total = _add(total, pending)
        pending = begun
    return _add(total, pending), counts


def _add(total: Any, sums: Any) -> Any:
    """The sum in float64 on the host; None is nothing yet."""
    if sums is None:
        return total
    sums = jax.tree.map(lambda x: np.asarray(x, np.float64), sums)
    return sums if total is None else jax.tree.map(np.add, total, sums)
