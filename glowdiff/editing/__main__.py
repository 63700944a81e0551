"""Edit pictures: `python -m glowdiff.editing COMMAND --workdir=... --out=grid.png`.

Through their latents:

reconstruct  images, what their latents decode to, and the difference: [--images a.png b.png | --index=3,17 | --count=6]
interpolate  from the first image of each pair to the second: ... [--mode=spherical] [--steps=7]
temperature  the same noises at rising temperatures: [--count=6] [--temperatures=0:1:6]
attribute    images moved along an attribute's vector: ... --attribute=NAME [--alpha=-1:1:7] [--among=NAME] [--without]

With a diffusion model, by noise: [--prompt="..." | --label=CLASS] [--sampler] [--steps] [--guidance_scale]
inpaint      a picture, a region of it painted anew: --image=a.png --mask=m.png (white = repaint) [--count=6]
sdedit       a picture or a sketch, varied: --image=a.png [--strength=0.2,0.4,0.6,0.8]
"""

from __future__ import annotations

import jax
import numpy as np
from absl import flags

import glowdiff
from glowdiff.catalog.methods import build_method
from glowdiff.cli.main import initialize, run_main
from glowdiff.config.sections import Config
from glowdiff.data.dataset import Dataset
from glowdiff.data.dataset import load as load_data
from glowdiff.editing import commands, options, painting, vector_files
from glowdiff.editing.attributes import find
from glowdiff.editing.selection import choose_rows, from_test_set
from glowdiff.editing.vectors import AttributeVector
from glowdiff.errors import require, require_choice
from glowdiff.inference.drawer import resolve
from glowdiff.inference.model import Model
from glowdiff.method import Method
from glowdiff.pictures import masks
from glowdiff.pictures.files import write_png
from glowdiff.pictures.inputs import Pictures, from_files, small_images
from glowdiff.spec import DataSpec
from glowdiff.workdir import description as workdirs

_WORKDIR = flags.DEFINE_string("workdir", None, "What train.py wrote.", required=True)
_OUT = flags.DEFINE_string("out", "grid.png", "The picture to write (.png).")
_STEP = flags.DEFINE_integer("step", None, "The checkpoint; the newest unless given.")
_EMA = flags.DEFINE_bool("ema", True, "Averaged parameters rather than raw ones.")
_IMAGES = flags.DEFINE_list("images", None, "Picture files, after each other or with commas; else test images.")
_INDEX = flags.DEFINE_list("index", None, "Which test images, such as 3,17; else --count of them are drawn.")
_COUNT = flags.DEFINE_integer(
    "count", 6, "Images; pairs of them to interpolate; noises; ways to inpaint.", lower_bound=1
)
_SEED = flags.DEFINE_integer("seed", 0, "Another seed draws other test images, or noises.", lower_bound=0)
_LABEL = flags.DEFINE_list("label", None, "Class-conditional models: of pictures or noises, one for all or for each.")
_STEPS = flags.DEFINE_string(
    "steps", None, "interpolate: columns, both ends among them (7). inpaint, sdedit: sampler's."
)
_MODE = flags.DEFINE_string("mode", "linear", "interpolate: linear | spherical.")
_TEMPERATURES = flags.DEFINE_string("temperatures", "0:1:6", "temperature: columns, START:STOP:N.")
_ATTRIBUTE = flags.DEFINE_string("attribute", None, "attribute: an attribute, a class's name, or caption:WORD.")
_ALPHA = flags.DEFINE_string("alpha", "-1:1:7", "attribute: columns, START:STOP:N.")
_SCALE = flags.DEFINE_float("scale", 1.0, "attribute: what alpha is multiplied by (Glow's release has 1.6).")
_AMONG = flags.DEFINE_string("among", None, "attribute: only images with this attribute, for the vector and to edit.")
_WITHOUT = flags.DEFINE_bool("without", False, "attribute: only test images that lack it.")
_VECTOR = flags.DEFINE_string("vector", None, "attribute: a vector's file, rather than the one in the workdir.")
_RECOMPUTE = flags.DEFINE_bool("recompute", False, "attribute: compute the vector anew even if the workdir keeps it.")
_BATCH = flags.DEFINE_integer("batch", 64, "attribute: images at a time for the vector.", lower_bound=1)
_IMAGE = flags.DEFINE_string("image", None, "inpaint, sdedit: the picture.")
_MASK = flags.DEFINE_string(
    "mask", None, "inpaint: a picture as large as the other. White is painted anew, black stays."
)
_ERASE = flags.DEFINE_string("erase", None, "inpaint: instead of a mask, LEFT:TOP:RIGHT:BOTTOM, shares of the sides.")
_STRENGTH = flags.DEFINE_string("strength", "0.2,0.4,0.6,0.8", "sdedit: shares of noise, 0 to 1; also START:STOP:N.")
_PROMPT = flags.DEFINE_string("prompt", None, "inpaint, sdedit: the caption, of models that read any.")
_LOW_RES = flags.DEFINE_string("low_res", None, "inpaint, sdedit by a super-resolution model: the small picture.")
_SAMPLER = flags.DEFINE_string("sampler", None, "inpaint, sdedit: ancestral, ddim, dpmpp_2m ...: docs/sampling.md.")
_GUIDANCE = flags.DEFINE_float("guidance_scale", None, "inpaint, sdedit: classifier-free guidance; 1: none.")


