"""Stable Diffusion 2.1, which predicts v: captions to 768x768 pixels, in latents of 96x96x4, by OpenCLIP ViT-H/14.

865.9M parameters; text encoder (340 million) and autoencoder (84 million) stay as they are, and come from an imported
checkpoint: --config.model.codec.workdir=WORKDIR/parts/codec --config.model.text.workdir=WORKDIR/parts/text. The
original goes on from 2.0 (--config.train.init_from=WORKDIR) for 210,000 steps. Its images are not public: name a folder
of captioned ones, --config.data.path=FOLDER.
"""

from glowdiff.catalog.parse import Settings, defaults, variant
from glowdiff.catalog.recipes import latent_model, stable_diffusion_training


def get_config(mode: str = "") -> Settings:
    config = defaults("diffusion", network="ldm", text="clip", codec="autoencoder")
    config.data.update(name="folder", path="captioned_images", size=768)
    config.model.codec.workdir = "runs/sd21/parts/codec"
    config.model.text.workdir = "runs/sd21/parts/text"
    config.model.text.update(width=1_024, layers=23, heads=16, activation="gelu", padding="zero")
    latent_model(config, 0.00085, 0.012)
    config.model.process.prediction = "v"
    config.model.network.update(attention="96,48,24", head_channels=64, remat=True)
    stable_diffusion_training(config, steps=210_000)
    return variant(config, mode)
