"""ADM's upsampler from 64x64 to 256x256 as published (Dhariwal & Nichol, 2021, table 5).

FID 7.49, 3.94 with guidance at 64x64; 311.8M parameters. Needs the data set prepared once: `glowdiff prepare
imagenet2012`.
"""

from glowdiff.catalog.parse import Settings, defaults, variant
from glowdiff.catalog.recipes import adm_model, adm_training


def get_config(mode: str = "") -> Settings:
    config = defaults("diffusion")
    config.data.update(name="imagenet2012", size=256, test_split="validation", flip=True)
    adm_model(config)
    config.model.network.update(channels=192, res_blocks=2, head_channels=None, heads=4)
    config.model.update(low_res=64, class_conditional=True)
    adm_training(config, steps=500_000)
    return variant(config, mode)
