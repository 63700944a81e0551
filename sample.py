"""Draw samples: `python sample.py --workdir=runs/glow_digits --num=64 --temperature=0.7 --out=samples.png`.

Diffusion models take more: `--sampler=dpmpp_2m --steps=20 --guidance_scale=3 --film=film.gif`. Text to image, with a
second model that enlarges what the first one draws:
`python sample.py --workdir=runs/glide_openmoji --upsampler=runs/glide_up --prompt="a red heart" --guidance_scale=3`.
"""

import jax
import numpy as np
from absl import flags

import glowdiff
from glowdiff.cli.main import initialize, run_main
from glowdiff.editing.prompts import in_turns, read_prompts
from glowdiff.editing.sample_flags import check_flags
from glowdiff.errors import ConfigError, require
from glowdiff.pictures.files import grid, write_gif, write_npz, write_png
from glowdiff.pictures.inputs import small_images
from glowdiff.pictures.labelled import captioned_grid

_WORKDIR = flags.DEFINE_string("workdir", None, "What train.py wrote.", required=True)
_OUT = flags.DEFINE_string("out", "samples.png", "A picture of all samples (.png), or the samples themselves (.npz).")
_NUM = flags.DEFINE_integer(
    "num",
    None,
    "How many; 64 unless given, or as many as --low_res holds, or one of each of several prompts, or 16 of one.",
    lower_bound=1,
)
_BATCH = flags.DEFINE_integer("batch", 64, "How many at a time; changes no sample.", lower_bound=1)
_SEED = flags.DEFINE_integer("seed", 0, "Another seed draws other samples.", lower_bound=0)
_LABEL = flags.DEFINE_string("label", None, "The class to draw, or none; all of them unless given.")
_STEP = flags.DEFINE_integer("step", None, "The checkpoint; the newest unless given.")
_EMA = flags.DEFINE_bool("ema", True, "Averaged parameters rather than raw ones.")

# Keys of the configuration's `sampling` section: unless given, as the model was configured.
_OPTIONS = {
    "temperature": flags.DEFINE_float("temperature", None, "Standard deviation of the latents."),
    "sampler": flags.DEFINE_string("sampler", None, "ancestral, ddim, dpmpp_2m, heun ...: see docs/sampling.md."),
    "steps": flags.DEFINE_string("steps", None, 'Of the sampler; also "10,10,5", "ddim50", "fast27".'),
    "spacing": flags.DEFINE_string("spacing", None, "Of the steps: even, trailing, log_snr or karras."),
    "eta": flags.DEFINE_float("eta", None, "Noise that ddim adds: 0 none, 1 as much as ancestral."),
    "guidance_scale": flags.DEFINE_float("guidance_scale", None, "Classifier-free guidance; 1: none."),
    "guidance_from": flags.DEFINE_float("guidance_from", None, "Guide from this share of the timesteps, 0: data."),
    "guidance_to": flags.DEFINE_float("guidance_to", None, "Guide up to this share of the timesteps, 1: noise."),
    "guidance_rescale": flags.DEFINE_float("guidance_rescale", None, "Share of guidance's contrast taken back."),
    "threshold": flags.DEFINE_string("threshold", None, "Of predictions of the data: clip, dynamic or none."),
    "percentile": flags.DEFINE_float("percentile", None, "Of dynamic thresholds, up to 100."),
}
_PROMPT = flags.DEFINE_multi_string(
    "prompt", None, "What to draw, in words; may be repeated. Unless given, models that read captions draw without one."
)
_PROMPTS = flags.DEFINE_string("prompts", None, "A text file of prompts, one per line.")
_CLIP = flags.DEFINE_string("clip", None, "The workdir of a CLIP of noised images, to guide towards the prompts.")
_CLIP_SCALE = flags.DEFINE_float("clip_scale", 1.0, "How strongly it guides.")
_UPSAMPLER = flags.DEFINE_multi_string(
    "upsampler", None, "The workdir of a super-resolution model that enlarges the samples; may be repeated, in order."
)
_UPSAMPLER_OPTIONS = {  # the other options are the base's
    "temperature": flags.DEFINE_float("upsampler_temperature", None, "As --temperature, of the upsamplers."),
    "sampler": flags.DEFINE_string("upsampler_sampler", None, "As --sampler, of the upsamplers."),
    "steps": flags.DEFINE_string("upsampler_steps", None, "As --steps, of the upsamplers."),
    "spacing": flags.DEFINE_string("upsampler_spacing", None, "As --spacing, of the upsamplers."),
}
_CLASSIFIER = flags.DEFINE_string("classifier", None, "The workdir of a classifier of noised images, to guide.")
_CLASSIFIER_SCALE = flags.DEFINE_float("classifier_scale", 1.0, "How strongly it guides.")
_LOW_RES = flags.DEFINE_string("low_res", None, "What a super-resolution model enlarges: a picture, or an .npz.")
_FILM = flags.DEFINE_string("film", None, "Also write how the samples came about, a .gif.")
_FRAMES = flags.DEFINE_integer("frames", 24, "Pictures of the film; at most one per step.", lower_bound=2)


