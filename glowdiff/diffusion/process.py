"""A process: how data become noise, and how a network's output is to be read."""

from __future__ import annotations

from dataclasses import dataclass

import jax
import jax.numpy as jnp
import numpy as np

from glowdiff.config.parts import Part
from glowdiff.diffusion.schedules import ENDS, SCHEDULES, alpha_bars, betas
from glowdiff.errors import require, require_choice
from glowdiff.samplers import spacing
from glowdiff.samplers.levels import FIXED, Array, Level, Step, expand, make_grid, up_to
from glowdiff.samplers.prediction import Prediction, from_eps, from_v, from_x_0

PREDICTIONS = ("eps", "x_0", "v")
VARIANCES = (*FIXED, "learned")


@dataclass(frozen=True)
class Noise(Part):
    """The `process` section of all networks that see x_t: how noise is added."""

    schedule: str = "linear"  # linear | scaled_linear (in sqrt(beta)) | cosine (also called squaredcos_cap_v2)
    timesteps: int = 1000  # T
    beta_start: float | None = None  # of the linear ones; None: 1e-4, scaled_linear 0.00085, times 1000 / T
    beta_end: float | None = None  # likewise; None: 0.02, scaled_linear 0.012, times 1000 / T
    zero_terminal_snr: bool = False  # the last timestep is pure noise (Lin et al., 2023)
    rescale_timesteps: bool = False  # the network is given t * 1000 / T

    def check(self, key: str) -> None:
        """Raise `ConfigError` for impossible values."""
        require_choice(f"{key}.schedule", self.schedule, SCHEDULES)
        require(self.timesteps > 1, f"{key}.timesteps is {self.timesteps}; it must be at least 2.")
        for name, beta in (("beta_start", self.beta_start), ("beta_end", self.beta_end)):
            require(
                beta is None or self.schedule in ENDS,
                f"{key}.{name} is {beta}, but {key}.schedule is {self.schedule!r}, which has no ends to choose; "
                f"{' and '.join(ENDS)} have.",
            )
            require(beta is None or 0 < beta < 1, f"{key}.{name} is {beta}; it must be between 0 and 1.")
        if self.beta_start is not None or self.beta_end is not None:
            table = betas(self.schedule, self.timesteps, self.beta_start, self.beta_end)
            require(
                table[0] < table[-1],
                f"{key}.beta_start is {table[0]:g}, which is not below {key}.beta_end={table[-1]:g}.",
            )

    def alpha_bars(self) -> np.ndarray:
        """Float64 [T]."""
        return alpha_bars(
            self.schedule, self.timesteps, self.zero_terminal_snr, start=self.beta_start, end=self.beta_end
        )

    def process(self) -> Process:
        """The process; guides predict nothing of it, and v suits zero terminal SNR as well."""
        return Process(self.alpha_bars(), "v", rescale_timesteps=self.rescale_timesteps)

    def difference(self, other: Noise) -> str | None:
        """What of the noise differs from another's, in words; None: nothing."""
        same = {"squaredcos_cap_v2": "cosine"}  # two names of one schedule
        for key in ("schedule", "timesteps", "beta_start", "beta_end", "zero_terminal_snr"):
            mine, theirs = getattr(self, key), getattr(other, key)
            if same.get(mine, mine) != same.get(theirs, theirs):
                return f"model.process.{key} is {mine!r} and the guide's is {theirs!r}"
        return None


@dataclass(frozen=True)
class CosineNoise(Noise):
    """As `Noise`, for what starts with the cosine schedule."""

    schedule: str = "cosine"


@dataclass(frozen=True)
class DDPM(Noise):
    """The `process` section of denoisers: noise, and what the network says of it."""

    prediction: str = "eps"  # what the network predicts: eps | x_0 | v
    variance: str = "fixed_large"  # of p(x_{t-1} | x_t): fixed_small | fixed_large | learned (between the two)

    def check(self, key: str) -> None:
        """Raise `ConfigError` for impossible values."""
        super().check(key)
        require_choice(f"{key}.prediction", self.prediction, PREDICTIONS)
        require_choice(f"{key}.variance", self.variance, VARIANCES)
        require(
            not self.zero_terminal_snr or self.prediction != "eps",
            f"{key}.zero_terminal_snr is on, but {key}.prediction is 'eps', which says nothing of the data where x_t "
            "is pure noise; predict v (or x_0).",
        )

    def process(self) -> Process:
        """The process."""
        return Process(self.alpha_bars(), self.prediction, self.variance, self.rescale_timesteps)