def main(argv: list[str]) -> None:
    """Parse, and call the package."""
    given = {name for names in options.TAKES.values() for name in names if flags.FLAGS[name].present}
    command, more_files = options.read_request(argv[1:], "images" in given)
    options.check_flags(command, given)
    options.check_images(_IMAGES.value, more_files)
    require(_OUT.value.endswith(".png"), f"--out is {_OUT.value}; it must end in .png.")
    require_choice("--mode", _MODE.value, tuple(commands.MODES))
    columns = options.read_columns(_STEPS.value) if command == "interpolate" else 0
    strengths = options.read_strengths(_STRENGTH.value)
    alphas = options.read_range("--alpha", _ALPHA.value)
    temperatures = options.read_range("--temperatures", _TEMPERATURES.value)
    require(min(temperatures) >= 0, f"--temperatures is {_TEMPERATURES.value}; none may be below 0.")
    initialize()
    require(jax.process_count() == 1, "python -m glowdiff.editing runs in one process, not on every host of a cluster.")
    config, spec = workdirs.read(_WORKDIR.value)
    method = build_method(config, spec)
    commands.check_method(command, config.method, method)

    if command in commands.BY_NOISE:
        model, result = _by_noise(command, strengths, config, spec, method)
    elif command == "temperature":
        label = options.read_labels(_LABEL.value, method.labels, spec, _COUNT.value)
        model = _load_model()
        result = commands.temperature(
            model, _COUNT.value, temperatures, seed=_SEED.value, label=label, footer=spec.attribution
        )
    else:
        files = [*(_IMAGES.value or ()), *more_files]
        dataset = _load_data(config, spec) if not files or (command == "attribute" and not _VECTOR.value) else None
        pictures = _file_pictures(command, files, spec, method) if files else _test_pictures(command, dataset)
        if dataset and _ATTRIBUTE.value:
            find(_ATTRIBUTE.value, dataset.spec)  # before anything takes time
        model = _load_model()
        if command == "reconstruct":
            result = commands.reconstruct(model, pictures, footer=spec.attribution)
        elif command == "interpolate":
            result = commands.interpolate(model, pictures, mode=_MODE.value, steps=columns, footer=spec.attribution)
        else:
            vector = _vector(model, dataset)
            result = commands.attribute(model, pictures, vector, alphas, factor=_SCALE.value, footer=spec.attribution)
    write_png(_OUT.value, result.picture, least=1, attribution=spec.attribution)
    print(f"{result.what}; {_WORKDIR.value}, step {model.step}: {_OUT.value}")


def _load_model() -> Model:
    return glowdiff.load(_WORKDIR.value, step=_STEP.value, ema=_EMA.value)


