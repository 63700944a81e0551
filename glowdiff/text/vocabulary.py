"""Vocabularies of byte-pair encoding (BPE): which tokens there are, and the merges that lead to them.

Texts are bytes first; each byte is written as one printable character, "!" to "~" as themselves and a blank as "Ġ"
(Radford et al., Language Models are Unsupervised Multitask Learners, 2019, and its released code).
"""

from __future__ import annotations

import base64
import gzip
import importlib.util
import io
import itertools
import json
import zlib
from collections.abc import Iterable, Mapping
from pathlib import Path
from typing import Any, NamedTuple

from glowdiff.errors import ConfigError, require
from glowdiff.files import TEXT_LIMIT, check_ordinary

START, END = "<|startoftext|>", "<|endoftext|>"  # as the published vocabularies call them
WORD_END = "</w>"  # CLIP's tokens that end a word end so
_CLIP_MERGES = 49152 - 256 - 2  # CLIP's file holds more than its model was trained with
_GPT2 = "GPT-2's vocab.bpe (or merges.txt), its ranks (r50k_base.tiktoken) or its tokenizer.json"
_CLIP = "CLIP's bpe_simple_vocab_16e6.txt.gz"
_TO_TRAIN = "That is a flag of `glowdiff import`; to train, put its tokenizer.json into the new workdir."


class Vocabulary(NamedTuple):
    """Tokens by name, and the pairs that are joined, the first one first."""

    ids: Mapping[str, int]
    merges: list[tuple[str, str]]

    def check(self, name: str) -> None:
        """Raise `ConfigError`, which starts with `name`, unless every text has tokens and every row an entry."""
        require(
            sorted(self.ids.values()) == list(range(len(self.ids))),
            f"{name} is damaged: its ids are not the numbers from 0 to {len(self.ids) - 1}.",
        )
        missing = [letter for letter in alphabet() if letter not in self.ids]
        require(
            not missing, f"{name} is damaged: {len(missing)} of the 256 bytes have no token, {missing[:1]} for one."
        )
        for left, right in self.merges:
            known = left in self.ids and right in self.ids and left + right in self.ids
            require(known, f"{name} is damaged: it merges {left!r} and {right!r}, but not all of it are tokens.")


def alphabet() -> list[str]:
    """The characters that stand for bytes, in the order of the published vocabularies: printable bytes come first."""
    printable = [*range(ord("!"), ord("~") + 1), *range(ord("¡"), ord("¬") + 1), *range(ord("®"), ord("ÿ") + 1)]
    return [*map(chr, printable), *(chr(256 + number) for number in range(256 - len(printable)))]


def _letters() -> dict[int, str]:
    letters = alphabet()
    printable = {ord(letter): letter for letter in letters if ord(letter) < 256}
    others = [byte for byte in range(256) if byte not in printable]
    return printable | dict(zip(others, letters[len(printable) :], strict=True))


def from_json(text: str, name: str) -> Vocabulary:
    """The vocabulary in a tokenizer.json of the library `tokenizers`; `name` is for messages.

    Raises:
      ConfigError: it is not one of byte-level BPE, or damaged.
    """
    try:
        content = json.loads(text)
        model = content["model"]
        ids = {str(token): int(number) for token, number in model["vocab"].items()}
        ids |= {str(token["content"]): int(token["id"]) for token in content.get("added_tokens", ())}
        merges = [_pair(merge.split(" ") if isinstance(merge, str) else merge) for merge in model["merges"]]
    except (ValueError, LookupError, TypeError, AttributeError) as error:
        raise ConfigError(
            f"{name} is damaged, or no tokenizer.json of byte-pair encoding ({type(error).__name__}: {error})."
        ) from error
    vocabulary = Vocabulary(ids, merges)
    vocabulary.check(name)
    return vocabulary


def _pair(parts: Any) -> tuple[str, str]:
    left, right = parts
    return str(left), str(right)


def from_ranks(ranks: Mapping[bytes, int], name: str) -> Vocabulary:
    """GPT-2's vocabulary of tiktoken's ranks, which are ids too and do not say which pair a token was merged from.

    It is the pair that remains when the token's bytes are merged by the tokens before it alone.

    Raises:
      ConfigError: there is no such pair; `name` is for the message.
    """
    letters = _letters()

    def spell(token: bytes) -> str:
        return "".join(letters[byte] for byte in token)

    merges = []
    for token, rank in sorted(ranks.items(), key=lambda item: item[1]):
        if len(token) > 1:
            parts = _merge_below(ranks, token, rank)
            require(len(parts) == 2, f"{name} is damaged: no two tokens before {token!r} make it.")
            merges.append((spell(parts[0]), spell(parts[1])))
    vocabulary = Vocabulary({spell(token): rank for token, rank in ranks.items()} | {END: len(ranks)}, merges)
    vocabulary.check(name)
    return vocabulary


