"""Improved DDPM on ImageNet at 64x64 as published (Nichol & Dhariwal, 2021, table 3), the hybrid loss.

FID 19.2, 3.57 bits/dim after 1.5 million steps, 121.1M parameters. Needs the data set prepared once: `glowdiff prepare
downsampled_imagenet/64x64`.
"""

from glowdiff.catalog.parse import Settings, defaults, variant
from glowdiff.catalog.recipes import adm_training, iddpm_model


def get_config(mode: str = "") -> Settings:
    config = defaults("diffusion")
    config.data.update(name="downsampled_imagenet/64x64", test_split="validation")
    iddpm_model(config)
    config.model.network.update(channels=128, channel_mult="1,2,3,4", res_blocks=3)
    adm_training(config, steps=1_500_000, batch=128)
    return variant(config, mode)
