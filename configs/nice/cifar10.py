"""NICE on CIFAR-10 as published (Dinh et al., 2014, section 5.1): 4.48 bits/dim.

Eight couplings of 4 x 2400 ReLUs, the normal prior. The paper whitens its images first, which is left out here, and
trains for 1,500 epochs; the batch is ours. Needs the data set prepared once: `python -m glowdiff.data prepare cifar10`.
"""

from glowdiff.config.parse import Settings, defaults, variant
from glowdiff.config.recipes import nice_training


def get_config(mode: str = "") -> Settings:
    config = defaults("nice")
    config.data.name = "cifar10"
    config.model.update(depth=8, hidden_layers=4, width=2400, prior="normal")
    nice_training(config, steps=1_500 * 50_000 // 200)
    return variant(config, mode)
