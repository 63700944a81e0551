"""Class-conditional Glow on scikit-learn's handwritten digits: what `make demo` trains.

The prior of the last latent depends on the label (Glow, section 6), so `sample.py --label=3` draws threes. About two
minutes on two CPU cores; near 2.11 bits/dim given the label.
"""

from glowdiff.catalog.parse import Settings, defaults, variant


def get_config(mode: str = "") -> Settings:
    config = defaults("glow")
    config.data.name = "digits"
    config.model.update(levels=2, depth=8, width=96, lu=True, class_conditional=True)
    config.train.update(steps=2_500, batch=64, ema_decay=0.99)
    config.optimizer.update(name="adamw", learning_rate=1e-3, decay="cosine", weight_decay=8.0)
    return variant(config, mode)
