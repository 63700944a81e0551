"""A classifier of noised digits, to guide `configs/ddpm/digits.py`: `sample.py --classifier=WORKDIR`.

Two minutes on two CPU cores.
"""

from glowdiff.catalog.parse import Settings, defaults, variant


def get_config(mode: str = "") -> Settings:
    config = defaults("classifier")
    config.data.name = "digits"
    config.model.process.schedule = "cosine"
    config.model.network.update(
        channels=32, channel_mult="1,2", res_blocks=1, attention="4", head_channels=32, dropout=0.1,
    )  # fmt: skip
    config.train.update(steps=2_000, batch=64)
    config.optimizer.update(learning_rate=1e-3, weight_decay=0.05, decay="cosine")
    return variant(config, mode)
