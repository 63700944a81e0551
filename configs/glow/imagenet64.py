"""Glow on ImageNet at 64x64 as published (Kingma & Dhariwal, 2018, table 2): 3.81 bits/dim, 112M parameters.

The paper's batch is 16 per device. Needs the data set prepared once: `glowdiff prepare downsampled_imagenet/64x64`.

Fits v5e-16 as it stands.
"""

from glowdiff.catalog.parse import Settings, defaults, variant
from glowdiff.catalog.recipes import glow_training


def get_config(mode: str = "") -> Settings:
    config = defaults("glow")
    config.data.update(name="downsampled_imagenet/64x64", test_split="validation")
    config.model.update(levels=4, depth=48, width=512, memory="remat")
    glow_training(config, batch=256)
    config.train.steps = 500_000
    return variant(config, mode)
