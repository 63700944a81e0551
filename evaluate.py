"""Score a model on its test set: `python evaluate.py --workdir=runs/glow_digits`."""

from collections.abc import Iterator
from typing import Any

import jax
from absl import flags

import glowdiff
from glowdiff.cli.main import initialize, run_main
from glowdiff.data import captioned
from glowdiff.data.batches import eval_batches
from glowdiff.inference.drawer import as_float32, resolve
from glowdiff.metrics.bits_per_dim import make_evaluator
from glowdiff.metrics.scores import describe, mean_scores

_WORKDIR = flags.DEFINE_string("workdir", None, "What train.py wrote.", required=True)
_BATCH = flags.DEFINE_integer("batch", 64, "Images at a time; changes no figure but those of CLIP.", lower_bound=1)
_IMAGES = flags.DEFINE_integer("images", None, "Only so many test images, the first ones.", lower_bound=1)
_STEPS = flags.DEFINE_string(
    "steps", None, "Diffusion: the bound of a sampler with so many steps; all timesteps unless given."
)
_STEP = flags.DEFINE_integer("step", None, "The checkpoint; the newest unless given.")
_EMA = flags.DEFINE_bool("ema", True, "Averaged parameters rather than raw ones.")


def main(argv: list[str]) -> None:
    """Parse, and call the package."""
    del argv
    initialize()
    model = glowdiff.load(_WORKDIR.value, step=_STEP.value, ema=_EMA.value)
    method, dataset = model.method, captioned.load(model.config, _WORKDIR.value).dataset
    options = None if _STEPS.value is None else as_float32(resolve(model.config, steps=_STEPS.value))

    def batches() -> Iterator[Any]:
        return eval_batches(
            dataset,
            batch=-(-_BATCH.value // model.mesh.size) * model.mesh.size,
            limit=_IMAGES.value,
            process_index=jax.process_index(),
            process_count=jax.process_count(),
        )

    figures = {} if method.scores is None else mean_scores(method.scores, model.mesh)(model.variables, batches())
    if method.bits_per_dim is not None:
        evaluate = make_evaluator(method, model.mesh, options=options)
        figures["bits_per_dim"] = evaluate(model.variables, batches())
    if jax.process_index() == 0:
        images = min(len(dataset.test), _IMAGES.value or len(dataset.test))
        for name, value in figures.items():
            print(f"{describe(f'test_{name}')}: {value:.4f}  ({images:,} images, step {model.step})")


if __name__ == "__main__":
    run_main(main)
