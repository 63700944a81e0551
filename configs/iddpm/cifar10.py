"""Improved DDPM on CIFAR-10 as published (Nichol & Dhariwal, 2021, table 3), the hybrid loss.

FID 3.19, 3.17 bits/dim after 500,000 steps, 52.5M parameters. For the bound alone (2.94 bits/dim, FID 11.47):
`--config.model.loss=rescaled_kl --config.model.timestep_sampler=loss_second_moment`. Needs the data set prepared once:
`glowdiff prepare cifar10`.
"""

from glowdiff.catalog.parse import Settings, defaults, variant
from glowdiff.catalog.recipes import adm_training, iddpm_model


def get_config(mode: str = "") -> Settings:
    config = defaults("diffusion")
    config.data.name = "cifar10"
    iddpm_model(config)
    config.model.network.update(channels=128, channel_mult="1,2,2,2", res_blocks=3, dropout=0.3)
    adm_training(config, steps=500_000, batch=128)
    return variant(config, mode)
