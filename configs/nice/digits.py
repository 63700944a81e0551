"""NICE on scikit-learn's handwritten digits (8x8, 17 levels): trains in seconds.

With 1,437 images the danger is overfitting: the nets are small, and the kernels decay.
"""

from glowdiff.catalog.parse import Settings, defaults, variant


def get_config(mode: str = "") -> Settings:
    config = defaults("nice")
    config.data.name = "digits"
    config.model.update(depth=6, hidden_layers=2, width=128, prior="logistic")
    config.train.update(steps=3_000, batch=64, ema_decay=0.99)
    config.optimizer.update(name="adamw", learning_rate=1e-3, decay="cosine", weight_decay=4.0)
    return variant(config, mode)
