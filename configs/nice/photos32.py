"""NICE on 32x32 crops of the photographs that scikit-image and scikit-learn ship.

Its nets see all pixels alike, so it is far behind RealNVP and Glow here: a baseline.
"""

from glowdiff.catalog.parse import Settings, defaults, variant


def get_config(mode: str = "") -> Settings:
    config = defaults("nice")
    config.data.update(name="photos", size=32, flip=True)
    config.model.update(depth=4, hidden_layers=3, width=256, prior="logistic")
    config.train.update(steps=5_000, batch=64)
    config.optimizer.update(name="adam", learning_rate=1e-3, warmup_steps=200)
    return variant(config, mode)
