"""Improved DDPM on scikit-learn's handwritten digits (8x8, 17 levels): learned variances, the hybrid loss.

Its bound in bits/dim stands in docs/results.md beside that of fixed variances and Glow's exact figure.
"""

from glowdiff.catalog.parse import Settings, defaults, variant


def get_config(mode: str = "") -> Settings:
    config = defaults("diffusion")
    config.data.name = "digits"
    config.model.process.update(schedule="cosine", variance="learned")
    config.model.network.update(channels=32, channel_mult="1,2", res_blocks=1, attention="4", heads=4, dropout=0.1)
    config.model.loss = "hybrid"
    config.train.update(steps=3_000, batch=64, ema_decay=0.999)
    config.optimizer.update(learning_rate=1e-3, warmup_steps=200, decay="cosine")
    config.sampling.update(sampler="ancestral", steps="100")
    return variant(config, mode)
