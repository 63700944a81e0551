"""The VQ autoencoder vq-f4-noattn of latent diffusion as published (Rombach et al., 2022, table 8): rFID 1.06.

PSNR 25.21 dB, 56.0M parameters with the discriminator's 2.8M; 8,192 codes of 3 channels, four times smaller than
images.

Needs your folder of images, `--config.data.path`, and the weights of LPIPS, `--config.model.perceptual`
(`glowdiff import lpips`).
"""

from glowdiff.catalog.parse import Settings, defaults, variant
from glowdiff.catalog.recipes import autoencoder_training


def get_config(mode: str = "") -> Settings:
    config = defaults("autoencoder", bottleneck="vq")
    config.model.network.update(channel_mult="1,2,4", z_channels=3, middle_attention=False)
    config.model.bottleneck.update(channels=3, codes=8_192)
    autoencoder_training(config, start=1, weight=0.75, scale=1.0)
    return variant(config, mode)
