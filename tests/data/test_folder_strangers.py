"""Folders of strangers: damage at the worst place, names in every form, files that are none, texts that are bombs."""

from __future__ import annotations

import json
import os
import unicodedata
from pathlib import Path

import pytest

from glowdiff.config.sections import DataConfig
from glowdiff.data.captions import train_captions
from glowdiff.data.dataset import load, prepare
from glowdiff.data.holdout import held_out
from glowdiff.errors import ConfigError
from tests.data.conftest import save_pictures

ESCAPE = "\x1b[31mred\x1b]0;title\x07"


@pytest.fixture
def folder(tmp_path) -> Path:
    """A folder of ten pictures."""
    save_pictures(tmp_path / "set", 10)
    return tmp_path / "set"


def config_of(folder: Path, **changes) -> DataConfig:
    return DataConfig(**{"name": "folder", "path": str(folder), "dir": str(folder.parent / "prepared"), **changes})


def report_of(folder: Path, **changes) -> dict:
    return json.loads((prepare(config_of(folder, **changes)) / "report.json").read_text())


def damage(*files: Path) -> None:
    """The end of each file is missing, which its header does not tell."""
    for file in files:
        file.write_bytes(file.read_bytes()[:-300])


def sides(folder: Path, fraction: float) -> tuple[list[Path], list[Path]]:
    """Which files the hash alone trains on and holds out."""
    files = sorted(folder.iterdir())
    held = held_out([file.name for file in files], fraction)
    return tuple([file for file, each in zip(files, held, strict=True) if each == side] for side in (False, True))


@pytest.mark.parametrize(("fraction", "side"), [(0.05, 1), (0.1, 1), (0.3, 1), (0.5, 0), (0.5, 1), (0.7, 0)])
def test_where_a_whole_side_is_damaged_another_picture_takes_its_place(folder, fraction, side):
    lost = sides(folder, fraction)[side]
    damage(*lost)
    spec = load(config_of(folder, test_fraction=fraction, max_bad=0.9)).spec
    assert sorted(report_of(folder, test_fraction=fraction, max_bad=0.9)["refused"]) == [file.name for file in lost]
    assert spec.train_size + spec.test_size == 10 - len(lost)
    assert (spec.train_size, spec.test_size)[side] == 1


def test_damage_that_follows_the_choice_is_followed_too(folder):
    for left in range(9, 1, -1):
        damage(*sides(folder, 0.01)[1][:1])
        spec = load(config_of(folder, test_fraction=0.01, max_bad=0.9)).spec
        assert (spec.train_size, spec.test_size) == (left - 1, 1)
        for name in report_of(folder, test_fraction=0.01, max_bad=0.9)["refused"]:
            (folder / name).unlink()


def test_too_much_damage_is_still_an_error(folder):
    files = sorted(folder.iterdir())
    damage(*files[:6])
    with pytest.raises(ConfigError, match=r"6 of its 10 files cannot be used, more than data\.max_bad=0\.5"):
        load(config_of(folder))
    damage(*files[6:9])
    with pytest.raises(ConfigError, match="holds 1 usable images; at least 2"):
        load(config_of(folder, max_bad=1.0))
    damage(files[9])
    with pytest.raises(ConfigError, match="holds 0 usable images; at least 2"):
        load(config_of(folder, max_bad=1.0))


FORMS = ("NFC", "NFD")


@pytest.mark.parametrize("file_form", FORMS)
@pytest.mark.parametrize("text_form", FORMS)
@pytest.mark.parametrize("kind", ["csv", "jsonl", "txt"])
def test_captions_are_found_however_an_accent_is_written(folder, file_form, text_form, kind):
    for file in sorted(folder.iterdir()):
        file.rename(folder / unicodedata.normalize(file_form, f"é{file.name}"))
    names = [unicodedata.normalize(text_form, file.name) for file in sorted(folder.iterdir())]
    if kind == "csv":
        (folder / "metadata.csv").write_text("\n".join(["file_name,text", *(f"{name},a" for name in names)]))
    elif kind == "jsonl":
        lines = [json.dumps({"file_name": name, "text": "a"}) for name in names]
        (folder / "metadata.jsonl").write_text("\n".join(lines))
    else:
        for name in names:
            (folder / name).with_suffix(".txt").write_text("a")
    dataset = load(config_of(folder))
    assert len(dataset.train) + len(dataset.test) == 10
    assert report_of(folder)["refused"] == {}


