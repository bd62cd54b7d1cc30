"""Foldings: exact divisors, targets met or refused with the reason, files that come back as written."""

from __future__ import annotations

from pathlib import Path

import pytest

from hwq import targets
from hwq.cost import fold
from hwq.errors import ConfigError, FoldingError
from hwq.hw.design import Fold
from hwq.hw.layers import divisors, layers
from hwq.hw.map import check_folds
from tests.hw.graphs import mlp

Z2 = targets.load("pynq-z2")
NET = mlp([64, 32, 32, 10], [4, 2, 3], [4, 2, 2])


def test_every_layer_meets_the_asked_rate() -> None:
    for ii in (1, 7, 64, 500, 2048):
        folds = fold.for_ii(NET, ii, Z2, 100)
        for layer in layers(NET):
            assert folds[layer.name].cycles(layer.rows, layer.cols) <= ii
        check_folds(layers(NET), folds)


def test_a_rate_above_one_frame_a_cycle_is_refused() -> None:
    with pytest.raises(FoldingError, match="less than one cycle a frame at 100 MHz"):
        fold.for_fps(NET, 2e8, Z2, 100)


def test_a_folding_that_does_not_divide_lists_the_legal_values_of_every_wrong_layer() -> None:
    folds = {"fc0": Fold(6, 8), "fc1": Fold(4, 5), "fc2": Fold(1, 1)}
    with pytest.raises(FoldingError) as e:
        check_folds(layers(NET), folds)
    assert "layer 'fc0': PE=6 does not divide MH=32; legal PE: 1, 2, 4, 8, 16, 32" in str(e.value)
    assert "layer 'fc1': SIMD=5 does not divide MW=32" in str(e.value)


def test_a_budget_too_small_for_the_slowest_design_names_the_resource_and_the_layer() -> None:
    with pytest.raises(FoldingError, match=r"even fully folded .* lut .* layer 'fc\d'"):
        fold.for_budget(NET, 1e-4, Z2, 100)


def test_a_larger_budget_is_never_slower() -> None:
    cycles = []
    for fraction in (0.02, 0.1, 0.5, 1.0):
        folds = fold.for_budget(NET, fraction, Z2, 100)
        cycles.append(max(folds[la.name].cycles(la.rows, la.cols) for la in layers(NET)))
    assert cycles == sorted(cycles, reverse=True)


def test_a_folding_file_comes_back_as_written(tmp_path: Path) -> None:
    folds = fold.for_ii(NET, 100, Z2, 100)
    path = tmp_path / "folding.toml"
    path.write_text(fold.dump(folds, Z2.name, 100))
    assert fold.read(path) == folds


@pytest.mark.parametrize(("text", "message"), [
    ("[layer.fc0]\npe = 1\nsimdd = 2\n", "unknown key 'simdd'"),
    ("[layer.fc0]\npe = 1\n", "simd is missing"),
    ("[layer.fc0\n", "not valid TOML"),
    ("schema_version = 1\n", r"no \[layer.NAME\] tables"),
])
def test_a_bad_folding_file_says_what_is_wrong(tmp_path: Path, text: str, message: str) -> None:
    path = tmp_path / "folding.toml"
    path.write_text(text)
    with pytest.raises(ConfigError, match=message):
        fold.read(path)


def test_divisors_are_complete_and_ascending() -> None:
    assert divisors(36) == (1, 2, 3, 4, 6, 9, 12, 18, 36)
