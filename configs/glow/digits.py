"""Glow on scikit-learn's handwritten digits (8x8, 17 levels): the first thing to run.

About a minute on two CPU cores; the test set ends near 2.1 bits/dim.
"""

from glowdiff.config.parse import Settings, defaults, variant


def get_config(mode: str = "") -> Settings:
    config = defaults("glow")
    config.data.name = "digits"
    config.model.update(levels=2, depth=8, width=60, lu=True)
    config.train.update(steps=2_000, batch=64)
    config.optimizer.update(name="adamax", learning_rate=1e-3)
    return variant(config, mode)