def test_two_pictures_whose_names_look_the_same_are_two(folder):
    save_pictures(folder / "more", 2, seed=1)
    for number, form in enumerate(FORMS):
        (folder / "more" / f"{number:03d}.png").rename(folder / unicodedata.normalize(form, "é.png"))
    (folder / "more").rmdir()
    spec = load(config_of(folder)).spec
    assert spec.train_size + spec.test_size == 12


def test_what_utf8_cannot_hold_is_refused_by_name(folder, capsys):
    rows = [{"file_name": file.name, "text": "fine"} for file in sorted(folder.iterdir())]
    rows[0]["text"], rows[1]["text"] = "half \ud800", "\udc00\ud800"
    rows.append({"file_name": "\ud800.png", "text": "fine"})
    (folder / "metadata.jsonl").write_text("\n".join(map(json.dumps, rows)))
    strange = os.fsencode(folder) + b"/na\xefve.png"
    (folder / "009.png").rename(os.fsdecode(strange))
    (folder / os.fsdecode(b"cl\xe9")).mkdir()
    save_pictures(folder / os.fsdecode(b"cl\xe9"), 1)
    dataset = load(config_of(folder))
    assert set(train_captions(dataset)) == {"fine"}
    refused = report_of(folder)["refused"]
    assert refused["000.png"] == refused["001.png"]
    assert "its caption in metadata.jsonl holds half a character" in refused["000.png"]
    assert [name for name, why in refused.items() if why == "its name is not UTF-8 text"] == [
        os.fsdecode(b"cl\xe9/000.png"),
        os.fsdecode(b"na\xefve.png"),
    ]
    shown = capsys.readouterr().err
    assert "  na\\udcefve.png: its name is not UTF-8 text\n" in shown
    assert "2 rows name files that are not there (metadata.jsonl, for example '009.png')" in shown


@pytest.mark.parametrize("name", ["metadata.csv", "metadata.jsonl"])
@pytest.mark.parametrize("kind", ["pipe", "device", "large"])
def test_metadata_that_are_no_file_are_refused_unread(folder, name, kind):
    message = strange_file(folder / name, kind)
    with pytest.raises(ConfigError, match=rf"whose {name} cannot be read \({message}"):
        load(config_of(folder))


@pytest.mark.parametrize("kind", ["pipe", "device", "large"])
def test_captions_and_pictures_that_are_no_file_are_left_out_by_name(folder, kind):
    for file in sorted(folder.iterdir()):
        file.with_suffix(".txt").write_text("a caption")
    (folder / "000.txt").unlink()
    (folder / "001.png").unlink()
    message = strange_file(folder / "000.txt", kind)
    strange_file(folder / "001.png", kind)
    refused = report_of(folder)["refused"]
    assert set(refused) == {"000.png", "001.png"}
    assert refused["000.png"].startswith(f"its caption, 000.txt, cannot be read ({message}")
    assert message in refused["001.png"] or kind == "large"


def strange_file(path: Path, kind: str) -> str:
    """What its refusal says of a new pipe, device, or file without an end worth waiting for."""
    if kind == "pipe":
        os.mkfifo(path)
        return "it is a named pipe"
    if kind == "device":
        path.symlink_to("/dev/zero")
        return "it is a device"
    with path.open("wb") as file:
        file.truncate(2**36)  # it takes no space
    return "it has 68,719,476,736 bytes, more than"


