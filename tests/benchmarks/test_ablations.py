"""The ablations' tables, figures and configurations, on numbers that no training made."""

from __future__ import annotations

import pytest

from benchmarks.ablation import tables
from benchmarks.ablation.runs import Point, evaluations, folder, seeded
from benchmarks.ablation.variants import CLAIMS, Scale, count, variants, with_parameters
from glowdiff.config.parse import parse
from glowdiff.config.schema import ConfigError

DIGITS = Scale(data="digits", size=None, levels=1, depth=2, width=8, steps=20)
POINTS = [
    Point(name, seed, 1_234, step, value + 0.01 * seed + 1 / step)
    for name, value in (("b", 2.0), ("a", 1.0))
    for seed in (0, 1)
    for step in (10, 20)
]


def test_the_last_step_of_every_seed_is_what_counts():
    found = tables.finals(POINTS)
    assert list(found) == ["b", "a"]
    assert found["b"] == pytest.approx([2.05, 2.06])
    assert found["a"] == pytest.approx([1.05, 1.06])


def test_a_table_says_which_orders_hold():
    text = tables.table(POINTS, [("a", "b"), ("b", "a")])
    assert "| b | 1,234 | **2.055** | 2.050 | 2.060 |" in text
    assert "- a < b: yes" in text
    assert "- b < a: no, a < b" in text


def test_csv(tmp_path):
    tables.write_csv(tmp_path / "data" / "x.csv", POINTS[:1])
    lines = (tmp_path / "data" / "x.csv").read_text().splitlines()
    assert lines == ["variant,seed,parameters,step,test_bits_per_dim", "b,0,1234,10,2.1"]


def test_a_section_is_replaced_in_place_and_added_once(tmp_path):
    page = tmp_path / "results.md"
    page.write_text("# Results\n\n<!-- ablation depth -->\nold\n<!-- end -->\n\nrest\n")
    tables.replace_section(page, "depth", "new")
    assert page.read_text() == "# Results\n\n<!-- ablation depth -->\nnew\n<!-- end -->\n\nrest\n"
    for body in ("first", "second"):
        tables.replace_section(page, "models", body)
    assert page.read_text().endswith("rest\n\n<!-- ablation models -->\nsecond\n<!-- end -->\n")
    page.write_text("<!-- ablation depth -->\n")
    with pytest.raises(ConfigError, match="without <!-- end -->"):
        tables.replace_section(page, "depth", "new")


def test_evaluations_are_read_from_a_run(tmp_path):
    assert evaluations(tmp_path) == {}
    (tmp_path / "metrics.jsonl").write_text(
        '{"step": 1, "loss": 2.0}\n{"step": 2, "test_bits_per_dim": 1.5}\n{"step": 3, "test_bits_per_dim": null}\n'
    )
    found = evaluations(tmp_path)
    assert list(found) == [2, 3]
    assert found[2] == 1.5


@pytest.mark.parametrize("figure", ["permutation", "depth", "temperature"])
def test_every_variant_can_be_trained(figure):
    found = variants(figure, Scale())
    configs = [seeded(variant, seed) for variant in found for seed in (0, 1)]
    assert len({folder(config) for config in configs}) == len(configs)
    assert {name for claim in CLAIMS.get(figure, ()) for name in claim} <= {variant.name for variant in found}


def test_figures_share_the_runs_they_have_in_common():
    folders = {
        figure: {folder(seeded(variant, 0)) for variant in variants(figure, Scale())}
        for figure in ("permutation", "depth", "temperature")
    }
    assert folders["temperature"] < folders["permutation"]
    assert folders["temperature"] < folders["depth"]


def test_widths_are_chosen_for_equal_parameter_counts():
    [big] = variants("temperature", DIGITS)
    target = count(parse(big.config))
    [other] = variants("temperature", Scale(data="digits", size=None, levels=1, depth=2, width=64, steps=20))
    assert with_parameters(other.config, target).model.width == 8
    other.config.model.depth = 30
    with pytest.raises(ConfigError, match=r"no model\.width gives glow about"):
        with_parameters(other.config, target)
