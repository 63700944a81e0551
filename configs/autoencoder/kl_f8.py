"""The KL autoencoder kl-f8 of latent diffusion as published (Rombach et al., 2022, table 8): rFID 0.90.

PSNR 24.19 dB, 86.4M parameters with the discriminator's 2.8M; latents of 4 channels, eight times smaller than images.
It is Stable Diffusion's.

Needs your folder of images, `--config.data.path`, and the weights of LPIPS, `--config.model.perceptual`
(`glowdiff import lpips`).
"""

from glowdiff.catalog.parse import Settings, defaults, variant
from glowdiff.catalog.recipes import autoencoder_training


def get_config(mode: str = "") -> Settings:
    config = defaults("autoencoder")
    config.model.network.update(channel_mult="1,2,4,4", z_channels=4)
    config.model.bottleneck.update(channels=4)
    autoencoder_training(config, start=50_001, weight=0.5)
    return variant(config, mode)
