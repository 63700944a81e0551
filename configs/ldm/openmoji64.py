"""Latent diffusion of OpenMoji's captioned emoji at 64x64 pixels: captions to latents of 16x16x4, on two CPU cores.

Its autoencoder is `ldm/openmoji_codec`, trained before (--config.model.codec.workdir=WORKDIR). Six combinations of a
drawing and a skin tone are kept from training.
"""

from glowdiff.catalog.openmoji import openmoji_data
from glowdiff.catalog.parse import Settings, defaults, variant


def get_config(mode: str = "") -> Settings:
    config = defaults("diffusion", network="ldm", text="glide", codec="autoencoder")
    openmoji_data(config, 64)
    config.model.codec.workdir = "runs/openmoji_codec"
    config.model.process.update(schedule="cosine", prediction="v")
    config.model.network.update(channels=64, channel_mult="1,2,3", res_blocks=1, attention="16,8,4", heads=4)
    config.model.text.update(context=24, width=128, layers=3, heads=4)
    config.model.update(weighting="min_snr", caption_dropout=0.2)
    config.train.update(steps=3_000, batch=32, ema_decay=0.998, checkpoint_every=250)
    config.optimizer.update(learning_rate=1e-3, warmup_steps=100, decay="cosine")
    config.eval.images = 256
    config.sampling.update(sampler="dpmpp_2m", steps="20", spacing="log_snr", threshold="none", guidance_scale=3.0)
    config.pictures.every = 500
    return variant(config, mode)
