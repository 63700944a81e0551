from __future__ import annotations

import sys
from pathlib import Path

import numpy as np
import pytest

from glowdiff.errors import ConfigError
from glowdiff.text import tokenizer
from glowdiff.text.tokenizer import Tokenizer
from tests import small
from tests.text.conftest import CLIP, GPT2, byte_order

CAPTIONS = ["a red cat", "a red dog", "the cat and the dog", "A CAT"] * 3


@pytest.fixture
def trained() -> Tokenizer:
    return tokenizer.train(CAPTIONS, 300)


@pytest.fixture(params=tokenizer.KINDS)
def each(request: pytest.FixtureRequest, trained: Tokenizer, gpt2_file: Path, clip_file: Path) -> Tokenizer:
    made = {
        "bpe": lambda: trained,
        "gpt2": lambda: tokenizer.gpt2(gpt2_file),
        "clip": lambda: tokenizer.clip(clip_file),
    }
    return made[request.param]()


# ---- Every kind.


def test_real_tokens_come_first_and_padding_fills_the_context(each):
    tokens, mask = each.encode(["a cat", "the cat and the dog"], 40)
    assert tokens.shape == mask.shape == (2, 40)
    assert tokens.dtype == np.int32
    assert mask.dtype == bool
    assert (mask == (np.arange(40) < mask.sum(1, keepdims=True))).all()
    assert 0 < mask[0].sum() < mask[1].sum()
    assert tokens.min() >= 0
    assert tokens.max() < each.size
    assert len(set(tokens[~mask])) == 1


def test_captions_are_encoded_one_by_one(each):
    together = each.encode(["a cat", "the dog"], 20)
    alone = each.encode(["the dog"], 20)
    np.testing.assert_array_equal(together.tokens[1], alone.tokens[0])
    np.testing.assert_array_equal(together.mask[1], alone.mask[0])
    assert each.encode([], 20).tokens.shape == (0, 20)


def test_long_captions_go_on_in_another_chunk(each):
    long, short = "the cat and the dog " * 3, "a cat"
    whole = each.encode([long, short], 200)
    tokens, mask = each.encode_long([long, short], 12)
    assert tokens.shape[1] % 12 == 0
    frame = 0 if each.kind == "gpt2" else 2
    chunks, there = tokens.reshape(2, -1, 12), mask.reshape(2, -1, 12)
    # Without their frames the chunks are the caption.
    inner = [chunk[use][1:-1] if frame else chunk[use] for chunk, use in zip(chunks[0], there[0], strict=True)]
    expected = whole.tokens[0][whole.mask[0]]
    np.testing.assert_array_equal(np.concatenate(inner), expected[1:-1] if frame else expected)
    np.testing.assert_array_equal(chunks[1, 0], each.encode([short], 12).tokens[0])
    assert not there[1, 1:].any()
    for caption in (short, ""):
        for one, other in zip(each.encode_long([caption], 12), each.encode([caption], 12), strict=True):
            np.testing.assert_array_equal(one, other)


def test_case_does_not_matter(each):
    tokens = each.encode(["A Red CAT, ΣΟΦΟΣ", "a red cat, σοφος", "a red cat, σοφοσ"], 40).tokens
    np.testing.assert_array_equal(tokens[0], tokens[1])
    assert (tokens[0] != tokens[2]).any()  # Σ ends a word as ς


@pytest.mark.parametrize("blank", ["", "   ", "\n\t"])
def test_a_blank_caption_is_no_caption(each, blank):
    mask = each.encode([blank, "cat"], 20).mask
    assert mask[0].sum() == (2 if each.kind == "clip" else 0)
    assert mask[1].any()


def test_every_text_has_tokens_of_its_own(each):
    texts = ["猫", "犬", "😀", "👩‍🚀", "naïve", "naive", "1\udcff", "2\udcff"]  # the last two are no UTF-8
    tokens = each.encode(texts, 40).tokens
    assert len(np.unique(tokens, axis=0)) == len(texts)


def test_no_caption_spells_a_special_token(each):
    special = {"bpe": {0, 1, 2}, "gpt2": {each.size - 1}, "clip": {each.size - 2, each.size - 1}}[each.kind]
    tokens, mask = each.encode(["<|endoftext|> <|startoftext|> <|start|> <|end|> <|padding|>"], 100)
    ids = tokens[mask].tolist()
    assert not special & set(ids if each.kind == "gpt2" else ids[1:-1])