@pytest.mark.parametrize(
    ("line", "message"),
    [
        ("[" * 100_000 + "]" * 100_000, r"no JSON object in line 2 \(it is nested too deeply\)"),
        ('{"text": ' + '{"a": ' * 100_000, r"no JSON object in line 2 \(it is nested too deeply\)"),
        ('{"text": ' + "9" * 10_000 + "}", r"no JSON object in line 2 \(Exceeds the limit \(4300 digits\)"),
        ('{"file_name": "a", "text": NaN}', r"no JSON object in line 2 \(NaN is no JSON\)"),
        ('{"file_name": "a", "text": "b", "score": -Infinity}', r"no JSON object in line 2 \(-Infinity is no JSON\)"),
        ('{"file_name": "a", "text": 1e999}', "text inf in line 2; it must be a string"),
        (
            '{"file_name": "a", "text": ["' + "b" * 10**6 + '"]}',
            r"text \['b+\.\.\.b+'\] in line 2",
        ),
        ('{"file_name": "' + "a" * 10**6 + '", "text": {}}', "text {} in line 2; it must be a string"),
        ('{"\x1b[31m', r"no JSON object in line 2 \(Invalid control character"),
        ('{"file_name": ' + json.dumps(ESCAPE) + ', "text": 1}', "text 1 in line 2"),
    ],
    ids=range(10),
)
def test_lines_of_metadata_that_are_bombs_are_a_line(folder, line, message):
    (folder / "metadata.jsonl").write_text(f'{{"file_name": "000.png", "text": "a"}}\n{line}')
    with pytest.raises(ConfigError, match=rf"metadata\.jsonl has {message}") as error:
        load(config_of(folder))
    assert str(error.value).isprintable()
    assert len(str(error.value)) < 500


def test_many_columns_are_not_all_named(folder):
    (folder / "metadata.csv").write_text(",".join(["x" * 100_000] * 2 + list("abcdefghijk")) + "\n1")
    with pytest.raises(ConfigError, match=r"has the columns x+\.\.\., a, b, c, d, e, f, g, \.\.\.; for") as error:
        load(config_of(folder))
    assert len(str(error.value)) < 500


def test_nothing_in_a_name_or_caption_steers_the_terminal(folder, capsys):
    for number, name in enumerate([f"notes {ESCAPE}.txt", f"{ESCAPE}.png", "\u202egnp.png", "a\nb\rc.png"]):
        (folder / name).write_text(f"no picture {number}")
    (folder / f"to {ESCAPE}").symlink_to(folder)
    with pytest.raises(ConfigError) as error:
        load(config_of(folder, max_bad=0.1))
    load(config_of(folder))
    for text in (str(error.value), capsys.readouterr().err):
        assert all(line.isprintable() for line in text.split("\n"))
        assert "\\x1b[31mred" in text
        assert "\\u202egnp.png" in text
        assert "  a\\nb\\rc.png: " in text


@pytest.mark.parametrize("count", [0, 1, 2])
def test_pictures_in_both_splits_are_counted(tmp_path, count, capsys):
    folder = tmp_path / "set"
    save_pictures(folder / "train", 4)
    save_pictures(folder / "test", 3, seed=1)
    for number in range(count):
        (folder / "test" / f"copy{number}.png").write_bytes((folder / "train" / f"{number:03d}.png").read_bytes())
    load(config_of(folder))
    are = "is" if count == 1 else "are"
    said = f"{count} of {3 + count} test images {are} among the training images too"
    assert (said in capsys.readouterr().err) == (count > 0)
    assert report_of(folder)["notes"] == ([said] if count else [])


@pytest.mark.parametrize("name", ["metadata.csv", "metadata.jsonl", "003.txt"])
def test_a_caption_edited_within_the_resolution_of_a_time_stamp_is_noticed(folder, name):
    rows = {
        "metadata.csv": "file_name,text\n003.png,{}",
        "metadata.jsonl": '{{"file_name": "003.png", "text": "{}"}}',
        "003.txt": "{}",
    }
    save_pictures(folder, 4)
    for text in ("first", "other"):
        (folder / name).write_text(rows[name].format(text))
        os.utime(folder / name, ns=(1, 1))
        for file in folder.iterdir():
            if file.suffix == ".png" and file.name not in ("003.png", "004.png"):
                file.unlink()
        (folder / "004.png").with_suffix(".txt").write_text("another")
        dataset = load(config_of(folder))
        assert sorted([*(dataset.train.captions or ()), *(dataset.test.captions or ())]) == sorted([text, "another"])
