"""What a configuration costs on TPU slices: the arithmetic, the records, the page, the command."""

import importlib.util
import json
import re
import subprocess

import jax
import jax.numpy as jnp
import pytest

from benchmarks.datasheet import TpuChip
from benchmarks.flops import jaxpr_flops
from benchmarks.hlo import find_collectives
from benchmarks.pods import every, page, record
from benchmarks.pods.compile import check_compiler
from benchmarks.pods.published import ROWS, Program, published
from benchmarks.pods.roofline import images_per_second, roofline, sent_bytes, utilisation
from benchmarks.tiles import tiled_flops
from benchmarks.traffic import hbm_traffic
from glowdiff.errors import ConfigError
from tests import small
from tests.benchmarks.test_throughput import run

FIGURES = {
    "batch": 64, "flops": 4e12, "model_flops": 3e12, "tiled_flops": 6e12, "hbm_bytes": 5e11,
    "collectives": [{"collective": "all-reduce", "bytes": 80_000_000_000, "sent": 150_000_000_000}],
}  # fmt: skip
CHIP = TpuChip("made up", flops=1e12, memory=16e9, bandwidth=1e11, links=1e10, tile=128)


def test_the_slowest_kind_of_work_bounds_time():
    times = roofline(FIGURES, CHIP)
    assert times == (4.0, 5.0, 15.0)
    assert times.seconds == 15.0
    assert images_per_second(FIGURES, CHIP) == pytest.approx(64 / 15)
    assert utilisation(FIGURES, CHIP) == pytest.approx(3 / 15)  # of the model's work, not of what is done again


@pytest.mark.parametrize(
    ("kind", "sent"),
    [("all-gather", 75), ("reduce-scatter", 75), ("all-reduce", 150), ("all-to-all", 75), ("collective-permute", 100)],
)
def test_what_a_ring_of_four_sends(kind, sent):
    assert sent_bytes(kind, 100, 4) == sent


def conv(x, kernel):
    return jax.lax.conv_general_dilated(x, kernel, (1, 1), "SAME", dimension_numbers=("NHWC", "HWIO", "NHWC"))


def kernel_gradient(x, kernel, g):
    return jax.linear_transpose(lambda kernel: conv(x, kernel), kernel)(g)


@pytest.mark.parametrize(
    ("function", "shapes", "tile", "expected"),
    [
        (conv, ((4, 32, 32, 192), (3, 3, 192, 192)), 128, (256 / 192) ** 2),  # channels in and out
        (conv, ((4, 32, 32, 192), (3, 3, 192, 192)), 64, 1),
        (kernel_gradient, ((4, 32, 32, 192), (3, 3, 192, 192), (4, 32, 32, 192)), 128, 256 / 192),  # pixels fill it
        (jnp.matmul, ((8, 1024, 64), (8, 64, 1024)), 128, 2),  # attention with heads of 64 channels
        (jnp.matmul, ((8, 1024, 64), (8, 64, 1024)), 256, 4),
    ],
)
def test_products_of_few_channels_fill_tiles_up(function, shapes, tile, expected):
    jaxpr = jax.make_jaxpr(function)(*(jax.ShapeDtypeStruct(shape, jnp.float32) for shape in shapes))
    assert tiled_flops(jaxpr, tile) / jaxpr_flops(jaxpr) == pytest.approx(expected)


