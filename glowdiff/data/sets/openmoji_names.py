"""What an OpenMoji picture shows, by its characters: a caption, boolean attributes, and the family it belongs to.

Captions are CLDR's short names ("woman technologist: medium skin tone"), put together again from the names in the
package `emoji`, which lack the punctuation; but CLDR's "flag: Japan" is "flag of Japan" here, as people say.
Attributes are read off characters and caption by one regular expression each, so they say what a name says: "cook" is a
person without gender, "pregnant man" is a man.
"""

from __future__ import annotations

import functools
import re
import unicodedata

TONES = ("light", "medium-light", "medium", "medium-dark", "dark")
_MODIFIER = "\U0001f3fb-\U0001f3ff"  # the five skin tones, as characters
_JOINER, _EMOJI_STYLE = "\u200d", "\ufe0f"
_REGION = "[\U0001f1e6-\U0001f1ff]{2}"  # two regional indicators: a country's flag
_TAGS = "[\U000e0020-\U000e007e]+"  # letters of the flag of a part of a country

# A part of a name that CLDR sets behind a colon.
_DETAIL = r"(?:medium-light|medium-dark|light|medium|dark) skin tone|(?:red|curly|white|blond) hair|bald|beard"
_MEMBER = r"man|woman|boy|girl|adult|child|person"

_PEOPLE = "🎅🏂-🏄🏇🏊-🏌👤-👩👪-👸👼💁-💃💆💇💏💑🕴🕵🕺🗣🙅-🙇🙋🙍🙎🚣🚴-🚶🛀🛌🤦🤰🤱🤴-🤾🥷🦸🦹🧍-🧏🧑-🧟🫂-🫅⛷⛹"
_HANDS = "👆-👐💅💪🖐🖕🖖🙌🙏🤌🤏🤘-🤟🤙🤲🤳🫰-🫸☝✊-✍"
_ANIMALS = "🐀-🐽🐿🦀-🦮🦈🪰-🪳🪱🪲🪼🪿🫍-🫎🫏🕊🕷😸-😾🙈-🙊"
_FOOD = "🌭-🌰🌶🌽🍄-🍼🍾🍿🎂🥐-🥯🥜🥘🦪🧀-🧋🧆🫐-🫜☕"
_VEHICLES = "🚀-🚎🚐-🚞🚟-🚤🚲🛩🛫-🛬🛰🛳🛥🛴-🛵🛶🛸🛹🛺🛻✈⛴⛵🏍🏎"

# Searched for in "CHARACTERS CAPTION". The order is that of the columns; only ever add at the end.
_RULES: dict[str, str] = {
    # One of the tones in the picture; two people may have two.
    "skin_light": r"(?<!-)\blight skin tone",
    "skin_medium_light": r"\bmedium-light skin tone",
    "skin_medium": r"\bmedium skin tone",
    "skin_medium_dark": r"\bmedium-dark skin tone",
    "skin_dark": r"(?<!-)\bdark skin tone",
    "has_skin_tone": r"skin tone",  # any of the five
    "dark_skin": r"dark skin tone",  # medium-dark or dark
    "person": rf"^[{_PEOPLE}]",  # people of any age and gender, fairies and vampires too
    "man": r"\bm[ae]n\b(?!\u2019)|\bmerman\b|\bprince\b|Santa Claus",
    "woman": r"\bwom[ae]n\b(?!\u2019)|\bmermaid\b|\bprincess\b|Mrs\. Claus|breast-feeding",
    "child": r"\b(?:boy|girl|child|baby)\b(?! (?:bottle|symbol|chick))",
    "family": r" family\b",
    "couple": r"\bholding hands\b|\bcouple with heart\b|^\S+ kiss(?:$|:)",
    "hair_red": r"\bred hair\b",
    "hair_curly": r"\bcurly hair\b",
    "hair_white": r"\bwhite hair\b",
    "hair_blond": r"\bblond hair\b",
    "hair_bald": r"\bbald\b",
    "beard": r"\bbeard\b",
    "facing_right": r"\bfacing right\b",
    "wheelchair": r"\bwheelchair\b",
    "hand": rf"^[{_HANDS}]",
    "face": r"\bface\b",
    "smiling": r"\b(?:smil|grin|beaming)",
    "animal": rf"^[{_ANIMALS}]",
    "food": rf"^[{_FOOD}]",
    "vehicle": rf"^[{_VEHICLES}]",
    "heart": r"\bhearts?\b",
    "flag": "^(?:[🏁🎌🏳🏴🚩]|[🇦-🇿]{2})",
    "clock": "^[🕐-🕧]|clock$",
    "arrow": r"\barrows?\b",
    "button": r"\bbutton\b",
}
ATTRIBUTES = tuple(_RULES)
_PATTERNS = tuple(re.compile(rule) for rule in _RULES.values())


