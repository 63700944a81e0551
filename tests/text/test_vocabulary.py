"""Where published vocabularies are read from."""

from __future__ import annotations

import gzip
import json
import sys
from pathlib import Path

import numpy as np
import pytest
import tiktoken
from hypothesis import example, given, settings
from hypothesis import strategies as st

from glowdiff.errors import ConfigError
from glowdiff.text import tokenizer
from glowdiff.text.tokenizer import Tokenizer
from tests.text.conftest import GPT2, toy_ranks

RANKS = toy_ranks()
TIKTOKEN = tiktoken.Encoding(
    "toy",
    pat_str=r"""'(?:[sdmt]|ll|ve|re)| ?\p{L}++| ?\p{N}++| ?[^\s\p{L}\p{N}]++|\s++$|\s+(?!\S)|\s""",  # gpt2's
    mergeable_ranks=RANKS,
    special_tokens={"<|endoftext|>": len(RANKS)},
)


def saved(made: Tokenizer, folder: Path) -> dict:
    made.save(folder)
    return json.loads((folder / "tokenizer.json").read_text())


@pytest.fixture(scope="module")
def from_tiktoken() -> Tokenizer:
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(tiktoken, "get_encoding", {"gpt2": TIKTOKEN}.__getitem__)
        return tokenizer.gpt2()


@settings(max_examples=200, deadline=None, derandomize=True)
@given(st.text(alphabet="cathesl the'12é\n\t ,!猫😀", max_size=40))
@example("the cat's  hat,\n\nit'll  \n do ")
@example("  café 猫12 😀👩‍🚀 ½Ⅷ\u00a0\u2003x")
@example("<|endoftext|>")
def test_ids_are_those_of_tiktoken(from_tiktoken, text):
    tokens, mask = from_tiktoken.encode([text], 300)
    expected = TIKTOKEN.encode_ordinary(text.lower()) if text.strip() else []
    assert tokens[mask].tolist() == expected
    assert (tokens[~mask] == len(RANKS)).all()


def test_every_form_of_gpt2s_vocabulary_is_the_same_tokenizer(from_tiktoken, gpt2_file, rank_file, tmp_path):
    expected = saved(from_tiktoken, tmp_path / "tiktoken")
    assert [" ".join(merge) for merge in expected["model"]["merges"]] == GPT2
    packed = tmp_path / "vocab.bpe.gz"
    packed.write_bytes(gzip.compress(gpt2_file.read_bytes()))
    for path in (gpt2_file, packed, rank_file, tmp_path / "tiktoken" / "tokenizer.json"):
        assert saved(tokenizer.gpt2(path), tmp_path / "again") == expected


def test_a_tokenizer_json_may_be_older_and_hold_its_special_tokens_apart(gpt2_file, tmp_path):
    expected = saved(tokenizer.gpt2(gpt2_file), tmp_path / "new")
    old = json.loads(json.dumps(expected))
    old["model"]["merges"] = GPT2
    old["added_tokens"] = [{"content": "<|endoftext|>", "id": old["model"]["vocab"].pop("<|endoftext|>")}]
    (tmp_path / "old.json").write_text(json.dumps(old))
    assert saved(tokenizer.gpt2(tmp_path / "old.json"), tmp_path / "again") == expected


def test_without_tiktoken_or_network_a_file_is_asked_for(monkeypatch):
    def offline(name: str) -> None:
        raise ConnectionError(f"no route to {name}")

    monkeypatch.setattr(tiktoken, "get_encoding", offline)
    with pytest.raises(ConfigError, match=r"could not fetch .*no route to gpt2.*--vocab=FILE: GPT-2's vocab\.bpe"):
        tokenizer.gpt2()
    monkeypatch.setitem(sys.modules, "tiktoken", None)
    with pytest.raises(ConfigError, match=r"tiktoken, which is missing; .*pip install tiktoken.*--vocab=FILE"):
        tokenizer.gpt2()


def test_clips_vocabulary_is_found_without_importing_the_package(clip_file, tmp_path, monkeypatch):
    package = tmp_path / "site" / "open_clip"
    package.mkdir(parents=True)
    (package / "__init__.py").write_text("raise AssertionError('imported')")
    monkeypatch.syspath_prepend(package.parent)
    with pytest.raises(ConfigError, match=r"open_clip, which is missing; .*--vocab=FILE: CLIP's bpe_simple_vocab"):
        tokenizer.clip()
    (package / "bpe_simple_vocab_16e6.txt.gz").write_bytes(gzip.compress(clip_file.read_bytes()))
    assert saved(tokenizer.clip(), tmp_path / "one") == saved(tokenizer.clip(clip_file), tmp_path / "two")


