"""RealNVP on CIFAR-10 as published (Dinh et al., 2017, table 1): 3.49 bits/dim.

Two scales, eight residual blocks, 64 feature maps, mirrored images. Needs the data set prepared once: `glowdiff prepare
cifar10`.
"""

from glowdiff.catalog.parse import Settings, defaults, variant
from glowdiff.catalog.recipes import realnvp_training


def get_config(mode: str = "") -> Settings:
    config = defaults("realnvp")
    config.data.update(name="cifar10", flip=True)
    config.model.update(levels=2, width=64, blocks=8)
    realnvp_training(config, steps=400_000)
    return variant(config, mode)
