"""RealNVP on ImageNet at 32x32 as published (Dinh et al., 2017, table 1): 4.28 bits/dim.

Four scales down to 4x4, four residual blocks, 32 feature maps. Needs the data set prepared once: `glowdiff prepare
downsampled_imagenet/32x32`.
"""

from glowdiff.catalog.parse import Settings, defaults, variant
from glowdiff.catalog.recipes import realnvp_training


def get_config(mode: str = "") -> Settings:
    config = defaults("realnvp")
    config.data.update(name="downsampled_imagenet/32x32", test_split="validation")
    config.model.update(levels=4, width=32, blocks=4)
    realnvp_training(config, steps=600_000)
    return variant(config, mode)
