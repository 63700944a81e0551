"""RealNVP on 32x32 crops of the photographs that scikit-image and scikit-learn ship.

A small set, so this learns colours and edges rather than objects.
"""

from glowdiff.catalog.parse import Settings, defaults, variant


def get_config(mode: str = "") -> Settings:
    config = defaults("realnvp")
    config.data.update(name="photos", size=32, flip=True)
    config.model.update(levels=3, width=16, blocks=2)
    config.train.update(steps=5_000, batch=64)
    config.optimizer.update(name="adam", learning_rate=1e-3, warmup_steps=200)
    return variant(config, mode)
