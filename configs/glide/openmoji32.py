"""GLIDE's base model on the captioned emoji of OpenMoji at 32x32 pixels: text to image without a download.

Sized for eight minutes on one GPU. Six combinations of a drawing and a skin tone are kept from training.
"""

from glowdiff.catalog.openmoji import openmoji_glide
from glowdiff.catalog.parse import Settings, defaults, variant


def get_config(mode: str = "") -> Settings:
    config = defaults("diffusion", text="glide")
    openmoji_glide(config)
    config.train.update(steps=10_000, batch=128, ema_decay=0.999)
    config.optimizer.update(name="adamw", learning_rate=3e-4, warmup_steps=500, decay="cosine")
    return variant(config, mode)
