"""RealNVP on CelebA at 64x64 as published (Dinh et al., 2017, table 1): 3.02 bits/dim.

Five scales down to 4x4, four residual blocks (the released code's; the paper has two), 32 feature maps, mirrored
images. The paper crops faces to 148 pixels; here it is the largest square. Needs the data set prepared once: `glowdiff
prepare celeb_a`.
"""

from glowdiff.catalog.parse import Settings, defaults, variant
from glowdiff.catalog.recipes import realnvp_training


def get_config(mode: str = "") -> Settings:
    config = defaults("realnvp")
    config.data.update(name="celeb_a", size=64, flip=True)
    config.model.update(levels=5, width=32, blocks=4, memory="remat")
    realnvp_training(config, steps=300_000)
    return variant(config, mode)
