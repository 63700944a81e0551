"""The two programs that every benchmark looks at, the train step and the sampler, exactly as the package runs them."""

from __future__ import annotations

import dataclasses
from functools import partial
from typing import Any, NamedTuple

import jax
from jax.sharding import Mesh

from benchmarks.flops import jaxpr_flops
from benchmarks.parts import parts, prepared
from glowdiff.config.sections import Config
from glowdiff.data.dataset import Dataset
from glowdiff.errors import ConfigError
from glowdiff.inference.drawer import Drawer
from glowdiff.method import conditions_of
from glowdiff.sharding import Platform, check_batch, platform_of
from glowdiff.training.experiment import Experiment, build_method
from glowdiff.training.optimizer import learning_rate, make_optimizer


class Program(NamedTuple):
    """A jitted function and the shapes of its arguments."""

    name: str
    function: Any
    args: tuple[Any, ...]
    static: dict[str, Any]
    batch: int

    def lower(self) -> Any:
        """Trace it; `.compile()` does the rest."""
        return self.function.lower(*self.args, **self.static)

    def jaxpr(self) -> Any:
        """What it computes, over all devices."""
        return self.function.trace(*self.args, **self.static).jaxpr

    def flops(self) -> int:
        """Counted FLOPs of one call, over all devices."""
        return round(jaxpr_flops(self.jaxpr()))


def make_experiment(config: Config, dataset: Dataset, mesh: Mesh, platform: Platform | None = None) -> Experiment:
    """`glowdiff.training.experiment.build` for a data set and devices that the caller has made up.

    Args:
      config: of the experiment.
      dataset: which it names.
      mesh: of the devices.
      platform: whose kernels are taken; None: that of the mesh.

    Raises:
      ConfigError: in the user's words.
    """
    check_batch("train.batch", config.train.batch, config.train.accumulate, mesh)
    platform = platform or platform_of(mesh)
    frozen, variables = parts(config, dataset.spec, platform)
    method = build_method(config, dataset.spec, platform, frozen)
    experiment = Experiment(config, dataset, method, mesh, make_optimizer(config), learning_rate(config))
    if config.data.latents is not None:
        codec = prepared(frozen["codec"].method, dataset.spec, variables["codec"])
        experiment = experiment._replace(latents=codec)
    return experiment._replace(frozen=variables)


def train_program(experiment: Experiment) -> Program:
    """One optimiser step on a global batch."""
    batch = experiment.config.train.batch
    frozen = (dict(experiment.frozen),) if experiment.frozen else ()
    args = (experiment.abstract_state(), experiment.example_batch(batch), *frozen)
    return Program("train step", experiment.train_step(), args, {}, batch)


def sample_program(experiment: Experiment, batch: int, variables: Any = None) -> Program:
    """Drawing `batch` images as configured, from key to pixels; `variables` are shapes, if they are known already.

    Raises:
      ConfigError: the method draws nothing.
    """
    if experiment.method.draws is None:
        raise ConfigError(
            f"method is {experiment.config.method!r}, which draws no samples; only its training is timed."
        )
    variables = experiment.abstract_state().variables if variables is None else variables
    drawer = Drawer(experiment.method, experiment.mesh)
    images = experiment._replace(latents=None).example_batch(batch)
    cond = jax.eval_shape(partial(conditions_of, experiment.method.takes), images)
    args = drawer.arguments(experiment.variables(variables), cond=cond, options=experiment.config.sampling)
    # What a call of the drawer compiles: only its jitted part can be lowered for devices that are not there.
    return Program("sampler", drawer.program, args, {"size": batch}, batch)


def model_flops(program: Program, experiment: Experiment) -> int:
    """FLOPs of one call, without those that rematerialisation or a kernel of the platform's does a second time."""
    model: Any = experiment.config.model
    changes: dict[str, Any] = {"memory": "plain"} if getattr(model, "memory", "plain") != "plain" else {}
    if getattr(getattr(model, "network", None), "remat", False):
        changes["network"] = dataclasses.replace(model.network, remat=False)
    platform = platform_of(experiment.mesh)
    if not changes and platform.attention is None:
        return program.flops()
    config = dataclasses.replace(experiment.config, model=dataclasses.replace(model, **changes))
    plain = make_experiment(config, experiment.dataset, experiment.mesh, platform.plain)
    return (train_program(plain) if program.name == "train step" else sample_program(plain, program.batch)).flops()


def program_bytes(compiled: Any) -> tuple[int | None, int | None]:
    """Bytes of a compiled program on each device, in all and temporaries; None: the compiler does not say.

    Arguments that results overwrite are not counted twice.
    """
    memory = compiled.memory_analysis()
    if not memory:
        return None, None
    total = memory.argument_size_in_bytes + memory.output_size_in_bytes - memory.alias_size_in_bytes
    return total + memory.temp_size_in_bytes, memory.temp_size_in_bytes
