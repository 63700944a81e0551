"""RealNVP on scikit-learn's handwritten digits (8x8, 17 levels).

With 1,437 images the danger is overfitting: the nets are small. Weight-normalised kernels would not feel weight
decay.
"""

from glowdiff.catalog.parse import Settings, defaults, variant


def get_config(mode: str = "") -> Settings:
    config = defaults("realnvp")
    config.data.name = "digits"
    config.model.update(levels=2, width=16, blocks=2)
    config.train.update(steps=2_000, batch=64)
    config.optimizer.update(name="adam", learning_rate=1e-3, decay="cosine")
    return variant(config, mode)