def main(argv: list[str]) -> None:
    """Parse, and call the package."""
    del argv
    check_flags({name for name in flags.FLAGS if flags.FLAGS[name].present}, _OUT.value, _FILM.value)
    label, prompts = _label(), read_prompts(_PROMPT.value, _PROMPTS.value)
    initialize()
    model = glowdiff.load(_WORKDIR.value, step=_STEP.value, ema=_EMA.value)
    number, low_res = _NUM.value or {0: 64, 1: 16}.get(len(prompts), len(prompts)), None
    if _LOW_RES.value is not None:
        side = getattr(model.config.model, "low_res", None)
        require(side is not None, f"--low_res is given, but {_WORKDIR.value} is no super-resolution model.")
        assert side is not None
        pictures = small_images(_LOW_RES.value, model.spec, side)
        number = _NUM.value or max(len(pictures.images), len(prompts))
        turns = np.resize(np.arange(len(pictures.images)), number)
        low_res = pictures.images[turns]
        if label is None and model.method.labels and pictures.labels is not None:
            label = pictures.labels[turns]
    require(
        _FILM.value is None or model.method.film is not None, "--film is given, but this model's samples have no steps."
    )
    prompts = in_turns(prompts, number)
    choices = {
        "label": label,
        "prompt": prompts or None,
        "batch": _BATCH.value,
        "classifier": None if _CLASSIFIER.value is None else glowdiff.load(_CLASSIFIER.value),
        "classifier_scale": _CLASSIFIER_SCALE.value,
        "clip": None if _CLIP.value is None else glowdiff.load(_CLIP.value),
        "clip_scale": _CLIP_SCALE.value,
        **{name: flag.value for name, flag in _OPTIONS.items()},
    }
    key, spec = jax.random.key(_SEED.value), model.spec
    if _UPSAMPLER.value:
        upsamplers = [glowdiff.load(workdir, ema=_EMA.value) for workdir in _UPSAMPLER.value]
        cascade, spec = glowdiff.Cascade(model, *upsamplers), upsamplers[-1].spec
        its_own = {name: flag.value for name, flag in _UPSAMPLER_OPTIONS.items()}
        drawn = cascade.draw(key, n=number, upsampler=[its_own] * len(upsamplers), **choices)
    else:
        frames = None if _FILM.value is None else _FRAMES.value
        drawn = model.draw(key, number, low_res=low_res, frames=frames, **choices)
    if jax.process_index():
        return
    images = drawn.images
    if _FILM.value is not None:
        frames = [grid(images[:, i], spec.levels) for i in range(images.shape[1])]
        write_gif(_FILM.value, frames, attribution=spec.attribution)
        images = images[:, -1]  # the last prediction is the sample
    if _OUT.value.endswith(".npz"):
        labels = None if label == "none" else drawn.labels
        write_npz(_OUT.value, images, labels, spec.levels, prompts=prompts, attribution=spec.attribution)
    elif prompts:
        write_png(_OUT.value, captioned_grid(images, spec.levels, prompts), least=1, attribution=spec.attribution)
    else:
        write_png(_OUT.value, grid(images, spec.levels), attribution=spec.attribution)
    print(f"{number} samples of {_WORKDIR.value} (step {model.step}): {_OUT.value}")


def _label() -> int | str | None:
    """--label as a number, or "none"."""
    if _LABEL.value is None or _LABEL.value == "none":
        return _LABEL.value
    if not _LABEL.value.isdigit():
        raise ConfigError(f'--label is {_LABEL.value}; it must be the number of a class, or "none".')
    return int(_LABEL.value)


if __name__ == "__main__":
    run_main(main)
