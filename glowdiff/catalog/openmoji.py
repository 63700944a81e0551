"""Settings that the text-conditional models of OpenMoji share."""

from __future__ import annotations

from glowdiff.catalog.parse import Settings

# Combinations that none of them is trained on: each part of them is in other captions.
HELD_OUT = "|".join(
    (
        "waving hand: dark skin tone",
        "victory hand: light skin tone",
        "raised fist: medium skin tone",
        "clapping hands: medium-dark skin tone",
        "woman: dark skin tone",
        "man cook: medium-light skin tone",
    )
)


def openmoji_data(config: Settings, size: int) -> None:
    """Captioned emoji.

    Args:
      config: is changed.
      size: side in pixels.
    """
    config.data.update(name="openmoji", size=size, hold_out=HELD_OUT)


def openmoji_glide(config: Settings) -> None:
    """GLIDE's base model of 32x32 pixels, sized for one GPU.

    Args:
      config: is changed.
    """
    openmoji_data(config, 32)
    config.model.process.update(schedule="cosine", variance="learned")
    config.model.network.update(
        channels=96, channel_mult="1,2,3", res_blocks=2, attention="16,8", head_channels=32, dropout=0.1,
    )  # fmt: skip
    config.model.text.update(context=24, width=256, layers=6, heads=4)
    config.model.update(loss="hybrid", caption_dropout=0.2)
    config.sampling.update(sampler="dpmpp_2m", steps="20", spacing="log_snr", guidance_scale=3.0)
    config.dtype = "bfloat16"


def openmoji_glide_cpu(config: Settings) -> None:
    """GLIDE's base model of 32x32 pixels, sized for two CPU cores.

    It predicts v and weighs timesteps by min-SNR, with which a short training gets further.

    Args:
      config: is changed.
    """
    openmoji_data(config, 32)
    config.model.process.update(schedule="cosine", prediction="v")
    config.model.network.update(channels=32, channel_mult="1,2,2,4", res_blocks=1, attention="8,4", heads=4)
    config.model.text.update(context=24, width=128, layers=2, heads=4)
    config.model.update(weighting="min_snr", caption_dropout=0.2)
    config.eval.images = 256
    config.sampling.update(sampler="dpmpp_2m", steps="20", spacing="log_snr", guidance_scale=3.0)
    config.pictures.every = 500