HLO = """\
HloModule jit_step, is_scheduled=true

%sliced (x: f32[48,16,128], i: s32[]) -> f32[16,128] {
  %x = f32[48,16,128]{2,1,0:T(8,128)} parameter(0)
  %i = s32[]{:T(128)} parameter(1)
  %part = f32[1,16,128]{2,1,0:T(8,128)} dynamic-slice(%x, %i), dynamic_slice_sizes={1,16,128}
  ROOT %flat = f32[16,128]{1,0:T(8,128)} bitcast(%part)
}

%updated (x: f32[48,16,128], new: f32[1,16,128], i: s32[]) -> f32[48,16,128] {
  %x.1 = f32[48,16,128]{2,1,0:T(8,128)} parameter(0)
  %new = f32[1,16,128]{2,1,0:T(8,128)} parameter(1)
  %i.1 = s32[]{:T(128)} parameter(2)
  ROOT %update = f32[48,16,128]{2,1,0:T(8,128)} dynamic-update-slice(%x.1, %new, %i.1)
}

%body (p: (s32[], f32[48,16,128])) -> (s32[], f32[48,16,128]) {
  %p = (s32[]{:T(128)}, f32[48,16,128]{2,1,0:T(8,128)}) parameter(0)
  %turn = s32[]{:T(128)S(6)} get-tuple-element(%p), index=0
  %stack = f32[48,16,128]{2,1,0:T(8,128)} get-tuple-element(%p), index=1
  %fusion.1 = f32[16,128]{1,0:T(8,128)} fusion(%stack, %turn), kind=kLoop, calls=%sliced
  %near = f32[16,128]{1,0:T(8,128)S(1)} copy(%fusion.1)
  %far = f32[1,16,128]{2,1,0:T(8,128)} bitcast(%near)
  %fusion.2 = f32[48,16,128]{2,1,0:T(8,128)} fusion(%stack, %near, %turn), kind=kLoop, calls=%updated
  ROOT %t = (s32[]{:T(128)}, f32[48,16,128]{2,1,0:T(8,128)}) tuple(%turn, %fusion.2)
}

%condition (p: (s32[], f32[48,16,128])) -> pred[] {
  %p.1 = (s32[]{:T(128)}, f32[48,16,128]{2,1,0:T(8,128)}) parameter(0)
  ROOT %less = pred[]{:T(512)S(6)} custom-call(%p.1), custom_call_target="less"
}

ENTRY %main (x: f32[48,16,128], y: bf16[100,3]) -> f32[48,16,128] {
  %x.2 = f32[48,16,128]{2,1,0:T(8,128)} parameter(0)
  %y = bf16[100,3]{1,0:T(8,128)(2,1)} parameter(1)
  %z = bf16[100,3]{0,1:T(4,128)(2,1)} copy(%y)
  %loop = (s32[], f32[48,16,128]{2,1,0:T(8,128)}) while(%tuple), condition=%condition, body=%body, backend_config={"known_trip_count":{"n":"48"}}
  ROOT %gathered = bf16[100,12]{1,0:T(8,128)(2,1)S(1)} all-gather(%y), channel_id=1, replica_groups=mesh['a'=4,'b'=2,'c'=2] {'a','c'}, dimensions={1}
}
"""  # noqa: E501


def test_bytes_that_a_program_moves_in_memory():
    piece, filled, turned = 16 * 128 * 4, 104 * 128 * 2, 4 * 128 * 2  # arrays fill the tiles that they lie in
    a_turn = 2 * piece + piece + piece  # a part of the stack read and written, copied to the chip, put back
    assert hbm_traffic(HLO).bytes == 48 * a_turn + filled + turned + filled
    assert hbm_traffic(HLO).lengths_known
    assert not hbm_traffic(HLO.replace("known_trip_count", "")).lengths_known


@pytest.mark.parametrize(
    "groups", ["mesh['a'=4,'b'=2,'c'=2] {'a','c'}", "[2,8]<=[16]", "{{0,1,2,3,4,5,6,7},{8,9,10,11,12,13,14,15}}"]
)
def test_how_many_devices_a_collective_joins(groups):
    text = HLO.replace("mesh['a'=4,'b'=2,'c'=2] {'a','c'}", groups)
    assert [found.group for found in find_collectives(text)] == [8]


def made_up(fits, kind="train", settings=None):
    settings = {"mesh.fsdp": 16} if settings is None else settings
    common = {"program": kind, "config": "adm/imagenet64", "settings": settings, "topology": "v5e:4x4"}
    if fits is None:
        return {**common, "fits": None, "failure": "not compiled in 40 minutes of CPU time"}
    facts = {**common, **FIGURES, "device": "TPU v5 lite", "parameters": 295_900_000, "compile_seconds": 245.1}
    if not fits:
        needs = "the total memory required for HLO temporaries (20.54G) exceeds available HBM (15.75G)."
        return {**facts, "fits": False, "needs": needs}
    return {**facts, "fits": True, "argument_bytes": 2**30, "temporary_bytes": 3 * 2**29}


def test_the_page_tells_what_fits_and_what_does_not(tmp_path):
    (tmp_path / "docs").mkdir()
    (tmp_path / page.PAGE).write_text("before\n\n<!-- pods -->\nold\n<!-- end -->\n\nafter\n")
    for each in (made_up(True), made_up(False, settings={}), made_up(None, kind="sampler")):
        record.save(tmp_path / every.FOLDER / record.program(each).file, each)
    page.write(tmp_path)
    text = (tmp_path / page.PAGE).read_text()
    assert text.startswith("before\n\n<!-- pods -->\n| chip |")
    assert text.endswith("<!-- end -->\n\nafter\n")
    train, samplers = text.split("### Samplers on v5e:4x4")
    assert "| v5e | 197 | 16 | 819 | 200 | 128 x 128 |\n" in train
    fitting, other = (line for line in train.splitlines() if "adm/imagenet64" in line)
    assert "| adm/imagenet64 fsdp=16 | 296M | 64 | 1.00 | 1.50 |" in fitting
    assert "| 0.020 | 0.61 | **0.75** | 2% |" in fitting  # seconds of products, memory, links: what limits it is bold
    assert "| 20.54 of 15.75: does not fit |" in other
    assert "not compiled in 40 minutes" in samplers