def test_a_long_caption_is_refused_with_what_would_be_lost(each):
    count = each.encode(["the cat and zebras"], 40).mask.sum()
    with pytest.raises(ConfigError) as error:
        each.encode(["a cat", "the cat and zebras"], int(count) - 1)
    framed = "" if each.kind == "gpt2" else ", its start and its end among them"
    assert str(error.value) == (
        f"The caption 'the cat and zebras' has {count} tokens{framed}, but the model reads {count - 1}; these words at "
        "its end would be lost: 'zebras'. Shorten it."
    )


def test_all_words_lost_are_named_but_not_at_any_length(each):
    with pytest.raises(ConfigError, match="lost: 'cat and the dog'"):
        each.encode(["the cat and the dog"], 1 if each.kind == "gpt2" else 3)
    with pytest.raises(ConfigError) as error:
        each.encode(["cat " * 1000], 10)
    assert len(str(error.value)) < 400


def test_cutting_keeps_the_first_tokens_and_counts(each):
    captions = ["a cat", "the cat and zebras and the dog"]
    whole = each.encode(captions, 60)
    (tokens, mask), cut = each.encode_cut(captions, 8)
    assert cut == 1
    assert mask[1].all()
    np.testing.assert_array_equal(tokens[0], whole.tokens[0, :8])
    kept = 8 if each.kind == "gpt2" else 7
    np.testing.assert_array_equal(tokens[1, :kept], whole.tokens[1, :kept])
    if each.kind != "gpt2":
        assert tokens[1, -1] == whole.tokens[1][whole.mask[1]][-1]  # the end, where CLIP's tower pools
    exact = int(whole.mask[1].sum())
    np.testing.assert_array_equal(each.encode_cut(captions, exact)[0].tokens, each.encode(captions, exact).tokens)
    assert each.encode_cut(captions, exact)[1] == 0


@pytest.mark.parametrize("caption", ["the cat and the dog and a red cat", "红色的心" * 9, "catdog" * 9])
def test_a_shortened_caption_fits_and_begins_alike(each, caption):
    assert each.shortened(caption, 200) == caption
    short = each.shortened(caption, 9)
    assert caption.startswith(short)
    assert 0 < len(short) < len(caption)
    assert 5 < each.encode([short], 9).mask.sum() <= 9


def test_a_context_has_room_for_a_token(each):
    least = 1 if each.kind == "gpt2" else 3
    with pytest.raises(ConfigError, match=f"The context is {least - 1} tokens; it must be at least {least}"):
        each.encode(["a"], least - 1)


# ---- Files of a workdir.


def test_a_workdir_is_all_that_loading_needs(each, tmp_path, monkeypatch):
    captions = [*CAPTIONS, "", "it's  Café\n\n12", "猫 😀"]
    each.save(tmp_path / "run")
    assert [path.name for path in (tmp_path / "run").iterdir()] == ["tokenizer.json"]
    for path in tmp_path.glob("*.*"):
        path.unlink()  # the vocabulary's own file
    monkeypatch.setitem(sys.modules, "tiktoken", None)
    again = tokenizer.load(tmp_path / "run", each.kind)
    assert (again.kind, again.size) == (each.kind, each.size)
    for one, other in zip(each.encode(captions, 60), again.encode(captions, 60), strict=True):
        np.testing.assert_array_equal(one, other)


def test_loading_says_what_is_missing(tmp_path):
    with pytest.raises(
        ConfigError, match=rf"{tmp_path} holds no tokenizer\.json, without which captions cannot be read"
    ):
        tokenizer.load(tmp_path, "bpe")
    with pytest.raises(ConfigError, match="The kind of tokenizer is 't5'; it must be one of bpe, gpt2, clip"):
        tokenizer.load(tmp_path, "t5")


@pytest.mark.parametrize("content", [b"", b"{}", b"[]", b'{"model": {"vocab": {"a": "b"}, "merges": []}}', b"\xff\xfe"])
def test_damaged_files_are_refused(tmp_path, content):
    (tmp_path / "tokenizer.json").write_bytes(content)
    with pytest.raises(ConfigError, match=r"tokenizer\.json is damaged"):
        tokenizer.load(tmp_path, "bpe")


