"""Settings that the configurations of one paper share."""

from __future__ import annotations

from glowdiff.config.parse import Settings

EPOCH = 50_000  # images that Glow's code calls an epoch, whatever the data set


def glow_training(config: Settings, batch: int) -> None:
    """The optimiser of Glow's experiments (Kingma & Dhariwal, 2018, appendix B and code).

    Adamax at 1e-3 after ten epochs of linear warm-up, its second moment averaged over an epoch; no clipping. Weights
    are averaged over an epoch, the temperature of samples is 0.7, and coupling nets compute in bfloat16.

    Args:
      config: is changed.
      batch: global batch; all else follows from it.
    """
    steps_per_epoch = EPOCH // batch
    decay = 1 - 1 / steps_per_epoch
    config.train.update(batch=batch, ema_decay=decay, log_every=500, checkpoint_every=10_000)
    config.optimizer.update(name="adamax", learning_rate=1e-3, warmup_steps=10 * steps_per_epoch, b2=decay)
    config.eval.every = config.sampling.every = 10_000
    config.sampling.temperature = 0.7
    config.dtype = "bfloat16"


def realnvp_training(config: Settings, steps: int) -> None:
    """The training of RealNVP's experiments (Dinh et al., 2017, section 4.1): Adam at 1e-3, batches of 64.

    Gradients are clipped to a norm of 100, and weights are not averaged, as `defaults("realnvp")` has it already.

    Args:
      config: is changed.
      steps: how long; the paper does not say.
    """
    config.train.update(steps=steps, batch=64, log_every=500, checkpoint_every=10_000)
    config.optimizer.update(name="adam", learning_rate=1e-3)
    config.eval.every = config.sampling.every = 10_000
    config.dtype = "bfloat16"


def nice_training(config: Settings, steps: int) -> None:
    """The training of NICE's experiments (Dinh et al., 2014, section 5.1): Adam at 1e-3 with a short second moment.

    Args:
      config: is changed.
      steps: how long.
    """
    config.train.update(steps=steps, batch=200, log_every=500, checkpoint_every=10_000)
    config.optimizer.update(name="adam", learning_rate=1e-3, b2=0.99, eps=1e-4)
    config.eval.every = config.sampling.every = 10_000
