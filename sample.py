"""Draw samples: `python sample.py --workdir=runs/glow_digits --num=64 --temperature=0.7 --out=samples.png`."""

import jax
from absl import flags

import glowdiff
from glowdiff.config.schema import ConfigError
from glowdiff.images import grid, write_npz, write_png
from glowdiff.main import initialize, run_main

_WORKDIR = flags.DEFINE_string("workdir", None, "What train.py wrote.", required=True)
_OUT = flags.DEFINE_string("out", "samples.png", "A picture of all samples (.png), or the samples themselves (.npz).")
_NUM = flags.DEFINE_integer("num", 64, "How many.", lower_bound=1)
_BATCH = flags.DEFINE_integer("batch", 64, "How many at a time; changes no sample.", lower_bound=1)
_SEED = flags.DEFINE_integer("seed", 0, "Another seed draws other samples.", lower_bound=0)
_TEMPERATURE = flags.DEFINE_float("temperature", None, "Standard deviation of the latents.", lower_bound=0)
_LABEL = flags.DEFINE_integer("label", None, "The class to draw; all of them unless given.", lower_bound=0)
_STEP = flags.DEFINE_integer("step", None, "The checkpoint; the newest unless given.")
_EMA = flags.DEFINE_bool("ema", True, "Averaged parameters rather than raw ones.")


def main(argv: list[str]) -> None:
    """Parse, and call the package."""
    del argv
    if not _OUT.value.endswith((".png", ".npz")):
        raise ConfigError(f"--out is {_OUT.value}; it must end in .png or .npz.")
    initialize()
    model = glowdiff.load(_WORKDIR.value, step=_STEP.value, ema=_EMA.value)
    samples = model.draw(
        jax.random.key(_SEED.value), _NUM.value, temperature=_TEMPERATURE.value, label=_LABEL.value, batch=_BATCH.value
    )
    if jax.process_index():
        return
    if _OUT.value.endswith(".npz"):
        write_npz(_OUT.value, samples.images, samples.labels, model.spec.levels, attribution=model.spec.attribution)
    else:
        write_png(_OUT.value, grid(samples.images, model.spec.levels), attribution=model.spec.attribution)
    print(f"{_NUM.value} samples of {_WORKDIR.value} (step {model.step}): {_OUT.value}")


if __name__ == "__main__":
    run_main(main)
