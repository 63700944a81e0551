"""Attribute vectors as .npz files: `latent_0`, `latent_1`, ... of the latents' tree, and `facts`, a JSON text."""

from __future__ import annotations

import dataclasses
import io
import json
import re
from pathlib import Path
from typing import Any

import jax
import numpy as np
from etils import epath

from glowdiff.archives import Archive
from glowdiff.data.dataset import Dataset
from glowdiff.editing.vectors import AttributeVector, attribute_vector, fingerprint
from glowdiff.errors import ConfigError, require, shown
from glowdiff.files import check_ordinary, is_address, write_whole
from glowdiff.inference.checks import check_model
from glowdiff.inference.model import Model
from glowdiff.method import batch_shapes

_FACTS = {
    "attribute": (str,), "among": (str, type(None)), "data": (str,), "step": (int,), "ema": (bool,),
    "images_with": (int,), "images_without": (int,), "model": (str,),
}  # fmt: skip


def save(path: epath.PathLike, vector: AttributeVector) -> None:
    """Write a vector, in one piece: a reader sees the old file or the new one."""
    facts = {field.name: getattr(vector, field.name) for field in dataclasses.fields(vector)}
    leaves = jax.tree.leaves(facts.pop("direction"))
    buffer = io.BytesIO()
    arrays: dict[str, Any] = {f"latent_{i}": np.asarray(leaf) for i, leaf in enumerate(leaves)}
    np.savez(buffer, facts=np.array(json.dumps(facts)), **arrays)
    write_whole(path, buffer.getvalue())


def load(path: epath.PathLike, model: Model) -> AttributeVector:
    """Read the vector that `save` wrote.

    Raises:
      ConfigError: there is no such file, it holds no vector, or that of another model, which says nothing of this one
        even where the shapes agree.
    """
    source, like = epath.Path(path), _direction_like(check_model("model", model))
    require(source.is_file(), f"{path} is to be an attribute vector, but there is no such file.")
    most = 2**20 + 4 * sum(leaf.size * leaf.dtype.itemsize for leaf in jax.tree.leaves(like))
    try:
        vector = AttributeVector(**_read(source, most))
    except Exception as error:  # damaged archives raise nearly anything
        said = " ".join(str(error).split())
        raise ConfigError(f"{path} is not an attribute vector of glowdiff ({type(error).__name__}: {said}).") from error
    wanted, shapes = [leaf.shape for leaf in jax.tree.leaves(like)], [leaf.shape for leaf in vector.direction]
    require(
        shapes == wanted,
        f"{path} is a vector of {vector.attribute!r} for latents of shapes {_listed(shapes)}; this model's are "
        f"{_listed(wanted)}. It was made with another model.",
    )
    other = f"another model: of {vector.data}, step {vector.step}{'' if vector.ema else ', raw parameters'}"
    require(
        vector.model == fingerprint(model),
        f"{path} is a vector of {vector.attribute!r} of {other if vector.model else 'a model that it does not name'}. "
        f"The latents of this one, at step {model.step}, mean something else.",
    )
    return dataclasses.replace(vector, direction=jax.tree.unflatten(jax.tree.structure(like), vector.direction))


def _read(source: epath.Path, most: int) -> dict[str, Any]:
    """The fields of a vector in a file, of at most so many bytes; anything else raises."""
    if not is_address(source):
        check_ordinary(Path(source), most)
    with source.open("rb") as file:
        content = file.read(most + 1)
    arrays = Archive(io.BytesIO(content), len(content))
    size = sum(arrays.header(name).size for name in arrays)
    if size > most:
        raise ValueError(f"it holds {size:,} bytes, more than a vector of this model has")
    facts = json.loads(str(arrays["facts"]))
    leaves = [arrays[f"latent_{i}"] for i in range(len(arrays) - 1)]
    for name, kind in _FACTS.items():
        if type(facts.get(name, "")) not in kind or not str(facts.get(name)).isprintable():
            raise TypeError(f"{name} is {shown(facts.get(name))}")
    if not all(leaf.dtype.kind == "f" and np.isfinite(leaf).all() for leaf in leaves):
        raise ValueError("it holds numbers that are not finite")
    return {**facts, "direction": leaves}


def default_path(
    workdir: epath.PathLike, attribute: str, *, step: int, among: str | None = None, ema: bool = True
) -> epath.Path:
    """Where a workdir keeps a vector: `attributes/NAME-STEP.npz`.

    >>> default_path("runs/people", "dark_skin", step=2000, among="is_person").as_posix()
    'runs/people/attributes/dark_skin-among-is_person-2000.npz'
    """
    name = attribute + (f"-among-{among}" if among else "")
    plain = re.sub(r"[^\w.-]+", "_", name)
    return epath.Path(workdir) / "attributes" / f"{plain}-{step}{'' if ema else '-raw'}.npz"


def kept_or_computed(
    workdir: epath.PathLike,
    model: Model,
    dataset: Dataset,
    attribute: str,
    *,
    among: str | None = None,
    ema: bool = True,
    batch: int = 64,
    recompute: bool = False,
) -> AttributeVector:
    """The vector that the workdir keeps; else it is computed and kept. Arguments as of `attribute_vector`.

    Raises:
      ConfigError: as of `attribute_vector`, or the kept file is damaged.
    """
    path = default_path(workdir, attribute, step=check_model("model", model).step, among=among, ema=ema)
    if path.exists() and not recompute:
        try:
            vector = load(path, model)
        except ConfigError as error:
            raise ConfigError(f"{error} --recompute makes it anew.") from error
        if (vector.attribute, vector.among) == (attribute, among):  # else two names are one as a file's name
            return vector
    vector = attribute_vector(model, dataset, attribute, among=among, batch=batch, ema=ema)
    save(path, vector)
    return vector


def _direction_like(model: Model) -> Any:
    """Shapes of a direction for a model: its latents of one image, without the batch axis."""
    method = model.method
    assert method.draws is not None
    assert method.draws.encode is not None
    batch = batch_shapes(model.spec, 1, method.takes)
    options = model.inverse_options()
    latents = jax.eval_shape(method.draws.encode, model.variables, jax.random.key(0), batch, options)
    return jax.tree.map(lambda leaf: jax.ShapeDtypeStruct(leaf.shape[1:], leaf.dtype), latents)


def _listed(shapes: list[tuple[int, ...]]) -> str:
    return ", ".join("x".join(map(str, shape)) for shape in shapes) or "none"
