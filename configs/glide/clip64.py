"""GLIDE's noise-aware CLIP for its 64x64 model: the released sizes and schedule (Nichol et al., 2022, section 4.3).

158.12M parameters: 86.4 million for images, 71.7 million for captions. The optimiser is CLIP's for a ViT-B (Radford
et al., 2021, tables 18 and 20). The pictures it was trained on are not public: give your own, captioned, by
--config.data.*, and a larger batch; as it stands it learns the emoji of OpenMoji.
"""

from glowdiff.catalog.parse import Settings, defaults, variant
from glowdiff.catalog.recipes import clip_training


def get_config(mode: str = "") -> Settings:
    config = defaults("clip")
    config.data.update(name="openmoji", size=64)
    config.model.network.remat = True
    config.model.text.tokenizer = "clip"
    clip_training(config, batch=2_048)
    return variant(config, mode)
