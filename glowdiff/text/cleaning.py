"""What is done to a caption before it is cut into words, as the originals do it."""

from __future__ import annotations

import html
import unicodedata

# CLIP's tokenizer cleans with ftfy, which straightens quotes; the rest of what ftfy does is rare in captions.
_SINGLE, _DOUBLE = "\u02bc\u2018\u2019\u201a\u201b", "\u201c\u201d\u201e\u201f"
_STRAIGHT = str.maketrans(dict.fromkeys(_SINGLE, "'") | dict.fromkeys(_DOUBLE, '"'))


def clean(kind: str, caption: str) -> str:
    """The text whose tokens are a caption's, in lower case; "" if the caption is blank.

    >>> clean("clip", "A  Cat &amp; a Dog")
    'a cat & a dog'
    """
    # Bytes of a command line that are not UTF-8 arrive as lone surrogates, which the library refuses.
    text = caption.encode("utf-8", "replace").decode("utf-8")
    if kind == "clip":
        text = unicodedata.normalize("NFC", html.unescape(html.unescape(text.translate(_STRAIGHT))))
    # Not the library's own lower-casing, which goes letter by letter: Σ ends words as ς.
    text = text.lower()
    if kind == "gpt2":
        return text if text.strip() else ""  # its tokens hold blanks, so they stay
    return " ".join(text.split())
