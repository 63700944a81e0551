"""RealNVP on LSUN bedrooms at 64x64 as published (Dinh et al., 2017, table 1): 2.72 bits/dim.

Towers reach 2.81 and churches 3.08: `--config.data.name=lsun/tower` or `lsun/church_outdoor`. Five scales down to 4x4,
four residual blocks (the released code's; the paper has two), 32 feature maps, mirrored images. Needs the data set
prepared once: `glowdiff prepare lsun/bedroom`.
"""

from glowdiff.catalog.parse import Settings, defaults, variant
from glowdiff.catalog.recipes import realnvp_training


def get_config(mode: str = "") -> Settings:
    config = defaults("realnvp")
    config.data.update(name="lsun/bedroom", size=64, test_split="validation", flip=True)
    config.model.update(levels=5, width=32, blocks=4, memory="remat")
    realnvp_training(config, steps=600_000)
    return variant(config, mode)
