"""Samplers: seconds for a picture of GLIDE, and a denoising step of ADM under guidance."""

from __future__ import annotations

import statistics
from collections.abc import Sequence
from typing import Any

import jax
import numpy as np

from benchmarks import glide_programs
from benchmarks.chip.plan import Job
from benchmarks.chip.setting import Setting
from benchmarks.chip.settings import PUBLISHED, configuration
from benchmarks.flops import jaxpr_flops
from benchmarks.programs import make_experiment, program_bytes
from benchmarks.random_weights import random_weights
from benchmarks.synthetic import known_spec, nothing_in
from benchmarks.timing import seconds_of, steady_seconds
from glowdiff.config.options import as_float32, changed
from glowdiff.inference.drawer import Drawer
from glowdiff.method import Guide, batch_shapes


class Glide:
    """A base that draws from a caption and an upsampler of what it drew, weights in bfloat16."""

    def __init__(self, plan: str, batch: int, setting: Setting) -> None:
        """Of a plan of `glide_programs.PLANS`."""
        self._plan, self._batch, self._setting = plan, batch, setting
        self._stages: tuple[glide_programs.Stage, glide_programs.Stage] | None = None
        self._flops = 0.0

    def prepare(self) -> Sequence[Job]:
        """Trace both samplers and count them."""
        toy = self._setting.toy
        base, upsampler = (
            glide_programs.stage(configuration(PUBLISHED[name], toy=toy, network__remat=False), "bfloat16")
            for name in ("glide/base64", "glide/upsample64_256")
        )
        self._stages = (base, upsampler)
        shapes = [base.variables, upsampler.variables]
        traced = [call.trace() for call in glide_programs.calls(self._plan, self._batch, self._stages, shapes)]
        self._flops = sum(jaxpr_flops(each.jaxpr) for each in traced)
        return [each.lower().compile for each in traced]

    def measure(self, compiled: list[Any]) -> dict[str, Any]:
        """Seconds of the base, and of both."""
        assert self._stages is not None
        weights = [random_weights(each.variables) for each in self._stages]
        calls = glide_programs.calls(self._plan, self._batch, self._stages, weights)
        jax.block_until_ready(glide_programs.draw(compiled, calls, weights))
        rounds = 1 if self._setting.toy else 3
        base, both = (
            statistics.median(
                seconds_of(lambda wanted=wanted: glide_programs.draw(compiled, calls, weights, enlarge=wanted), rounds)
            )
            for wanted in (False, True)
        )
        steps = [options["steps"] for options in glide_programs.PLANS[self._plan]]
        return {
            "batch": self._batch,
            "steps": " + ".join(steps),
            "base_seconds": round(base, 4),
            "ms": round(1e3 * both, 3),
            "seconds_per_picture": round(both / self._batch, 4),
            "images_per_second": round(self._batch / both, 4),
            "tflops": round(self._flops / 1e12, 6),
            **self._setting.utilisation(self._flops, both),
            "program_bytes": sum(program_bytes(each)[0] or 0 for each in compiled),
        }


class GuidedStep:
    """A step of the ancestral sampler of ADM at 256x256, with its classifier's gradient or without."""

    def __init__(self, batch: int, setting: Setting, *, guided: bool) -> None:
        self._batch, self._setting, self._guided = (1 if setting.toy else batch), setting, guided
        self._steps = 2 if setting.toy else 10
        self._sampler: Any = None
        self._shapes: list[Any] = []
        self._options: Any = None
        self._flops = 0.0

    def prepare(self) -> Sequence[Job]:
        """Trace a sampler of a few steps and count it."""
        names = ("adm/imagenet256", "adm/classifier256")
        remat = {"network__remat": False}
        configs = [configuration(PUBLISHED[name], toy=self._setting.toy, **remat) for name in names]
        spec, mesh = known_spec(configs[0].data), self._setting.mesh
        experiments = [make_experiment(config, nothing_in(spec), mesh) for config in configs]
        for each in experiments:
            shapes = jax.eval_shape(each.method.init, jax.random.key(0), batch_shapes(spec, 1, each.method.takes))
            self._shapes.append(dict(shapes))
        model, classifier = (each.method for each in experiments)

        def options(variables: Any) -> Any:
            assert classifier.guides is not None
            guides = (Guide(variables, 1.0, classifier.guides.log_prob, classifier.takes),) if self._guided else ()
            changes = {"steps": str(self._steps), "guides": guides}
            return as_float32(changed(configs[0].sampling, configs[0].model.options, changes))

        self._options = options
        self._sampler = Drawer(model, mesh).program
        traced = self._sampler.trace(*self._arguments(self._shapes), size=self._batch)
        self._flops = jaxpr_flops(traced.jaxpr) / self._steps
        return [traced.lower().compile]

    def measure(self, compiled: list[Any]) -> dict[str, Any]:
        """Milliseconds of one of the steps."""
        arguments = self._arguments([random_weights(each) for each in self._shapes])
        blocks = steady_seconds(lambda: compiled[0](*arguments), seconds=self._setting.seconds)
        seconds = statistics.median(blocks) / self._steps
        return {
            "batch": self._batch,
            "ms": round(1e3 * seconds, 4),
            "images_per_second": round(self._batch / seconds, 3),
            "tflops": round(self._flops / 1e12, 6),
            **self._setting.utilisation(self._flops, seconds),
            "program_bytes": program_bytes(compiled[0])[0],
        }

    def _arguments(self, variables: list[Any]) -> tuple[Any, ...]:
        cond = {"label": np.arange(self._batch, dtype=np.int32)}
        return variables[0], jax.random.key(0), np.int32(0), cond, self._options(variables[1])
