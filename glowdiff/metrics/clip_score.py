"""How well images fit their captions: three figures that are all called CLIP score, from embeddings by CLIP."""

from __future__ import annotations

import numpy as np

from glowdiff.errors import require
from glowdiff.metrics.checks import check_features, check_widths

WEIGHT = 2.5  # of Hessel et al. (2021), who also put "A photo depicts" in front of captions


def unit(embeddings: np.ndarray) -> np.ndarray:
    """Embeddings [..., E], divided by their lengths, in float64."""
    wide = np.asarray(embeddings, np.float64)
    return wide / np.linalg.norm(wide, axis=-1, keepdims=True)


def cosines(images: np.ndarray, texts: np.ndarray) -> np.ndarray:
    """The cosines between the embeddings of images [N, E] and of their captions [N, E]: [N], from -1 to 1.

    Their mean is what papers on text-to-image models report, about 0.25 to 0.35.

    Raises:
      ConfigError: there are not as many captions as images, or embeddings of other widths, or not finite.
    """
    images, texts = check_features(images, "the images' embeddings", 1), check_features(texts, "the captions'", 1)
    check_widths(images.shape[1], texts.shape[1], "the images' embeddings", "the captions'")
    require(len(images) == len(texts), f"there are {len(images):,} images, but {len(texts):,} captions.")
    return (unit(images) * unit(texts)).sum(-1)


def clip_score_hessel(images: np.ndarray, texts: np.ndarray) -> float:
    """The mean of 2.5 max(cosine, 0) (Hessel et al., 2021, equation 1); theirs is of ViT-B/32.

    See `cosines` for the arguments and what is raised.
    """
    return float(_hessel(cosines(images, texts)).mean())


def clip_score_torchmetrics(images: np.ndarray, texts: np.ndarray) -> float:
    """100 times the mean cosine, and at least 0, as the package torchmetrics has it.

    See `cosines` for the arguments and what is raised.
    """
    return max(0.0, 100 * float(cosines(images, texts).mean()))


def ref_clip_score(candidates: np.ndarray, others: np.ndarray, references: np.ndarray) -> float:
    """RefCLIPScore (Hessel et al., 2021, equation 2): candidates are also compared to what people made.

    It is the mean of the harmonic means of 2.5 max(cosine, 0) and of the largest cosine with a reference, or 0.

    Args:
      candidates: embeddings of what is judged, [N, E]: the captions in that paper, images if these were made.
      others: embeddings of what they should fit, [N, E].
      references: embeddings of R references of each candidate and of its kind, [N, R, E].

    Raises:
      ConfigError: see `cosines`.
    """
    found = _hessel(cosines(candidates, others))
    require(
        references.ndim == 3 and len(references) == len(candidates) and references.shape[1] > 0,
        f"references have shape {list(references.shape)}; they must be [{len(candidates)}, references, features].",
    )
    check_widths(references.shape[-1], candidates.shape[1], "the references' embeddings", "the candidates'")
    nearest = np.maximum(0, np.einsum("nre,ne->nr", unit(references), unit(candidates)).max(1))
    total = found + nearest
    return float(np.divide(2 * found * nearest, total, out=np.zeros_like(total), where=total > 0).mean())


def _hessel(cosines: np.ndarray) -> np.ndarray:
    return WEIGHT * np.maximum(cosines, 0)
