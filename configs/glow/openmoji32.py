"""Glow on the 4,128 coloured emoji of OpenMoji at 32x32 pixels, on white: drawings with names, without a download.

Their colours are flat, so 5 bits tell them apart. Pictures are not mirrored: letters, flags and clocks have a side.
"""

from glowdiff.catalog.parse import Settings, defaults, variant


def get_config(mode: str = "") -> Settings:
    config = defaults("glow")
    config.data.update(name="openmoji", size=32)
    config.model.update(levels=3, depth=8, width=64, n_bits=5)
    config.train.update(steps=4_000, batch=32)
    config.optimizer.update(name="adamax", learning_rate=1e-3, warmup_steps=200, decay="cosine")
    config.sampling.temperature = 0.7
    return variant(config, mode)
