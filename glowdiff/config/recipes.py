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