def test_without_open_clip_a_file_is_asked_for(monkeypatch):
    monkeypatch.setattr("importlib.util.find_spec", lambda name: None)
    with pytest.raises(ConfigError, match=r"open_clip, which is missing; .*pip install open-clip-torch.*--vocab=FILE"):
        tokenizer.clip()


def test_clips_vocabulary_ends_where_its_model_was_trained(clip_file, tmp_path):
    """The file holds 262,144 merges, of which the model knows the first 48,894."""
    letters = [chr(code) for code in range(ord("a"), ord("z") + 1)]
    pairs = [f"{a} {b}" for a in letters for b in letters]
    triples = [f"{pair.replace(' ', '')} {c}" for pair in pairs for c in letters]
    more = [f"{triple.replace(' ', '')} {c}" for triple in triples[:1500] for c in letters]
    path = tmp_path / "long.txt"
    path.write_text("\n".join(["#version", *pairs, *triples, *more]))
    assert tokenizer.clip(path).size == 49_408


@pytest.mark.parametrize("read", [tokenizer.gpt2, tokenizer.clip])
def test_files_that_are_no_vocabulary_are_refused(read, tmp_path):
    path = tmp_path / "file.txt"
    with pytest.raises(ConfigError, match=r"--vocab is .*file\.txt, where there is no file; it must be"):
        read(path)
    for content, message in [
        (b"", "which is empty"),
        (b"#version\na b c\n", "whose line 2 is not a pair of tokens to merge"),
        (b"#version\nab c\n", "which is damaged: it merges 'ab' and 'c', but not all of it are tokens"),
        (b"#version\na b\na b\n", "which is damaged: it merges to the same token twice"),
        (b"\xff\xfe", "which cannot be read"),
        (gzip.compress(b"#version\na b\n" * 100)[:-20], "which cannot be read"),
        (gzip.compress(b"")[:10] + b"garbage" * 9, "which cannot be read"),
    ]:
        path.write_bytes(content)
        with pytest.raises(ConfigError, match=rf"--vocab is .*file\.txt, {message}"):
            read(path)


@pytest.mark.parametrize(
    ("name", "content", "message"),
    [
        ("x.tiktoken", "IQ== zero\n", "a damaged list of ranks"),
        ("x.tiktoken", "IQ==\n", "a damaged list of ranks"),
        ("x.tiktoken", "IQ== 0\nIQ 1\n", "a damaged list of ranks"),
        ("x.tiktoken", "IQ== 0\n", "which is damaged: 255 of the 256 bytes have no token"),
        ("x.tiktoken", "IQ== 0\nISEh 1\n", r"which is damaged: no two tokens before b'!!!' make it"),
        ("x.json", "{}", r"which is damaged, or no tokenizer\.json of byte-pair encoding"),
        ("x.json", '{"!": 0}', r"which is damaged, or no tokenizer\.json of byte-pair encoding"),
        ("x.json", '{"model": {"vocab": {"!": 7}, "merges": []}}', "which is damaged: its ids are not the numbers"),
    ],
)
def test_damaged_ranks_and_json_are_refused(tmp_path, name, content, message):
    (tmp_path / name).write_text(content)
    with pytest.raises(ConfigError, match=rf"--vocab is .*{name}, {message}"):
        tokenizer.gpt2(tmp_path / name)


def test_a_json_of_another_kind_is_refused(clip_file, tmp_path):
    tokenizer.clip(clip_file).save(tmp_path)
    with pytest.raises(ConfigError, match=r"--vocab is .*tokenizer\.json, which is no vocabulary of kind 'gpt2'"):
        tokenizer.gpt2(tmp_path / "tokenizer.json")


def test_a_vocabulary_does_not_depend_on_the_order_of_ranks(rank_file, tmp_path):
    shuffled = rank_file.read_text().splitlines()
    np.random.default_rng(0).shuffle(shuffled)
    (tmp_path / "shuffled.tiktoken").write_text("\n".join(shuffled))
    one = saved(tokenizer.gpt2(rank_file), tmp_path / "one")
    assert saved(tokenizer.gpt2(tmp_path / "shuffled.tiktoken"), tmp_path / "two") == one
