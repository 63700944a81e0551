"""Stable Diffusion 1.5: captions to 512x512 pixels, in latents of 64x64x4, by CLIP ViT-L/14.

859.5M parameters; text encoder (123 million) and autoencoder (84 million) stay as they are, and come from an imported
checkpoint: --config.model.codec.workdir=WORKDIR/parts/codec --config.model.text.workdir=WORKDIR/parts/text. The
original goes on from 1.2 (--config.train.init_from=WORKDIR) for 595,000 steps. Its images are not public: name a folder
of captioned ones, --config.data.path=FOLDER.
"""

from glowdiff.catalog.parse import Settings, defaults, variant
from glowdiff.catalog.recipes import latent_model, stable_diffusion_training


def get_config(mode: str = "") -> Settings:
    config = defaults("diffusion", network="ldm", text="clip", codec="autoencoder")
    config.data.update(name="folder", path="captioned_images", size=512)
    config.model.codec.workdir = "runs/sd15/parts/codec"
    config.model.text.workdir = "runs/sd15/parts/text"
    latent_model(config, 0.00085, 0.012)
    config.model.network.remat = True
    stable_diffusion_training(config, steps=595_000)
    return variant(config, mode)
