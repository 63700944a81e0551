"""Class-conditional DDPM on scikit-learn's handwritten digits (8x8, 17 levels), with labels withheld at times.

So it can be guided without a classifier (`--guidance_scale`), and with `configs/adm/classifier_digits.py`. Under ten
minutes of two CPU cores; a classifier of real digits names all guided samples as asked (docs/results.md). Images are
not shifted in training: at 8x8 pixels that makes other digits of them.
"""

from glowdiff.catalog.parse import Settings, defaults, variant


def get_config(mode: str = "") -> Settings:
    config = defaults("diffusion")
    config.data.name = "digits"
    config.model.process.schedule = "cosine"
    config.model.network.update(channels=32, channel_mult="1,2", res_blocks=1, attention="4", heads=4, dropout=0.1)
    config.model.update(class_conditional=True, label_dropout=0.15)
    config.train.update(steps=3_000, batch=64, ema_decay=0.999)
    config.optimizer.update(learning_rate=1e-3, warmup_steps=200, decay="cosine")
    config.sampling.update(sampler="dpmpp_2m", steps="20", spacing="log_snr", guidance_scale=2.0)
    return variant(config, mode)
