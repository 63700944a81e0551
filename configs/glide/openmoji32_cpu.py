"""GLIDE's base model on the captioned emoji of OpenMoji at 32x32 pixels, small enough for two CPU cores."""

from glowdiff.config.parse import Settings, defaults, variant


def get_config(mode: str = "") -> Settings:
    config = defaults("diffusion")
    config.data.update(name="openmoji", size=32)
    config.model.update(
        schedule="cosine", channels=64, channel_mult="0.5,1,2", res_blocks=1, attention="8", heads=4,
        text=True, caption_dropout=0.2, text_context=24, text_width=128, text_layers=2, text_heads=4,
    )  # fmt: skip
    config.train.update(steps=6_000, batch=32, ema_decay=0.999)
    config.optimizer.update(learning_rate=1e-3, warmup_steps=200, decay="cosine")
    config.sampling.update(sampler="dpmpp_2m", steps="20", spacing="log_snr", guidance_scale=3.0)
    return variant(config, mode)