def _by_noise(
    command: str, strengths: list[float], config: Config, spec: DataSpec, method: Method
) -> tuple[Model, commands.Result]:
    """Inpaint or SDEdit; what was asked for is checked before the model is read."""
    assert _IMAGE.value is not None
    chosen = {"sampler": _SAMPLER.value, "steps": _STEPS.value, "guidance_scale": _GUIDANCE.value}
    resolve(config, **chosen)
    options.check_prompt(_PROMPT.value, method.context, method.labels)
    picture, low_res = from_files([_IMAGE.value], spec, "--image"), _small_image(command, config, spec)
    common = {
        **chosen, "label": options.read_one_label(_LABEL.value, method, spec), "prompt": _PROMPT.value,
        "seed": _SEED.value, "low_res": low_res, "footer": spec.attribution,
    }  # fmt: skip
    if command == "sdedit":
        model = _load_model()
        return model, painting.sdedit(model, picture, strengths, **common)
    shape = spec.shape[:2]
    if _MASK.value is not None:
        repaint = masks.from_file(_MASK.value, _IMAGE.value, shape)
    else:
        assert _ERASE.value is not None
        repaint = masks.from_shares(_ERASE.value, shape)
    model = _load_model()
    return model, painting.inpaint(model, picture, repaint, _COUNT.value, **common)


def _small_image(command: str, config: Config, spec: DataSpec) -> np.ndarray | None:
    """What a super-resolution model enlarges, uint8 [1, h, w, C]: --low_res, or of SDEdit the picture made small."""
    side = getattr(config.model, "low_res", None)
    if side is None:
        require(_LOW_RES.value is None, f"--low_res is given, but {_WORKDIR.value} is no super-resolution model.")
        return None
    require(
        _LOW_RES.value is not None or command == "sdedit",
        "this model enlarges images, so it paints what a small one shows: give with --low_res=FILE the picture as a "
        f"smaller model has painted it, of {side}x{side} pixels.",
    )
    if _LOW_RES.value is not None:
        return small_images(_LOW_RES.value, spec, side).images[:1]
    assert _IMAGE.value is not None
    return small_images(_IMAGE.value, spec, side, "--image").images


def _load_data(config: Config, spec: DataSpec) -> Dataset:
    dataset = load_data(config.data)
    same = (dataset.spec.shape, dataset.spec.levels, dataset.spec.classes) == (spec.shape, spec.levels, spec.classes)
    require(same, f"the data set {spec.name} has changed since {_WORKDIR.value} was trained: other images or classes.")
    return dataset


def _file_pictures(command: str, files: list[str], spec: DataSpec, method: Method) -> Pictures:
    require(
        command != "interpolate" or len(files) % 2 == 0,
        f"--images names {len(files)}; interpolate takes pairs: from the first to the second, and so on.",
    )
    label = options.read_labels(_LABEL.value, method.labels, spec, len(files))
    require(
        label is not None or not method.labels,
        "this model is class-conditional: say of which class the --images are, with --label=CLASS or one for each.",
    )
    return from_files(files, spec)._replace(labels=label)


def _test_pictures(command: str, dataset: Dataset | None) -> Pictures:
    assert dataset is not None
    if _INDEX.value is not None:
        rows = options.read_index(_INDEX.value)
        require(bool(rows), "--index is empty; it must be numbers, such as --index=3,17.")
        require(
            command != "interpolate" or len(rows) % 2 == 0,
            f"--index names {len(rows)}; interpolate takes pairs: from the first to the second, and so on.",
        )
        return from_test_set(dataset, rows)
    keep = []
    if _AMONG.value:
        keep.append(find(_AMONG.value, dataset.spec, "--among"))
    if _WITHOUT.value and _ATTRIBUTE.value:
        has = find(_ATTRIBUTE.value, dataset.spec)
        keep.append(lambda example: not has(example))
    count = _COUNT.value * (2 if command == "interpolate" else 1)
    return from_test_set(dataset, choose_rows(dataset, count, _SEED.value, keep))


def _vector(model: Model, dataset: Dataset | None) -> AttributeVector:
    if not _VECTOR.value:
        assert dataset is not None
        assert _ATTRIBUTE.value is not None
        return vector_files.kept_or_computed(
            _WORKDIR.value,
            model,
            dataset,
            _ATTRIBUTE.value,
            among=_AMONG.value,
            ema=_EMA.value,
            batch=_BATCH.value,
            recompute=_RECOMPUTE.value,
        )
    vector = vector_files.load(_VECTOR.value, model)
    require(
        _ATTRIBUTE.value in (None, vector.attribute),
        f"--vector={_VECTOR.value} is of {vector.attribute!r}, but --attribute is {_ATTRIBUTE.value!r}.",
    )
    return vector


if __name__ == "__main__":
    run_main(main)
