"""GLIDE's base model on the captioned emoji of OpenMoji at 32x32 pixels, small enough for two CPU cores.

Six combinations of a drawing and a skin tone are kept from training.
"""

from glowdiff.config.parse import Settings, defaults, variant
from glowdiff.config.recipes import OPENMOJI_HELD_OUT


def get_config(mode: str = "") -> Settings:
    config = defaults("diffusion")
    config.data.update(name="openmoji", size=32, hold_out=OPENMOJI_HELD_OUT)
    config.model.update(
        schedule="cosine", prediction="v", weighting="min_snr", channels=32, channel_mult="1,2,2,4", res_blocks=1,
        attention="8,4", heads=4, text=True, caption_dropout=0.2, text_context=24, text_width=128, text_layers=2,
        text_heads=4,
    )  # fmt: skip
    config.train.update(steps=2_000, batch=32, ema_decay=0.998, checkpoint_every=250)
    config.optimizer.update(learning_rate=1e-3, warmup_steps=100, decay="cosine")
    config.eval.update(images=256)
    config.sampling.update(sampler="dpmpp_2m", steps="20", spacing="log_snr", guidance_scale=3.0, every=500)
    return variant(config, mode)
