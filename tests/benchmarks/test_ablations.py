"""The ablations' tables, figures and configurations, on numbers that no training made."""

from __future__ import annotations

import dataclasses

import numpy as np
import pytest

from benchmarks.studies.ablation import runs, tables, temperature
from benchmarks.studies.ablation.runs import Point, evaluations, folder, run_all, seeded
from benchmarks.studies.ablation.variants import CLAIMS, CLOSE, Scale, count, variants, with_parameters
from glowdiff.catalog.parse import parse
from glowdiff.config.sections import Config
from glowdiff.data.dataset import load as load_data
from glowdiff.errors import ConfigError
from glowdiff.workdir import description as workdirs

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


def test_evaluations_are_read_from_a_run(tmp_path):
    assert evaluations(tmp_path) == {}
    (tmp_path / "metrics.jsonl").write_text(
        '{"step": 1, "loss": 2.0}\n{"step": 2, "test_bits_per_dim": 1.5}\n{"step": 3, "test_bits_per_dim": null}\n'
    )
    found = evaluations(tmp_path)
    assert list(found) == [2, 3]
    assert found[2] == 1.5


@pytest.mark.parametrize("figure", ["permutation", "models", "depth", "temperature"])
def test_every_variant_has_a_model_and_a_folder_of_its_own(figure):
    found = variants(figure, dataclasses.replace(DIGITS, width=16) if figure == "models" else Scale())
    configs = [seeded(variant, seed) for variant in found for seed in (0, 1)]
    assert len({folder(config) for config in configs}) == len(configs)
    assert {name for claim in CLAIMS.get(figure, ()) for name in claim} <= {variant.name for variant in found}
    counts = [count(seeded(variant, 0)) for variant in (found if figure == "models" else found[:1])]
    assert min(counts) > 0
    if figure == "models":
        assert max(abs(number - counts[-1]) for number in counts) <= CLOSE * counts[-1]


@pytest.fixture
def untrained(monkeypatch):
    """Configurations and folders that `run_all` would have trained."""
    calls = []
    monkeypatch.setattr(runs, "train", lambda *call: calls.append(call))
    return calls


def test_an_impossible_variant_stops_a_figure_before_anything_is_trained(tmp_path, untrained):
    with pytest.raises(ConfigError, match=r"model\.levels=4 cannot halve 4 times"):
        run_all(variants("depth", DIGITS), [0], tmp_path)
    assert untrained == []


def test_a_run_that_is_found_is_used_only_if_it_was_made_alike(tmp_path, untrained):
    [variant] = variants("temperature", DIGITS)
    config = seeded(variant, 0)
    workdir = tmp_path / folder(config)
    spec = load_data(config.data).spec
    workdirs.write(workdir, dataclasses.replace(config, eval=dataclasses.replace(config.eval, batch=64)), spec)
    (workdir / "metrics.jsonl").write_text('{"step": 20, "test_bits_per_dim": 1.5}\n')
    assert [(point.step, point.test_bits_per_dim) for point in run_all([variant], [0], tmp_path)] == [(20, 1.5)]
    slower = dataclasses.replace(config.optimizer, learning_rate=0.5)
    workdirs.write(workdir, dataclasses.replace(config, optimizer=slower), spec)
    with pytest.raises(ConfigError, match=rf"{folder(config)} holds .* optimizer\.learning_rate was 0\.5, now 0\.001"):
        run_all([variant], [0, 1], tmp_path)
    assert untrained == []


def test_temperatures_are_measured_with_the_attribution_and_without_a_seed_of_means(tmp_path, monkeypatch):
    [variant] = variants("temperature", DIGITS)
    config = seeded(variant, 0)
    monkeypatch.setattr(temperature, "load", lambda path: Untrained(config))
    measured = temperature.measure(variant, [0, 1], tmp_path)
    assert measured.attribution == "by somebody"
    tables.write_csv(tmp_path / "x.csv", [*measured.rows, measured.test])
    last = (tmp_path / "x.csv").read_text().splitlines()[-1]
    assert last.startswith("nan,,2,")
    assert temperature.lines(measured)["bits/dim"][1].shape == (2, 11)


class Untrained:
    """Stands in for a trained model of digits: samples are black."""

    def __init__(self, config: Config) -> None:
        self.spec = dataclasses.replace(load_data(config.data).spec, attribution="by somebody")

    def sample(self, key, count, temperature, batch):
        return np.zeros((count, *self.spec.shape), np.uint8)

    def bits_per_dim(self, images):
        return np.full(len(images), 2.0)


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
