"""The VQ autoencoder vq-f8 of latent diffusion as published (Rombach et al., 2022, table 8): rFID 1.14.

PSNR 23.07 dB, 70.5M parameters with the discriminator's 2.8M; 16,384 codes of 4 channels, eight times smaller than
images.

Needs your folder of images, `--config.data.path`, and the weights of LPIPS, `--config.model.perceptual`
(`glowdiff import lpips`).
"""

from glowdiff.catalog.parse import Settings, defaults, variant
from glowdiff.catalog.recipes import autoencoder_training


def get_config(mode: str = "") -> Settings:
    config = defaults("autoencoder", bottleneck="vq")
    config.model.network.update(channel_mult="1,2,2,4", attention="8", z_channels=4)
    config.model.bottleneck.update(channels=4, codes=16_384)
    autoencoder_training(config, start=1, weight=0.6, scale=1.0)
    return variant(config, mode)