def _merge_below(ranks: Mapping[bytes, int], token: bytes, limit: int) -> list[bytes]:
    parts = [token[i : i + 1] for i in range(len(token))]
    while len(parts) > 1:
        joined = [ranks.get(left + right, limit) for left, right in itertools.pairwise(parts)]
        best = min(joined)
        if best >= limit:
            break
        at = joined.index(best)
        parts[at : at + 2] = [parts[at] + parts[at + 1]]
    return parts


def _merge_list(lines: Iterable[str], path: Path, expected: str) -> list[tuple[str, str]]:
    merges = []
    for number, line in enumerate(lines):
        parts = line.split()
        if number == 0 and (line.startswith("#") or line.startswith('"')):
            continue  # the file's version
        if parts:
            require(
                len(parts) == 2,
                f"--vocab is {path}, whose line {number + 1} is not a pair of tokens to merge; it must be {expected}.",
            )
            merges.append(_pair(parts))
    require(bool(merges), f"--vocab is {path}, which is empty; it must be {expected}.")
    return merges


def _text(path: Path, expected: str) -> str:
    require(path.is_file(), f"--vocab is {path}, where there is no file; it must be {expected}.")
    try:
        check_ordinary(path, TEXT_LIMIT)
        content = path.read_bytes()
        if content.startswith(b"\x1f\x8b"):
            content = gzip.GzipFile(fileobj=io.BytesIO(content)).read(TEXT_LIMIT)  # the rest would be a bomb's
        return content.decode()
    except (OSError, EOFError, ValueError, zlib.error) as error:
        raise ConfigError(f"--vocab is {path}, which cannot be read ({error}); it must be {expected}.") from error


def gpt2(path: Path | None) -> Vocabulary:
    """GPT-2's vocabulary, from a file (see `glowdiff.text.tokenizer.gpt2`) or from tiktoken, which fetches it."""
    if path is None:
        return from_ranks(_tiktoken_ranks(), "The vocabulary of tiktoken")
    path = path.expanduser()
    text = _text(path, _GPT2)
    if path.suffix == ".json":
        return from_json(text, f"--vocab is {path}, which")
    if path.suffix == ".tiktoken":
        return from_ranks(_rank_list(text, path), f"--vocab is {path}, which")
    merges = _merge_list(text.split("\n"), path, _GPT2)
    tokens = [*alphabet(), *map("".join, merges), END]
    return _checked(tokens, merges, path)


def _rank_list(text: str, path: Path) -> dict[bytes, int]:
    try:
        pairs = [line.split() for line in text.splitlines() if line]
        return {base64.b64decode(token, validate=True): int(rank) for token, rank in pairs}
    except ValueError as error:
        raise ConfigError(f"--vocab is {path}, a damaged list of ranks ({error}); it must be {_GPT2}.") from error


def _tiktoken_ranks() -> dict[bytes, int]:
    instead = f"give it as a file, --vocab=FILE: {_GPT2}. {_TO_TRAIN}"
    try:
        import tiktoken  # pyright: ignore[reportMissingImports]
    except ImportError:
        raise ConfigError(
            f"GPT-2's vocabulary is fetched by the package tiktoken, which is missing; install it (pip install "
            f"tiktoken), or {instead}"
        ) from None
    try:
        encoding = tiktoken.get_encoding("gpt2")
    except (OSError, ValueError) as error:  # requests' errors are OSErrors; a file of another hash is a ValueError
        raise ConfigError(
            f"tiktoken could not fetch GPT-2's vocabulary ({type(error).__name__}: {error}); {instead}"
        ) from error
    return {encoding.decode_single_token_bytes(rank): rank for rank in range(encoding.eot_token)}


def clip(path: Path | None) -> Vocabulary:
    """CLIP's vocabulary, from its file or from the one inside the package open_clip."""
    if path is None:
        path = _installed_clip()
    path = path.expanduser()
    lines = _text(path, _CLIP).split("\n")
    merges = _merge_list(lines[: 1 + _CLIP_MERGES], path, _CLIP)
    letters = alphabet()
    tokens = [*letters, *(letter + WORD_END for letter in letters), *map("".join, merges), START, END]
    return _checked(tokens, merges, path)


def _installed_clip() -> Path:
    package = importlib.util.find_spec("open_clip")  # importing it would import PyTorch
    path = Path(package.origin).parent / "bpe_simple_vocab_16e6.txt.gz" if package and package.origin else None
    if path is None or not path.is_file():
        raise ConfigError(
            f"CLIP's vocabulary is read from the package open_clip, which is missing; install it (pip install "
            f"open-clip-torch), or give the file, --vocab=FILE: {_CLIP}. {_TO_TRAIN}"
        )
    return path


def _checked(tokens: list[str], merges: list[tuple[str, str]], path: Path) -> Vocabulary:
    name = f"--vocab is {path}, which"
    ids = {token: number for number, token in enumerate(tokens)}
    require(len(ids) == len(tokens), f"{name} is damaged: it merges to the same token twice.")
    vocabulary = Vocabulary(ids, merges)
    vocabulary.check(name)
    return vocabulary
