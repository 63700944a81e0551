"""GLIDE's noise-aware CLIP for its 64x64 model: the released sizes and schedule (Nichol et al., 2022, section 4.3).

158.12M parameters: 86.4 million for images, 71.7 million for captions. The optimiser is CLIP's for a ViT-B (Radford
et al., 2021, tables 18 and 20). The pictures it was trained on are not public: give your own, captioned, by
--config.data.*, and a larger batch; as it stands it learns the emoji of OpenMoji.
"""

from glowdiff.config.parse import Settings, defaults, variant


def get_config(mode: str = "") -> Settings:
    config = defaults("clip")
    config.data.update(name="openmoji", size=64)
    config.model.update(tokenizer="clip", remat=True)
    config.train.update(steps=390_000, batch=2_048, log_every=500, checkpoint_every=10_000)
    config.optimizer.update(learning_rate=5e-4, weight_decay=0.2, warmup_steps=2_000, decay="cosine")
    config.eval.update(every=10_000)
    config.dtype = "bfloat16"
    return variant(config, mode)