def test_a_file_cut_short_is_refused(each, tmp_path):
    each.save(tmp_path)
    text = (tmp_path / "tokenizer.json").read_text()
    (tmp_path / "tokenizer.json").write_text(text[: len(text) // 2])
    with pytest.raises(ConfigError, match=r"tokenizer\.json is damaged"):
        tokenizer.load(tmp_path, each.kind)


def test_a_tokenizer_of_another_kind_is_refused(each, tmp_path):
    each.save(tmp_path)
    for kind in set(tokenizer.KINDS) - {each.kind}:
        with pytest.raises(ConfigError, match=rf"tokenizer\.json is no vocabulary of kind '{kind}'"):
            tokenizer.load(tmp_path, kind)


# ---- Trained ones.


def test_training_learns_words_and_frames_captions(trained):
    tokens, mask = trained.encode(["Cat  cat"], 6)
    start, first, second, end = tokens[mask]
    assert (start, end) == (1, 2)
    assert first == second >= 259  # one token each, the first word's like any other's
    assert (tokens[~mask] == 0).all()


def test_training_has_no_more_entries_than_asked_for(trained):
    assert 259 < trained.size <= 300
    assert tokenizer.train(CAPTIONS, 262).size == 262
    assert tokenizer.train(iter(["x"]), 1000).size == 259


def test_training_is_deterministic(trained, tmp_path):
    trained.save(tmp_path / "one")
    tokenizer.train(CAPTIONS[::-1], 300).save(tmp_path / "two")
    code = f"from glowdiff.text import tokenizer; tokenizer.train({CAPTIONS!r}, 300).save({str(tmp_path / 'three')!r})"
    assert small.command("-c", code).returncode == 0
    texts = {(tmp_path / name / "tokenizer.json").read_text() for name in ("one", "two", "three")}
    assert len(texts) == 1


def test_training_refuses_what_cannot_work():
    with pytest.raises(ConfigError, match="The size of the vocabulary is 100; it must be at least 259"):
        tokenizer.train(CAPTIONS, 100)
    for captions in ([], ["", "  "]):
        with pytest.raises(ConfigError, match="There are no captions to train a tokenizer on"):
            tokenizer.train(captions, 300)


# ---- CLIP's.


def clip_tokens(made: Tokenizer, caption: str) -> list[str]:
    letters = [chr(byte) if byte in byte_order()[:188] else f"<{byte}>" for byte in byte_order()]
    names = [*letters, *(f"{letter}</w>" for letter in letters), *(merge.replace(" ", "") for merge in CLIP), "[", "]"]
    tokens, mask = made.encode([caption], 40)
    return [names[number] for number in tokens[mask]]


@pytest.mark.parametrize(
    ("caption", "expected"),
    [
        ("", ["[", "]"]),
        ("The   cat", ["[", "the</w>", "cat</w>", "]"]),
        ("cats", ["[", "cat", "s</w>", "]"]),
        ("12", ["[", "1</w>", "2</w>", "]"]),  # numbers digit by digit
        ("the cat's", ["[", "the</w>", "cat</w>", "'s</w>", "]"]),
        ("the cat\u2019s", ["[", "the</w>", "cat</w>", "'s</w>", "]"]),
        ("the &amp;amp; cat!!", ["[", "the</w>", "&</w>", "cat</w>", "!", "!</w>", "]"]),
        ("e\u0301", ["[", "Ã©</w>", "]"]),
    ],
)
def test_clip_splits_as_the_original(clip_file, caption, expected):
    assert clip_tokens(tokenizer.clip(clip_file), caption) == expected


def test_clip_pads_with_zero(clip_file):
    made = tokenizer.clip(clip_file)
    assert made.size == 512 + len(CLIP) + 2
    np.testing.assert_array_equal(made.encode(["cat"], 5).tokens[0], [made.size - 2, 512 + 1, made.size - 1, 0, 0])


# ---- GPT-2's.


def test_gpt2_has_no_start_and_pads_with_its_end(gpt2_file):
    made = tokenizer.gpt2(gpt2_file)
    assert made.size == 256 + len(GPT2) + 1
    end = made.size - 1
    np.testing.assert_array_equal(made.encode(["cat cat"], 4).tokens[0], [256 + 9, 256 + 2, end, end])
