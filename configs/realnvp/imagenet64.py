"""RealNVP on ImageNet at 64x64 as published (Dinh et al., 2017, table 1): 3.98 bits/dim.

Five scales down to 4x4, four residual blocks (the released code's; the paper has two), 32 feature maps. Needs the data
set prepared once: `glowdiff prepare downsampled_imagenet/64x64`.
"""

from glowdiff.catalog.parse import Settings, defaults, variant
from glowdiff.catalog.recipes import realnvp_training


def get_config(mode: str = "") -> Settings:
    config = defaults("realnvp")
    config.data.update(name="downsampled_imagenet/64x64", test_split="validation")
    config.model.update(levels=5, width=32, blocks=4, memory="remat")
    realnvp_training(config, steps=600_000)
    return variant(config, mode)
