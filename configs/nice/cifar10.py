"""NICE on CIFAR-10 after the paper (Dinh et al., 2014, section 5.1), which reports 4.48 bits/dim.

Eight couplings with nets of 2400 ReLUs and the normal prior are those of the released experiment. Its nets have one to
three hidden layers, ours two each; it whitens its images first, which is left out here. Needs the data set prepared
once: `glowdiff prepare cifar10`.
"""

from glowdiff.catalog.parse import Settings, defaults, variant
from glowdiff.catalog.recipes import nice_training


def get_config(mode: str = "") -> Settings:
    config = defaults("nice")
    config.data.name = "cifar10"
    config.model.update(depth=8, hidden_layers=2, width=2400, prior="normal")
    nice_training(config, steps=1_500 * 50_000 // 200)
    return variant(config, mode)
