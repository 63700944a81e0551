"""Glow on scikit-learn's handwritten digits (8x8, 17 levels): the first thing to run.

About two minutes on two CPU cores; near 2.20 bits/dim on the test set. With 1,437 images the danger is overfitting:
weight decay, learning rate and averaging were chosen on 250 training images held out for it, never on the test set
(docs/results.md).
"""

from glowdiff.catalog.parse import Settings, defaults, variant


def get_config(mode: str = "") -> Settings:
    config = defaults("glow")
    config.data.name = "digits"
    config.model.update(levels=2, depth=8, width=60, lu=True)
    config.train.update(steps=2_000, batch=64, ema_decay=0.99)
    config.optimizer.update(name="adamw", learning_rate=1e-3, decay="cosine", weight_decay=8.0)
    return variant(config, mode)
