"""Glow on LSUN bedrooms at 64x64 as published (Kingma & Dhariwal, 2018, table 2): 2.38 bits/dim.

Towers reach 2.46 and churches 2.67: `--config.data.name=lsun/tower` or `lsun/church_outdoor`. The paper's batch is 16
per device. Needs the data set prepared once: `glowdiff prepare lsun/bedroom`.
"""

from glowdiff.catalog.parse import Settings, defaults, variant
from glowdiff.catalog.recipes import glow_training


def get_config(mode: str = "") -> Settings:
    config = defaults("glow")
    config.data.update(name="lsun/bedroom", size=64, test_split="validation", flip=True)
    config.model.update(levels=3, depth=48, width=512, memory="remat")
    glow_training(config, batch=256)
    config.train.steps = 500_000
    return variant(config, mode)