def characters(code: str) -> str:
    """The characters of which OpenMoji's file name `code` lists the code points.

    >>> characters("1F44D-1F3FE")
    '👍🏾'
    """
    return "".join(chr(int(point, 16)) for point in code.split("-"))


def caption(emoji: str) -> str | None:
    """The name of `emoji`, in CLDR's style; None for OpenMoji's additions without one (private-use characters).

    >>> caption("👩🏽‍💻")
    'woman technologist: medium skin tone'
    >>> caption("🇫🇷")
    'flag of France'
    """
    plain = emoji.replace(_EMOJI_STYLE, "")
    name = _names().get(plain)
    if re.fullmatch(_REGION, plain) or (name and re.search(_TAGS, plain)):
        return f"flag of {name}" if name else None
    if name:
        return _punctuated(name)
    if tags := re.search(_TAGS, plain):  # CLDR names three of them; this is the code of ISO 3166-2
        letters = "".join(chr(ord(tag) - 0xE0000) for tag in tags[0])
        return f"flag of {letters[:2]}-{letters[2:]}"
    if _JOINER in plain:  # a combination of OpenMoji's own
        parts = [caption(part) for part in plain.split(_JOINER)]
        return ", ".join(part for part in parts if part) if all(parts) else None
    name = unicodedata.name(plain, "") if len(plain) == 1 else ""
    return name.lower() or None


def attributes(emoji: str, name: str) -> list[bool]:
    """Whether `emoji`, of caption `name`, has each of `ATTRIBUTES`."""
    text = f"{emoji} {name}"
    return [pattern.search(text) is not None for pattern in _PATTERNS]


def family(emoji: str) -> str:
    """What pictures that differ in skin tone or direction only have in common.

    >>> family("👩🏽‍💻") == family("👩🏿‍💻") == family("👩‍💻")
    True
    """
    bare = re.sub(f"[{_MODIFIER}{_EMOJI_STYLE}]|{_JOINER}➡", "", emoji).replace(_JOINER, "")
    return _TWINS.get(bare, bare)


# Two people of two tones are spelt with two characters, two people of one tone with another one.
_TWINS = {
    "👩🤝👨": "👫",
    "👨🤝👨": "👬",
    "👩🤝👩": "👭",
    "🧑❤💋🧑": "💏",
    "🧑❤🧑": "💑",
    "🧑🐰🧑": "👯",
    "👨🐰👨": "👯♂",
    "👩🐰👩": "👯♀",
    "🧑🫯🧑": "🤼",
    "👨🫯👨": "🤼♂",
    "👩🫯👩": "🤼♀",
    "🫱🫲": "🤝",
}


@functools.cache
def _names() -> dict[str, str]:
    """The names of the package `emoji` by sequence, without the selectors of emoji style."""
    from emoji import EMOJI_DATA  # large, and needed once

    names: dict[str, str] = {}
    for sequence, facts in EMOJI_DATA.items():
        names.setdefault(sequence.replace(_EMOJI_STYLE, ""), facts["en"].strip(":").replace("_", " "))
    return names


def _punctuated(name: str) -> str:
    """`name` with CLDR's colon and commas: "kiss man man dark skin tone" has three details."""
    if match := re.fullmatch(r"keycap (.+)", name):
        return f"keycap: {match[1]}"
    match = re.fullmatch(rf"(.+?)((?: (?:{_DETAIL}))*)", name)
    assert match
    head, details = match[1], re.findall(_DETAIL, match[2])
    if group := re.fullmatch(rf"(kiss|couple with heart|family)((?: (?:{_MEMBER}))+)", head):
        head, details = group[1], [*group[2].split(), *details]
    return f"{head}: {', '.join(details)}" if details else head