def test_only_what_has_no_record_is_compiled(tmp_path, monkeypatch, capsys):
    programs = [Program("train", "adm/imagenet64", {"mesh.fsdp": n}, "v5e:4x4") for n in (1, 2, 4, 8, 16)]
    record.save(tmp_path / every.FOLDER / programs[0].file, made_up(True))
    endings = {  # by fsdp: status, the last line of errors
        2: (0, ""), 4: (-24, ""), 8: (-6, "Extension modules: jaxlib"), 16: (-9, ""),
    }  # fmt: skip
    asked = []

    def compiled(command, **_):
        fsdp = int(re.search(r"--config.mesh.fsdp=(\d+)", " ".join(command))[1])
        asked.append(fsdp)
        if fsdp == 2:
            saved = next(part for part in command if part.startswith("--save="))
            record.save(small.Path(saved.removeprefix("--save=")), made_up(True))
        return subprocess.CompletedProcess(command, *[endings[fsdp][0], "", endings[fsdp][1]])

    monkeypatch.setattr(subprocess, "run", compiled)
    monkeypatch.setattr(every, "published", lambda: programs)
    monkeypatch.setattr(every, "check_compiler", lambda: None)
    every.compile_missing(tmp_path)
    assert asked == [2, 4, 8, 16]
    every.compile_missing(tmp_path)
    assert asked == [2, 4, 8, 16, 16]  # what the machine ended is tried again, what failed of itself is not
    failures = [each.get("failure") for each in record.load(tmp_path / every.FOLDER)]
    assert set(failures) == {None, "not compiled in 40 minutes of CPU time", "the compiler crashed (SIGABRT)"}


def test_every_large_configuration_is_compiled():
    large = {
        path.relative_to(small.ROOT / "configs").with_suffix("").as_posix()
        for path in (small.ROOT / "configs").glob("*/*.py")
        if any(float(claim) >= 100 for claim in re.findall(r"([\d.]+)M parameters", path.read_text()))
    }
    assert large <= {each.config for each in ROWS}
    for program in published():
        assert (small.ROOT / "configs" / program.config).with_suffix(".py").exists()


def test_configurations_fit_with_what_their_docstrings_say():
    records = {record.program(each).file: each for each in record.load(small.ROOT / every.FOLDER)}
    for path in (small.ROOT / "configs").glob("*/*.py"):
        text = path.read_text().replace("\n", " ")
        claims = re.findall(r"Fits v5e-16 (as it stands|with `[^`]*`)\.", text)
        assert len(claims) == text.count("Fits v5e-16"), path
        for claim in claims:
            settings = {key: int(value) for key, value in re.findall(r"--config\.([\w.]+)=(\d+)", claim)}
            name = path.relative_to(small.ROOT / "configs").with_suffix("").as_posix()
            assert records[Program("train", name, settings, "v5e:4x4").file]["fits"], (path, claim)


def test_the_command_compiles_or_says_what_to_install(tmp_path):
    kept = tmp_path / "step.json"
    done = run("benchmarks/pod.py", "--effort=O0", "--config=configs/nice/digits.py", "--program=train",
               f"--save={kept}")  # fmt: skip
    if importlib.util.find_spec("libtpu") is None:
        assert done.returncode == 1
        assert "pip install 'glowdiff[tpu]'" in done.stderr
        return
    assert done.returncode == 0, done.stderr
    found = json.loads(kept.read_text())
    assert found["fits"]
    assert found["mesh"] == {"data": 16, "fsdp": 1}
    assert {each["collective"] for each in found["collectives"]} == {"all-reduce"}
    assert found["hbm_bytes"] > found["argument_bytes"] > 0


def test_without_the_compiler_it_says_what_to_install(monkeypatch):
    monkeypatch.setattr(importlib.util, "find_spec", lambda name: None)
    with pytest.raises(ConfigError, match=re.escape("pip install 'glowdiff[tpu]'")):
        check_compiler()
