"""GLIDE's base model on the captioned emoji of OpenMoji at 32x32 pixels, small enough for two CPU cores.

43 CPU minutes. Six combinations of a drawing and a skin tone are kept from training.
"""

from glowdiff.catalog.openmoji import openmoji_glide_cpu
from glowdiff.catalog.parse import Settings, defaults, variant


def get_config(mode: str = "") -> Settings:
    config = defaults("diffusion", text="glide")
    openmoji_glide_cpu(config)
    config.train.update(steps=2_000, batch=32, ema_decay=0.998, checkpoint_every=250)
    config.optimizer.update(learning_rate=1e-3, warmup_steps=100, decay="cosine")
    return variant(config, mode)
