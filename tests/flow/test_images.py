"""Small image networks in RTL: every integer equal, measured cycles equal to the token model, FIFOs of least depth."""

from __future__ import annotations

import json
import re
import sys
from collections.abc import Mapping, Sequence
from pathlib import Path

import numpy as np
import pytest

from hwq import targets
from hwq.cost import fold
from hwq.errors import CheckFailed, ConfigError, FoldingError, UnsupportedOp
from hwq.flow.builddir import load_build
from hwq.flow.export import export
from hwq.flow.frames import host_frames
from hwq.flow.model import load_model
from hwq.flow.simulate import simulate
from hwq.frontend import read_qonnx
from hwq.hw.design import Design, Fold
from hwq.hw.fifos import high_water, minimal, resizable, with_depths
from hwq.hw.layers import layers
from hwq.hw.library import figures
from hwq.hw.map import build
from hwq.hw.units import MAX_W
from hwq.passes import lower
from hwq.passes.dense import WIDEST
from hwq.tools.run import run
from tests.conv_nets import ImageNet
from tests.hw.graphs import mlp

Z2 = targets.load("pynq-z2")


def quantized(net: ImageNet, bits: int, scale: float = 0.25, **kw: int) -> None:
    net.x = net.quant(net.x, scale, bits=bits, **kw)


