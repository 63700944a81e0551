"""ADM's upsampler from 128x128 to 512x512 as published (Dhariwal & Nichol, 2021, table 5).

FID 9.96, 3.85 with guidance at 128x128; 308.8M parameters. Needs the data set prepared once: `glowdiff prepare
imagenet2012`.
"""

from glowdiff.catalog.parse import Settings, defaults, variant
from glowdiff.catalog.recipes import adm_model, adm_training


def get_config(mode: str = "") -> Settings:
    config = defaults("diffusion")
    config.data.update(name="imagenet2012", size=512, test_split="validation", flip=True)
    adm_model(config)
    config.model.network.update(channels=192, channel_mult="1,1,2,2,4,4", res_blocks=2, attention="32,16")
    config.model.update(low_res=128, class_conditional=True)
    adm_training(config, steps=500_000)
    return variant(config, mode)
