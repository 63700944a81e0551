"""`metrics.jsonl`, whoever has been at it."""

from __future__ import annotations

import json

import pytest

from glowdiff.workdir.metrics_log import DAMAGED, MetricsLog

GOOD = [{"step": 1, "loss": 0.5}, {"step": 2, "loss": None}]


def write(path, *lines: bytes) -> None:
    (path / "metrics.jsonl").write_bytes(b"".join(lines))


def steps(path) -> list[int]:
    return [json.loads(line)["step"] for line in (path / "metrics.jsonl").read_text().splitlines()]


ROWS = [json.dumps(row).encode() + b"\n" for row in GOOD]


@pytest.mark.parametrize(
    "garbage",
    [
        b"\xff\xfe", b'{"step": "x"}', b'{"step": 1.5}', b'{"step": true}', b'{"step": -1}', b'{"step": 1e400}',
        b'{"loss": 1}', b"[1, 2]", b"7", b"null", b"\x00\x00\x00", b'{"step": 1', b"[" * 100_000,
        b'{"step": ' + b"9" * 5000 + b"}", b'{"step": NaN}',
    ],
    ids=lambda garbage: repr(garbage)[:20],
)  # fmt: skip
def test_what_is_no_line_of_it_is_set_aside_with_a_warning(garbage, tmp_path, caplog):
    write(tmp_path, ROWS[0], garbage + b"\n", ROWS[1])
    log = MetricsLog(tmp_path, 2)
    log.write(3, {"loss": 0.25})
    assert steps(tmp_path) == [1, 2, 3]
    assert (tmp_path / DAMAGED).read_bytes() == garbage + b"\n"
    assert f"1 lines of {tmp_path / 'metrics.jsonl'} are no metrics" in caplog.text
    MetricsLog(tmp_path, 3)
    assert (tmp_path / DAMAGED).read_bytes() == garbage + b"\n"


def test_a_line_that_a_kill_cut_off_is_no_damage(tmp_path, caplog):
    write(tmp_path, *ROWS, b'{"step": 3, "lo')
    MetricsLog(tmp_path, 2)
    assert steps(tmp_path) == [1, 2]
    assert not (tmp_path / DAMAGED).exists()
    write(tmp_path, ROWS[0], ROWS[1].rstrip())  # as an editor leaves it
    MetricsLog(tmp_path, 2)
    assert steps(tmp_path) == [1, 2]
    assert caplog.text == ""


def test_a_log_that_is_removed_is_written_again_whole(tmp_path, caplog):
    write(tmp_path, *ROWS)
    log = MetricsLog(tmp_path, 2)
    (tmp_path / "metrics.jsonl").unlink()
    log.write(3, {"loss": 0.25})
    assert steps(tmp_path) == [1, 2, 3]
    assert "has been removed; it is written again, whole" in caplog.text
