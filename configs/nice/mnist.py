"""NICE on MNIST as published (Dinh et al., 2014, section 5.1): a log-likelihood of 1980.50 nats, 4.36 bits/dim.

Four couplings of 5 x 1000 ReLUs, the logistic prior, 1,500 epochs. Needs the data set prepared once: `glowdiff prepare
mnist`.
"""

from glowdiff.catalog.parse import Settings, defaults, variant
from glowdiff.catalog.recipes import nice_training


def get_config(mode: str = "") -> Settings:
    config = defaults("nice")
    config.data.name = "mnist"
    config.model.update(depth=4, hidden_layers=5, width=1000, prior="logistic")
    nice_training(config, steps=1_500 * 60_000 // 200)
    return variant(config, mode)
