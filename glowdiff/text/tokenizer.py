"""Tokenizers of captions: GPT-2's, which GLIDE reads with, CLIP's, and ones trained on a data set's own captions.

All three are byte-level BPE, so that every text has tokens; texts are lower-cased. What differs:

| kind | a caption's tokens | padding | a blank caption |
|------|--------------------|---------|-----------------|
| bpe  | start, its own, end (ids 1 and 2) | 0, which is nothing else | no token |
| gpt2 | its own            | the end token, 50256 | no token |
| clip | start, its own, end | 0, which is "!" too | start, end |

No token at all, a mask False everywhere, is "no caption" to classifier-free guidance.
"""

from __future__ import annotations

import itertools
from collections.abc import Iterable, Sequence
from pathlib import Path
from typing import TYPE_CHECKING, NamedTuple

import numpy as np
from etils import epath

from glowdiff.errors import ConfigError, require, require_choice
from glowdiff.files import write_whole
from glowdiff.text import vocabulary as vocabularies
from glowdiff.text.cleaning import clean
from glowdiff.text.vocabulary import Vocabulary

if TYPE_CHECKING:
    import tokenizers

FILE = "tokenizer.json"  # in a workdir
KINDS = ("bpe", "gpt2", "clip")
_TRAINED = ("<|padding|>", "<|start|>", "<|end|>")  # ids 0, 1 and 2 of kind bpe


class _Layout(NamedTuple):
    frame: tuple[str, ...]  # the start and the end token, or nothing
    padding: str
    word_end: str | None = None
    blank_is_framed: bool = False


_LAYOUTS = {
    "bpe": _Layout(frame=_TRAINED[1:], padding=_TRAINED[0]),
    "gpt2": _Layout(frame=(), padding=vocabularies.END),
    "clip": _Layout((vocabularies.START, vocabularies.END), "!", vocabularies.WORD_END, blank_is_framed=True),
}


class TooLongError(ConfigError):
    """A caption has more tokens than are read of one."""


class Tokens(NamedTuple):
    """N captions in a context of L tokens."""

    tokens: np.ndarray  # int32 [N, L]
    mask: np.ndarray  # bool [N, L], True at real tokens


