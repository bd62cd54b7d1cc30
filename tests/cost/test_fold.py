"""Foldings: exact divisors, targets met or refused with the reason, files that come back as written."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest
from hypothesis import HealthCheck, Phase, given, settings
from hypothesis import strategies as st

from hwq import targets
from hwq.cost import fold
from hwq.cost.estimate import RESOURCES, estimate_design, totals
from hwq.errors import ConfigError, FoldingError, UnsupportedOp
from hwq.frontend import read_qonnx
from hwq.hw.design import Fold
from hwq.hw.fifos import minimal
from hwq.hw.layers import divisors, layers
from hwq.hw.library import figures
from hwq.hw.map import build, check_folds
from hwq.ir.graph import Graph
from hwq.passes import lower
from tests.conv_nets import conv_nets
from tests.flow.test_images import NETS
from tests.hw.graphs import mlp
from tests.qonnx_nets import Net

Z2 = targets.load("pynq-z2")
NET = mlp([64, 32, 32, 10], [4, 2, 3], [4, 2, 2])
LUT, BRAM18, DSP = (RESOURCES.index(r) for r in ("lut", "bram18", "dsp"))


def integer(net: Net) -> Graph:
    return lower(read_qonnx(net.bytes()))


def searched(net: Net) -> tuple[Graph, fold.Search] | None:
    """A random network and the search for it; None if there is nothing to search, or it is nothing for hardware."""
    try:
        graph = integer(net)
        return (graph, fold.search(graph, Z2, 100)) if layers(graph) else None
    except UnsupportedOp:
        return None


def needs(graph: Graph, folds: dict[str, Fold]) -> dict[str, float]:
    """Estimate of the mapped design."""
    return totals(estimate_design(minimal(build(graph, folds, Z2, 100)), Z2))


images = settings(
    max_examples=25, deadline=None, derandomize=True, phases=[Phase.generate], suppress_health_check=list(HealthCheck)
)


def test_every_layer_meets_the_asked_rate() -> None:
    for ii in (1, 7, 64, 500, 2048):
        folds = fold.for_ii(NET, ii, Z2, 100)
        for layer in layers(NET):
            assert folds[layer.name].cycles(layer.rows, layer.cols) <= ii
        check_folds(layers(NET), folds)


def test_a_rate_above_one_frame_a_cycle_is_refused() -> None:
    with pytest.raises(FoldingError, match="less than one cycle a frame at 100 MHz"):
        fold.for_fps(NET, 2e8, Z2, 100)


@pytest.mark.slow
@images
@given(conv_nets(), st.integers(0, 10))
def test_images_take_the_cycles_that_the_search_says(case: tuple[Net, np.ndarray], tightness: int) -> None:
    if (found := searched(case[0])) is None:
        return
    graph, s = found
    fastest = max(int(c.cycles.min()) for c in s.table)
    slowest = max(int(c.cycles.max()) for c in s.table)
    ii = int(fastest * (slowest / fastest) ** (tightness / 10))
    try:
        folds = fold.for_ii(graph, ii, Z2, 100)
    except FoldingError as e:  # every layer is fast enough, the network is not
        assert "with every layer at its fastest folding the network takes" in str(e)
        return
    check_folds(layers(graph), folds)
    cycles = max(int(c.cycles[c.folds.index(folds[c.layer.name])]) for c in s.table)
    design = build(graph, folds, Z2, 100)
    assert cycles <= figures(design).ii_cycles <= ii
    # Nothing holds more than a frame on a branch, or what a sum sends at once at the end of a frame: layers of equal
    # speed then wait for each other now and then.
    if not {"hwq_fork", "hwq_total"} & {i.module for i in design.instances}:
        assert figures(design).ii_cycles == cycles


@pytest.mark.parametrize("name", NETS)
def test_a_latency_is_kept_by_the_sized_design_and_costs_no_more_than_all_layers_faster(name: str) -> None:
    graph = integer(NETS[name]())
    rates = [fold.for_ii(graph, ii, Z2, 100) for ii in (4000, 3200, 2500, 2000, 1600, 1300, 1000)]
    latencies = [figures(build(graph, folds, Z2, 100)).latency_cycles for folds in rates]
    wanted = latencies[0] * 2 // 3
    uniform = next(folds for folds, cycles in zip(rates, latencies, strict=True) if cycles <= wanted)
    folds = fold.for_ii(graph, 4000, Z2, 100, wanted)
    sized = figures(minimal(build(graph, folds, Z2, 100), wanted))
    assert sized.latency_cycles <= wanted
    assert sized.ii_cycles <= 4000
    assert needs(graph, folds)["lut"] <= needs(graph, uniform)["lut"]


def test_a_latency_that_no_folding_has_is_refused_with_the_least_there_is() -> None:
    graph = integer(NETS["plain"]())
    with pytest.raises(FoldingError, match=r"'conv0' can't take 20 cycles .* \(raise --latency or raise --clock\)"):
        fold.for_ii(graph, 4000, Z2, 100, 20)
    with pytest.raises(FoldingError, match=r"50 cycles a frame and 50 of latency can't be had: .* takes \d+ cycles"):
        fold.for_ii(graph, 4000, Z2, 100, 50)


@images
@given(conv_nets(), st.integers(1, 3000))
def test_no_other_folding_of_one_layer_is_cheaper(case: tuple[Net, np.ndarray], ii: int) -> None:
    if (found := searched(case[0])) is None:
        return
    _, s = found
    ii = max(ii, *(int(c.cycles.min()) for c in s.table))
    place = s.pick(ii)
    prices = np.array([1.0, 0.0, fold.BRAM18_IN_LUT, 0.0])
    best = prices @ s.need(place, ii)
    for k, c in enumerate(s.table):
        for other in np.flatnonzero((c.cycles <= ii) & (c.cost[DSP] == 0)):
            assert prices @ s.need((*place[:k], int(other), *place[k + 1 :]), ii) >= best - 1e-6


@pytest.mark.parametrize("ii", [4000, 600])
@pytest.mark.parametrize("name", NETS)
def test_the_search_knows_what_the_mapped_network_costs(name: str, ii: int) -> None:
    graph = integer(NETS[name]())
    s = fold.search(graph, Z2, 100)
    place = s.pick(ii)
    found, real = s.need(place, ii), needs(graph, s.folds(place))
    assert abs(found[LUT] / real["lut"] - 1) < 0.1  # FIFO and window depths, weights taken for random
    assert found[BRAM18] == real["bram18"]


def test_a_rate_that_a_layer_cannot_reach_names_it_and_the_best_there_is() -> None:
    graph = integer(NETS["plain"]())
    with pytest.raises(FoldingError) as e:
        fold.for_fps(graph, 5e6, Z2, 100)
    text = str(e.value)
    assert "layer 'conv0' can't take 20 cycles a frame: its fastest folding, PE=64 SIMD=27, takes 22" in text
    assert "the most is 4545455 frames/s at 100 MHz" in text
    folds = fold.for_ii(graph, 720, Z2, 100)
    assert figures(build(graph, folds, Z2, 100)).ii_cycles == 720


def test_dsp_blocks_are_taken_when_luts_are_too_few_and_not_before() -> None:
    net = mlp([64, 32, 32, 10], [8, 8, 8], [4, 4, 4])
    plain = fold.for_ii(net, 64, Z2, 100)
    assert {f.resource for f in plain.values()} == {"auto"}
    lut = needs(net, plain)["lut"]
    small = Z2.model_copy(update={"lut": int(0.8 * lut)})
    folds = fold.for_ii(net, 64, small, 100)
    assert "dsp" in {f.resource for f in folds.values()}
    after = needs(net, folds)
    assert after["lut"] < 0.85 * lut
    assert 0 < after["dsp"] <= small.dsp
    assert fold.for_ii(net, 64, small.model_copy(update={"dsp": 0}), 100) == plain


def test_weights_leave_block_memory_when_the_part_has_too_little() -> None:
    net = mlp([512, 128, 32, 10], [4, 4, 4], [4, 4, 4])
    before = needs(net, fold.for_ii(net, 8192, Z2, 100))
    assert before["bram18"] > 4
    few = Z2.model_copy(update={"bram18": int(before["bram18"]) - 4})
    assert needs(net, fold.for_ii(net, 8192, few, 100))["bram18"] <= few.bram18


def test_a_folding_that_does_not_divide_lists_the_legal_values_of_every_wrong_layer() -> None:
    folds = {"fc0": Fold(6, 8), "fc1": Fold(4, 5), "fc2": Fold(1, 1)}
    with pytest.raises(FoldingError) as e:
        check_folds(layers(NET), folds)
    assert "layer 'fc0': PE=6 does not divide MH=32; legal PE: 1, 2, 4, 8, 16, 32" in str(e.value)
    assert "layer 'fc1': SIMD=5 does not divide MW=32" in str(e.value)


def test_a_budget_takes_no_dsp_blocks_as_long_as_there_is_a_design_without() -> None:
    net = mlp([64, 32, 32, 10], [8, 8, 8], [4, 4, 4])
    assert {f.resource for f in fold.for_budget(net, 0.1, Z2, 100).values()} == {"auto"}


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


@pytest.mark.parametrize(
    ("text", "message"),
    [
        ("[layer.fc0]\npe = 1\nsimdd = 2\n", "unknown key 'simdd'"),
        ("[layer.fc0]\npe = 1\n", "simd is missing"),
        ("[layer.fc0\n", "not valid TOML"),
        ("schema_version = 1\n", r"no \[layer.NAME\] tables"),
    ],
)
def test_a_bad_folding_file_says_what_is_wrong(tmp_path: Path, text: str, message: str) -> None:
    path = tmp_path / "folding.toml"
    path.write_text(text)
    with pytest.raises(ConfigError, match=message):
        fold.read(path)


def test_divisors_are_complete_and_ascending() -> None:
    assert divisors(36) == (1, 2, 3, 4, 6, 9, 12, 18, 36)