PROCESSES = {"ddpm": DDPM}
NOISES = {"ddpm": Noise}  # of classifiers
CLIP_NOISES = {"ddpm": CosineNoise}
READERS = {"eps": from_eps, "x_0": from_x_0, "v": from_v}


@dataclass(frozen=True, eq=False)
class Process:
    """What x_t is, and what the network says of it; the reverse step is in `glowdiff.samplers.posterior`."""

    alpha_bars: np.ndarray  # float64 [T], of `schedules.alpha_bars`
    prediction: str = "eps"  # what the network predicts: eps | x_0 | v
    variance: str = "fixed_large"  # of p(x_{t-1} | x_t): fixed_small | fixed_large | learned (Nichol & Dhariwal, 2021)
    rescale_timesteps: bool = False  # networks see timesteps as if T were 1000

    def __post_init__(self):
        """Raise `ConfigError` for what does not go together."""
        require_choice("model.process.prediction", self.prediction, PREDICTIONS)
        require_choice("model.process.variance", self.variance, VARIANCES)
        require(
            self.prediction != "eps" or self.alpha_bars[-1] > 0,
            "model.process.prediction is 'eps', but with zero terminal SNR the last timestep is nothing but noise, of "
            "which the network would learn nothing; it must be 'v' or 'x_0'.",
        )

    @property
    def timesteps(self) -> int:
        """T."""
        return len(self.alpha_bars)

    def training_grid(self) -> Step:
        """All T timesteps, row t that of t: float64 tables."""
        return make_grid(np.arange(self.timesteps), self.alpha_bars, self._fixed)

    def grid(self, steps: str, spaced: str = "even", strength: float = 1.0, final: str = "data") -> Step:
        """Some of them, see `glowdiff.samplers.spacing.grid`; with a strength below 1, from that share of T on."""
        whole = spacing.grid(self.alpha_bars, steps, spaced, self._fixed, final)
        start = round(strength * (self.timesteps - 1))
        return whole if strength == 1 else up_to(whole, start, self.alpha_bars[start], self._fixed)

    @property
    def _fixed(self) -> str:
        return "fixed_large" if self.variance == "learned" else self.variance

    def network_time(self, t: Array) -> Array:
        """What the network is given for timestep `t`, a float, `Level.t`."""
        return t * (1000 / self.timesteps) if self.rescale_timesteps else t

    def q_sample(self, x_0: jax.Array, level: Level, noise: jax.Array) -> jax.Array:
        """x_t = alpha x_0 + sigma noise (Ho et al., 2020, eq. 4)."""
        return expand(level.alpha, x_0) * x_0 + expand(level.sigma, x_0) * noise

    def target(self, x_0: jax.Array, level: Level, noise: jax.Array) -> jax.Array:
        """What the network should predict of `q_sample(x_0, level, noise)`."""
        if self.prediction == "v":
            return expand(level.alpha, x_0) * noise - expand(level.sigma, x_0) * x_0
        return noise if self.prediction == "eps" else x_0

    def split(self, output: jax.Array) -> tuple[jax.Array, jax.Array | None]:
        """A network's output as prediction and `Prediction.fraction`, in at least float32.

        Args:
          output: [..., C], or with a learned variance [..., 2C], whose second half runs from -1 to 1 between the bounds
            of the log variance.
        """
        output = output.astype(jnp.promote_types(output.dtype, jnp.float32))
        if self.variance != "learned":
            return output, None
        mean, between = jnp.split(output, 2, axis=-1)
        return mean, (between + 1) / 2

    def predict(self, output: jax.Array, x_t: jax.Array, level: Level) -> Prediction:
        """What a network's output says of x_t; its channels are those of `split`."""
        mean, fraction = self.split(output)
        return READERS[self.prediction](x_t, level, mean, fraction)
