"""Glow on CIFAR-10 as published (Kingma & Dhariwal, 2018, table 2): 3.35 bits/dim, 44.6M parameters.

The paper's batch is 64 per device, and it took about 1,300 GPU-hours. Needs the data set prepared once: `glowdiff
prepare cifar10`.
"""

from glowdiff.catalog.parse import Settings, defaults, variant
from glowdiff.catalog.recipes import glow_training


def get_config(mode: str = "") -> Settings:
    config = defaults("glow")
    config.data.update(name="cifar10", flip=True)
    config.model.update(levels=3, depth=32, width=512)
    glow_training(config, batch=64)
    config.train.steps = 1_400_000
    return variant(config, mode)