class Tokenizer:
    """Captions to tokens; built by `train`, `gpt2`, `clip` and `load`.

    Attributes:
      kind: one of `KINDS`.
      size: ids are below it: the rows that a table of embeddings needs.
    """

    def __init__(self, kind: str, vocabulary: Vocabulary) -> None:
        self.kind = kind
        self.size = len(vocabulary.ids)
        self._layout = _LAYOUTS[kind]
        self._frame = [vocabulary.ids[token] for token in self._layout.frame]
        self._padding = vocabulary.ids[self._layout.padding]
        self._library = _library(kind, vocabulary)

    def encode(self, captions: Sequence[str], context: int) -> Tokens:
        """The tokens of captions, int32 in [0, size), and their mask, both [N, context].

        Raises:
          TooLongError: a caption has more tokens than `context`; the message says which words would be lost.
        """
        return self._encode(captions, context, refuse=True)[0]

    def encode_cut(self, captions: Sequence[str], context: int) -> tuple[Tokens, int]:
        """As `encode`, but long captions lose their end, as the originals cut them; also how many did."""
        return self._encode(captions, context, refuse=False)

    def shortened(self, caption: str, context: int) -> str:
        """A caption without the end that does not fit into `context` tokens, for which `encode` would refuse it."""
        text, room = clean(self.kind, caption), self._room(context)
        fits = True
        while len((found := self._library.encode(text, add_special_tokens=False)).ids) > room:
            text, fits = text[: found.offsets[room][0]].rstrip(), False
        return caption if fits else text

    def encode_long(self, captions: Sequence[str], context: int) -> Tokens:
        """As `encode`, but a caption that is too long goes on in a context of its own, [N, k context].

        Each chunk has a start and an end; k is what the longest caption asks for, and the last chunks of shorter ones
        hold no token.
        """
        room = self._room(context)
        encodings = self._library.encode_batch([clean(self.kind, each) for each in captions], add_special_tokens=False)
        ids = [encoding.ids for encoding in encodings]
        chunks = max(1, *(-(-len(each) // room) for each in ids))
        tokens = np.full((len(captions), chunks, context), self._padding, np.int32)
        mask = np.zeros(tokens.shape, bool)
        for row, all_of_it in enumerate(ids):
            for chunk in range(max(-(-len(all_of_it) // room), int(self._layout.blank_is_framed))):
                part = self._framed(all_of_it[chunk * room : (chunk + 1) * room])
                tokens[row, chunk, : len(part)] = part
                mask[row, chunk, : len(part)] = True
        return Tokens(tokens.reshape(len(captions), -1), mask.reshape(len(captions), -1))

    def _room(self, context: int) -> int:
        room = context - len(self._frame)
        require(room > 0, f"The context is {context} tokens; it must be at least {len(self._frame) + 1}.")
        return room

    def _framed(self, ids: list[int]) -> list[int]:
        return [self._frame[0], *ids, self._frame[1]] if self._frame else ids

    def _encode(self, captions: Sequence[str], context: int, refuse: bool) -> tuple[Tokens, int]:
        room = self._room(context)
        tokens = np.full((len(captions), context), self._padding, np.int32)
        mask = np.zeros((len(captions), context), bool)
        texts = [clean(self.kind, caption) for caption in captions]
        cut = 0
        for row, encoding in enumerate(self._library.encode_batch(texts, add_special_tokens=False)):
            ids = encoding.ids
            if len(ids) > room:
                if refuse:
                    lost = _words_from(texts[row], encoding.offsets[room][0])
                    raise TooLongError(self._too_long(captions[row], len(ids), context, lost))
                cut += 1
                ids = ids[:room]
            if ids or self._layout.blank_is_framed:
                ids = self._framed(ids)
            tokens[row, : len(ids)] = ids
            mask[row, : len(ids)] = True
        return Tokens(tokens, mask), cut

    def _too_long(self, caption: str, count: int, context: int, lost: str) -> str:
        framed = ", its start and its end among them" if self._frame else ""
        return (
            f"The caption {_short(caption)!r} has {count + len(self._frame)} tokens{framed}, but the model reads "
            f"{context}; these words at its end would be lost: {_short(lost)!r}. Shorten it."
        )

    def save(self, workdir: epath.PathLike) -> None:
        """Write WORKDIR/tokenizer.json in one piece: all that `load` needs."""
        write_whole(epath.Path(workdir) / FILE, self._library.to_str())


def load(workdir: epath.PathLike, kind: str) -> Tokenizer:
    """The tokenizer that `Tokenizer.save` wrote.

    Raises:
      ConfigError: there is none, it is damaged, or it is of another kind.
    """
    require_choice("The kind of tokenizer", kind, KINDS)
    path = epath.Path(workdir) / FILE
    if not path.exists():
        raise ConfigError(f"{workdir} holds no {FILE}, without which captions cannot be read.")
    try:
        text = path.read_text()
    except UnicodeDecodeError as error:
        raise ConfigError(f"{path} is damaged ({error}).") from error
    return _checked(kind, vocabularies.from_json(text, str(path)), str(path))


def train(captions: Iterable[str], size: int) -> Tokenizer:
    """A tokenizer of kind "bpe" with the most frequent parts of a data set's captions; equal captions, equal tokenizer.

    Args:
      captions: blank ones teach nothing.
      size: entries at most: 256 bytes, 3 special tokens, and merges of what occurs at least twice.

    Raises:
      ConfigError: no caption, or a size too small for the bytes.
    """
    from tokenizers import models, trainers

    least = 256 + len(_TRAINED)
    require(
        size >= least,
        f"The size of the vocabulary is {size}; it must be at least {least}: the bytes, start, end, padding.",
    )
    texts = filter(None, (clean("bpe", caption) for caption in captions))
    first = next(texts, None)
    if first is None:
        raise ConfigError("There are no captions to train a tokenizer on: there is none at all, or all are blank.")
    library = _around("bpe", models.BPE())
    library.train_from_iterator(
        itertools.chain([first], texts),
        trainers.BpeTrainer(
            vocab_size=size,
            min_frequency=2,
            special_tokens=list(_TRAINED),
            initial_alphabet=vocabularies.alphabet(),
            show_progress=False,
        ),
    )
    return Tokenizer("bpe", vocabularies.from_json(library.to_str(), "The trained vocabulary"))


def gpt2(vocab: Path | None = None) -> Tokenizer:
    """GPT-2's tokenizer as the published GLIDE uses it: 50,257 entries, a context of 128.

    Args:
      vocab: GPT-2's vocab.bpe or merges.txt (also .gz), a .tiktoken file of ranks, or a tokenizer.json; None: what the
        package tiktoken fetches at its first use.

    Raises:
      ConfigError: the file is missing or damaged; or there is no tiktoken, or no network.
    """
    return _checked(
        "gpt2", vocabularies.gpt2(vocab), "The vocabulary" if vocab is None else f"--vocab is {vocab}, which"
    )


def clip(vocab: Path | None = None) -> Tokenizer:
    """CLIP's tokenizer: 49,408 entries, a context of 77.

    Args:
      vocab: CLIP's bpe_simple_vocab_16e6.txt, also .gz; None: the one in the package open_clip.

    Raises:
      ConfigError: the file is missing or damaged; or there is no open_clip.
    """
    return Tokenizer("clip", vocabularies.clip(vocab))


def _checked(kind: str, vocabulary: Vocabulary, name: str) -> Tokenizer:
    layout = _LAYOUTS[kind]
    missing = [token for token in (*layout.frame, layout.padding) if token not in vocabulary.ids]
    require(not missing, f"{name} is no vocabulary of kind {kind!r}: it has no token {', '.join(missing)}.")
    # CLIP's has all of GPT-2's special tokens, so ask how its words end.
    ends = all(letter + vocabularies.WORD_END in vocabulary.ids for letter in vocabularies.alphabet())
    require(
        ends == (layout.word_end is not None),
        f"{name} is no vocabulary of kind {kind!r}: its tokens {'do' if ends else 'do not'} mark the ends of words.",
    )
    return Tokenizer(kind, vocabulary)


def _library(kind: str, vocabulary: Vocabulary) -> tokenizers.Tokenizer:
    from tokenizers import models

    suffix = {"end_of_word_suffix": _LAYOUTS[kind].word_end} if _LAYOUTS[kind].word_end else {}
    return _around(kind, models.BPE(vocab=dict(vocabulary.ids), merges=vocabulary.merges, **suffix))


def _around(kind: str, model: tokenizers.models.BPE) -> tokenizers.Tokenizer:
    """The library's tokenizer; special tokens are not told to it, so that no caption can spell one."""
    from tokenizers import Regex, Tokenizer, pre_tokenizers

    library = Tokenizer(model)
    if kind == "clip":
        words = Regex(r"'s|'t|'re|'ve|'m|'ll|'d|\p{L}+|\p{N}|[^\s\p{L}\p{N}]+")
        library.pre_tokenizer = pre_tokenizers.Sequence(
            [
                pre_tokenizers.Split(words, behavior="removed", invert=True),
                pre_tokenizers.ByteLevel(add_prefix_space=False, use_regex=False),
            ]
        )
    else:
        # GPT-2's tokens hold the blank before them. A trained vocabulary need not know a first word twice.
        library.pre_tokenizer = pre_tokenizers.ByteLevel(add_prefix_space=kind == "bpe")
    return library


def _words_from(text: str, at: int) -> str:
    """The words of `text` from position `at` on, with the whole of the one that is cut there."""
    while at > 0 and not text[at].isspace() and not text[at - 1].isspace():
        at -= 1
    return text[at:].strip()


def _short(text: str) -> str:
    return text if len(text) <= 80 else f"{text[:77].rstrip()}..."
