"""Glow on ImageNet at 32x32 as published (Kingma & Dhariwal, 2018, table 2): 4.09 bits/dim, 66.8M parameters.

The paper's batch is 64 per device. Needs the data set prepared once: `glowdiff prepare downsampled_imagenet/32x32`.
"""

from glowdiff.catalog.parse import Settings, defaults, variant
from glowdiff.catalog.recipes import glow_training


def get_config(mode: str = "") -> Settings:
    config = defaults("glow")
    config.data.update(name="downsampled_imagenet/32x32", test_split="validation")
    config.model.update(levels=3, depth=48, width=512)
    glow_training(config, batch=256)
    config.train.steps = 500_000
    return variant(config, mode)