def convolve(net: ImageNet, m: int, k: int = 3, group: int = 1, **attrs: object) -> None:
    rng = np.random.default_rng(m * 10 + k + group)
    w = net.quant(net.const(rng.normal(0, 1, (m, net.n // group, k, k))), 0.5, bits=3, narrow=1)
    net.then("Conv", w, group=group, **attrs)
    net.n = m


def classify(net: ImageNet, classes: int) -> None:
    net.then("GlobalAveragePool")
    net.then("Flatten")
    rng = np.random.default_rng(classes)
    w = net.quant(net.const(rng.normal(0, 1, (classes, net.n))), 0.5, bits=4, narrow=1)
    net.then("Gemm", w, transB=1)


def plain() -> ImageNet:
    net = ImageNet((3, 10, 8))
    quantized(net, 4)
    convolve(net, 8, pads=[1, 1, 1, 1])
    quantized(net, 3)
    net.then("MaxPool", kernel_shape=[2, 2], strides=[2, 2])
    convolve(net, 6, strides=[2, 1])
    quantized(net, 3)
    classify(net, 5)
    return net


def residual() -> ImageNet:
    """A sum of two scales that share no step; a strided branch with a 1 x 1 convolution."""
    net = ImageNet((4, 8, 8))
    quantized(net, 4)
    convolve(net, 4, pads=[1, 1, 1, 1])
    quantized(net, 4, 0.3)
    skip = net.x
    convolve(net, 4, pads=[1, 1, 1, 1])
    quantized(net, 4, 0.7)
    net.then("Add", skip)
    quantized(net, 4, 0.5)
    before, channels = net.x, net.n
    convolve(net, 8, pads=[1, 1, 1, 1], strides=[2, 2])
    quantized(net, 4, 0.5)
    long = net.x
    net.x, net.n = before, channels
    convolve(net, 8, 1, strides=[2, 2])
    quantized(net, 4, 0.5)
    net.then("Add", long)
    quantized(net, 4, 0.5)
    classify(net, 3)
    return net


def concatenated(scale: float = 0.5) -> ImageNet:
    net = ImageNet((2, 8, 8))
    quantized(net, 4)
    start, channels = net.x, net.n
    convolve(net, 4, pads=[1, 1, 1, 1])
    quantized(net, 3, 0.5)
    left = net.x
    net.x, net.n = start, channels
    convolve(net, 2, 1)
    quantized(net, 4, scale)
    net.then("Concat", left, axis=1)
    net.n = 6
    convolve(net, 4)
    quantized(net, 3)
    classify(net, 3)
    return net


def depthwise() -> ImageNet:
    net = ImageNet((6, 8, 8))
    quantized(net, 4)
    convolve(net, 6, group=6, pads=[1, 1, 1, 1])
    quantized(net, 4)
    convolve(net, 8, 1)
    quantized(net, 3)
    convolve(net, 4, group=2)
    quantized(net, 3)
    classify(net, 4)
    return net


def unequal() -> ImageNet:
    """Two scales that share no step, side by side, into a convolution."""
    return concatenated(0.31)


NETS = {f.__name__: f for f in (plain, residual, concatenated, unequal, depthwise)}


@pytest.mark.sim
@pytest.mark.parametrize("ii", [4000, 600])
@pytest.mark.parametrize("name", NETS)
@pytest.mark.parametrize("stall", ["none", "random"])
def test_an_image_network_is_exact_in_rtl_and_keeps_its_cycles(name: str, ii: int, stall: str, tmp_path: Path) -> None:
    file = tmp_path / "net.onnx"
    file.write_bytes(NETS[name]().bytes())
    out = export(file, fps=1e8 / ii, out=tmp_path / "build")
    result = simulate(out, frames=6, stall=stall)
    assert result.mismatches == 0 and result.frames == 6
    assert result.timing_equal or stall == "random"


STALLS = ("none", "source", "sink", "random")


def folded(net: ImageNet, folds: Mapping[str, Fold], folder: Path, stalls: Sequence[str] = STALLS) -> int:
    """The network at these foldings, 6 frames in RTL in every stall regime, exact and on time; its II unstalled."""
    model, folding = folder / "net.onnx", folder / "folding.toml"
    model.write_bytes(net.bytes())
    folding.write_text(fold.dump(folds, "pynq-z2", 100.0))
    out = export(model, folding=folding, out=folder / "build")
    results = {stall: simulate(out, frames=6, stall=stall) for stall in stalls}
    assert all(r.mismatches == 0 and r.frames == 6 for r in results.values())
    assert results["none"].timing_equal
    return int(results["none"].ii_cycles)


def grouped() -> ImageNet:
    """Three groups of two channels in and four out, then two of six and three without a window."""
    net = ImageNet((6, 6, 5))
    quantized(net, 4)
    convolve(net, 12, group=3, pads=[1, 1, 1, 1])
    quantized(net, 3)
    convolve(net, 6, 1, group=2)
    quantized(net, 3)
    classify(net, 3)
    return net


@pytest.mark.sim
@pytest.mark.parametrize(
    ("folds", "cycles"),
    [
        (((1, 1), (1, 1)), (12 * 9 * 2 * 30, 6 * 6 * 30)),
        (((2, 2), (3, 2)), (6 * 9 * 30, 2 * 3 * 30)),
        (((4, 1), (1, 6)), (3 * 9 * 2 * 30, 6 * 30)),
        (((3, 2), (6, 12)), (4 * 9 * 3 * 30, 30)),  # more than a group holds: zeros between them
    ],
)
def test_groups_take_the_cycles_of_what_they_see(
    folds: tuple[tuple[int, int], ...], cycles: tuple[int, ...], tmp_path: Path
) -> None:
    found = layers(lower(read_qonnx(grouped().bytes())))
    given = {la.name: Fold(*folds[k]) if k < 2 else Fold(1, 1) for k, la in enumerate(found)}
    assert tuple(la.cycles(given[la.name]) for la in found[:2]) == cycles
    assert folded(grouped(), given, tmp_path, ("none", "random")) >= max(cycles)


@pytest.mark.sim
@pytest.mark.parametrize("pixels", [1, 2])
def test_a_window_that_several_products_share_sends_its_groups_and_pixels_together(pixels: int, tmp_path: Path) -> None:
    net = ImageNet((4, 4, 5))
    scales = np.array([0.25, 0.251, 0.25, 0.2503], dtype=np.float32).reshape(1, 4, 1, 1)
    net.x = net.quant(net.x, scales, bits=4)
    convolve(net, 2, 2, group=2)
    quantized(net, 4)
    classify(net, 2)
    found = layers(lower(read_qonnx(net.bytes())))
    assert sum(la.mat is not None and la.window is None and la.cols == 16 for la in found) > 1
    folds = {}
    for la in found:
        pe = max(p for p in la.pes if p <= pixels * la.rows) if pixels > 1 else 1
        folds[la.name] = Fold(pe, la.simds_at(pe)[-1 if pixels > 1 else 0])
    folded(net, folds, tmp_path, ("none",))


def wide() -> ImageNet:
    """What can work on several pixels a cycle: convolutions of every kind, pools, a residual sum."""
    net = ImageNet((1, 6, 8))
    quantized(net, 2)
    convolve(net, 2, pads=[1, 1, 1, 1])
    quantized(net, 2)
    skip = net.x
    convolve(net, 2, group=2, pads=[1, 1, 1, 1])
    quantized(net, 2, 0.5)
    net.then("Add", skip)
    quantized(net, 2, 0.3)
    convolve(net, 3, 1)
    quantized(net, 2)
    net.then("MaxPool", kernel_shape=[3, 3], strides=[1, 1], pads=[1, 1, 1, 1])
    convolve(net, 2, 2, strides=[2, 2])
    quantized(net, 2)
    net.then("AveragePool", kernel_shape=[2, 2], strides=[1, 2])
    quantized(net, 3)
    classify(net, 3)
    return net


@pytest.mark.sim
@pytest.mark.parametrize(("abreast", "cycles"), [(2, 35), (4, 21)])
def test_layers_take_several_pixels_a_cycle(abreast: int, cycles: int, tmp_path: Path) -> None:
    found = layers(lower(read_qonnx(wide().bytes())))
    folds = {}
    for la in found:
        pe = max(p for p in la.pes if p <= abreast * la.rows)
        folds[la.name] = Fold(pe, la.simds_at(pe)[-1])
    assert [la.abreast(folds[la.name]) for la in found].count(abreast) >= 5
    slowest = max(la.cycles(folds[la.name]) for la in found)
    assert folded(wide(), folds, tmp_path) == slowest == cycles < 6 * 8


def test_the_search_takes_several_pixels_a_cycle_where_one_is_too_slow() -> None:
    graph = lower(read_qonnx(wide().bytes()))
    folds = fold.for_ii(graph, 30, Z2, 100.0)
    assert any(la.abreast(folds[la.name]) > 1 for la in layers(graph))
    assert figures(minimal(build(graph, folds, Z2))).ii_cycles <= 30


def test_several_pixels_a_cycle_are_whole_windows() -> None:
    graph = lower(read_qonnx(wide().bytes()))
    first, *_ = layers(graph)
    folds = {la.name: Fold(la.rows, la.simds_at(la.rows)[-1]) for la in layers(graph)}
    with pytest.raises(FoldingError, match=rf"'{first.name}': PE=4 is 2 pixels a cycle, which takes SIMD=9; "):
        build(graph, folds | {first.name: Fold(4, 1)}, Z2)
    with pytest.raises(FoldingError, match=rf"'{first.name}': PE=6 does not divide MH=2; legal PE: 1, 2, 4, 8, "):
        build(graph, folds | {first.name: Fold(6, 9)}, Z2)


def lanewise() -> ImageNet:
    """Depthwise convolution and both kinds of pooling, padded and not."""
    net = ImageNet((4, 9, 8))
    quantized(net, 4)
    convolve(net, 4, group=4, pads=[1, 1, 1, 1])
    quantized(net, 4)
    net.then("MaxPool", kernel_shape=[3, 3], strides=[1, 1], pads=[1, 1, 1, 1])
    net.then("AveragePool", kernel_shape=[2, 3], strides=[2, 1])
    quantized(net, 3)
    classify(net, 3)
    return net


@pytest.mark.sim
@pytest.mark.parametrize("simds", [(3, 9, 2), (9, 3, 6)])
def test_depthwise_layers_and_pools_take_several_positions_a_cycle(simds: tuple[int, ...], tmp_path: Path) -> None:
    found = layers(lower(read_qonnx(lanewise().bytes())))
    folds = {la.name: Fold(la.pes[-1], la.simds[-1]) for la in found}
    for la, simd in zip((la for la in found if la.lanewise and la.window), simds, strict=True):
        folds[la.name] = Fold(4, simd)
    slowest = max(la.cycles(folds[la.name]) for la in found)
    assert folded(lanewise(), folds, tmp_path) == slowest == 224  # three beats a window


def test_several_positions_a_cycle_are_whole_pixels() -> None:
    graph = lower(read_qonnx(lanewise().bytes()))
    folds = {la.name: Fold(la.pes[-1], la.simds[-1]) for la in layers(graph)}
    first = layers(graph)[0].name
    with pytest.raises(FoldingError, match=rf"'{first}': SIMD=9 positions .* whole pixels: PE=4, or SIMD=1 with PE=2"):
        build(graph, folds | {first: Fold(2, 9)}, Z2)
    with pytest.raises(FoldingError, match=rf"'{first}': SIMD=2 does not divide the positions .* legal SIMD: 1, 3, 9"):
        build(graph, folds | {first: Fold(4, 2)}, Z2)


@pytest.mark.sim
@pytest.mark.slow
@pytest.mark.parametrize("name", ["residual", "unequal"])
def test_the_bench_inside_a_branched_build_passes_with_its_resets_and_stalls(name: str, tmp_path: Path) -> None:
    file = tmp_path / "net.onnx"
    file.write_bytes(NETS[name]().bytes())
    build = export(file, fps=1e8 / 1200, out=tmp_path / "build")
    done = run(["make", f"PYTHON={sys.executable}"], build / "sim", check=False)
    assert done.code == 0 and "TESTS=6 PASS=6 FAIL=0" in done.stdout, done.stdout[-3000:]


def test_inputs_too_wide_for_a_matrix_unit_are_refused_with_the_layer() -> None:
    net = ImageNet((2, 32, 32))
    quantized(net, 8)
    classify(net, 3)  # sums of 1024 pixels
    graph = lower(read_qonnx(net.bytes()))
    with pytest.raises(UnsupportedOp, match=r"layer 'fc0': 4-bit weights on 18-bit inputs.* at most 8 and 16: put a"):
        build(graph, {la.name: Fold(1, 1) for la in layers(graph)}, Z2)


def test_padding_by_itself_is_refused_with_the_way_out() -> None:
    net = ImageNet((2, 4, 4))
    quantized(net, 4)
    net.then("Pad", net.const(np.array([0, 0, 1, 0, 0, 0, 0, 1], dtype=np.int64)))
    quantized(net, 3)
    classify(net, 2)
    with pytest.raises(UnsupportedOp, match=r"node .* padding by itself has no hardware; pad in the convolution"):
        layers(lower(read_qonnx(net.bytes())))


def test_windows_that_see_nothing_but_padding_are_refused_with_the_layer() -> None:
    net = ImageNet((2, 2, 3))
    quantized(net, 4)
    convolve(net, 2, pads=[0, 0, 4, 0])
    quantized(net, 3)
    classify(net, 2)
    with pytest.raises(UnsupportedOp, match=r"node .*: a window of 3 rows lies in the padding of an image of 2 rows"):
        layers(lower(read_qonnx(net.bytes())))


def test_accumulators_wider_than_a_matrix_unit_has_are_refused_with_the_layer() -> None:
    graph = mlp([2048, 2], [8], [16], argmax=False)
    with pytest.raises(UnsupportedOp, match=r"layer 'fc0': accumulators of 3\d bits; a matrix unit has at most 32"):
        build(graph, {la.name: Fold(1, 1) for la in layers(graph)}, Z2)


def test_lowering_makes_no_weights_that_a_matrix_unit_does_not_take() -> None:
    assert WIDEST == MAX_W  # one fact in two places: the passes know no hardware


@pytest.mark.sim
@pytest.mark.parametrize("name", ["residual", "concatenated"])
def test_fifos_hold_in_rtl_what_they_hold_in_the_token_model(name: str, tmp_path: Path) -> None:
    file = tmp_path / "net.onnx"
    file.write_bytes(NETS[name]().bytes())
    graph = lower(read_qonnx(file.read_bytes()))
    design = minimal(build(graph, fold.for_fps(graph, 1e8 / 1200, Z2, 100.0), Z2))
    found = figures(design)
    out = export(file, fps=1e8 / 1200, out=tmp_path / "build")
    result = simulate(out, frames=found.frames, jobs=1)
    assert result.fifo_beats == high_water(design, found)
    assert any(result.fifo_beats.values())


@pytest.mark.parametrize("ii", [4000, 1200])
@pytest.mark.parametrize("name", ["residual", "concatenated"])
def test_one_beat_less_in_any_fifo_costs_throughput_or_blocks(name: str, ii: int) -> None:
    graph = lower(read_qonnx(NETS[name]().bytes()))
    roomy = build(graph, fold.for_ii(graph, ii, Z2, 100.0), Z2)
    boundless = with_depths(roomy, {n: 100 * depth for n, (_, depth) in resizable(roomy).items()})
    assert_least_depths(minimal(roomy), figures(boundless).ii_cycles)


@pytest.mark.slow
def test_the_fifos_of_resnet8_are_of_least_depth() -> None:
    model = load_model("cifar10-resnet8-mixed")
    graph = lower(read_qonnx(model.onnx_bytes))
    roomy = build(graph, fold.for_fps(graph, 2431, Z2, 100.0), Z2)
    assert_least_depths(minimal(roomy), figures(roomy).ii_cycles)


def assert_least_depths(sized: Design, ii: int) -> None:
    """The design keeps the II, and loses it with one place less in any FIFO or window that could have one less."""
    assert figures(sized).ii_cycles == ii
    critical = {n: depth for n, (least, depth) in resizable(sized).items() if depth > least}
    assert critical
    for n, depth in critical.items():
        try:
            slower = figures(with_depths(sized, {n: depth - 1})).ii_cycles
        except CheckFailed:
            continue
        assert slower > ii


@pytest.mark.sim
def test_one_beat_less_costs_throughput_in_rtl_too(tmp_path: Path) -> None:
    model, folding = tmp_path / "net.onnx", tmp_path / "folding.toml"
    model.write_bytes(NETS["residual"]().bytes())
    graph = lower(read_qonnx(model.read_bytes()))
    least = resizable(minimal(build(graph, fold.for_fps(graph, 1e8 / 1200, Z2, 100.0), Z2)))
    depths = {n: depth for n, (_, depth) in least.items()}
    depths["conv0_branch1"] -= 1  # the others as they are: they would make up for it
    sized = export(model, fps=1e8 / 1200, out=tmp_path / "sized")
    table = "".join(f"{n} = {depth}\n" for n, depth in depths.items())
    folding.write_text((sized / "folding.toml").read_text() + f"\n[depth]\n{table}")
    less = export(model, folding=folding, out=tmp_path / "less")
    before, after = (simulate(b, frames=6) for b in (sized, less))
    assert before.mismatches == after.mismatches == 0 and before.timing_equal and after.timing_equal
    assert (before.ii_cycles, after.ii_cycles) == (1152, 1268)


@pytest.mark.parametrize(
    ("depths", "says"),
    [
        ("conv0_branch1 = 2", "deadlocks; each waits for the next: conv0_step_o .*\n.*more beats in \\[depth\\] of "),
        ("conv0_fifo = 4", "depth of 'conv0_fifo', which the design does not have; it has: conv0_window, conv0_bra"),
        ("conv0_window = 3", "depth 3 of 'conv0_window' is below the 38 beats that it needs to work at all"),
        ("conv0_window = -3", r"\[depth\] \{'conv0_window': -3\}: write instance = beats, positive integers"),
    ],
)
def test_depths_that_can_not_be_are_refused_with_what_blocks(depths: str, says: str, tmp_path: Path) -> None:
    model, folding = tmp_path / "net.onnx", tmp_path / "folding.toml"
    model.write_bytes(NETS["residual"]().bytes())
    graph = lower(read_qonnx(model.read_bytes()))
    folds = fold.for_ii(graph, 1200, Z2, 100.0)
    folding.write_text(fold.dump(folds, "pynq-z2", 100.0) + f"\n[depth]\n{depths}\n")
    with pytest.raises((FoldingError, ConfigError), match=says):
        export(model, folding=folding, out=tmp_path / "build")
    assert not (tmp_path / "build").exists()


@pytest.mark.parametrize(("name", "layers"), [("plain", 0), ("residual", 1)])
def test_what_unequal_scales_cost_is_said(name: str, layers: int, tmp_path: Path) -> None:
    file = tmp_path / "net.onnx"
    file.write_bytes(NETS[name]().bytes())
    notes = json.loads((export(file, fps=1e8 / 1200, out=tmp_path / "build") / "manifest.json").read_text())["notes"]
    luts = [int(m[1]) for n in notes if (m := re.search(r"'sum\d': its scales differ: about (\d+) LUT more", n))]
    assert len(luts) == layers and all(lut > 10 for lut in luts)


def test_integers_of_images_are_the_same_frames_flat_and_in_either_order(tmp_path: Path) -> None:
    file = tmp_path / "net.onnx"
    file.write_bytes(NETS["plain"]().bytes())
    build = load_build(export(file, fps=1e8 / 4000, out=tmp_path / "build"))
    channels_first = np.arange(2 * 3 * 10 * 8).reshape(2, 3, 10, 8) % 16 - 8
    (wanted,) = host_frames(build, channels_first)
    assert np.array_equal(wanted, channels_first.transpose(0, 2, 3, 1))
    for frames in (channels_first.reshape(2, -1), wanted):
        assert np.array_equal(host_frames(build, frames)[0], wanted)


@pytest.mark.parametrize(
    "text",
    [
        "layer = 3",
        "[[layer]]\npe = 1",
        "[layer.a]\npe = true\nsimd = 1",
        "[layer.a]\npe = 1\nsimd = 1\nmemory = ['lut']",
        "schema_version = 9",
    ],
)
def test_wrong_types_in_a_folding_file_are_said_without_a_traceback(text: str, tmp_path: Path) -> None:
    file = tmp_path / "folding.toml"
    file.write_text(text)
    with pytest.raises(ConfigError, match=r"folding.toml: (layer 'a'|'layer' is|schema_version 9, this)"):
        fold.read(file)
