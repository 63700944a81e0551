"""Latent diffusion on ImageNet at 256x256 pixels, class-conditional (Rombach et al., 2022, table 13): LDM-4, 64x64x3.

401.4M parameters, the table of classes among them. FID 10.56, and 3.60 with classifier-free guidance at scale 1.5, with
250 steps of DDIM. Its autoencoder is `autoencoder/vq_f4`, trained before, or part of an imported checkpoint:
--config.model.codec.workdir=WORKDIR.
"""

from glowdiff.catalog.parse import Settings, defaults, variant
from glowdiff.catalog.recipes import latent_model, latent_training


def get_config(mode: str = "") -> Settings:
    config = defaults("diffusion", network="ldm", codec="autoencoder")
    config.data.update(name="imagenet2012", size=256, test_split="validation", flip=True)
    config.model.codec.workdir = "runs/vq_f4"
    latent_model(config)
    config.model.network.update(channels=192, channel_mult="1,2,3,5", attention="32,16,8", heads=1, remat=True)
    config.model.update(class_conditional=True, label_dropout=0.1)
    latent_training(config, steps=178_000, batch=1_200, learning_rate=1e-4)
    config.sampling.update(steps="250", eta=1.0, guidance_scale=1.5)
    return variant(config, mode)
