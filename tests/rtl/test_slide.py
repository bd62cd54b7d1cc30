"""hwq_slide against the golden Window and the token model, to the cycle."""

import random
import shutil

import hwq_hls
import numpy as np
import pytest
from hwq_sim.harness.module import run_bench

from hwq.bits import encode
from hwq.errors import ToolFailed
from hwq.golden import execute
from hwq.hw.design import Instance
from hwq.hw.library import timing
from hwq.hw.window import Window, complete, in_beats, real_steps, scan, slide_cycles, slide_ring
from hwq.ir import ops
from hwq.ir.graph import Graph, Node, Tensor
from hwq.ir.verify import verify
from hwq.tools.yosys import synth_xc7


def beats(values, bits):
    """int [frames, beats, lanes] -> frames of beats, lane 0 in the low bits."""
    return [[sum(int(v) << (i * bits) for i, v in enumerate(beat)) for beat in frame] for frame in encode(values, bits)]


def params(size, kernel, taps, stride=(1, 1), pad=(0, 0, 0, 0), dilation=(1, 1), passes=1, c=2, bits=3, value=0,
           style=0, pixels=1):  # fmt: skip
    oh, ow = ops.Window(kernel, stride, pad, dilation, value).positions((*size, c))
    return {
        "LANES": c,
        "BITS": bits,
        "IN_H": size[0],
        "IN_W": size[1],
        "KH": kernel[0],
        "KW": kernel[1],
        "SH": stride[0],
        "SW": stride[1],
        "DH": dilation[0],
        "DW": dilation[1],
        "PAD_T": pad[0],
        "PAD_L": pad[1],
        "OUT_H": oh,
        "OUT_W": ow,
        "TAPS": taps,
        "PASSES": passes,
        "PIXELS": pixels,
        "PAD_VALUE": value,
        "STYLE": style,
    }


def bench(p, pad=(0, 0, 0, 0), frames=3, seed=1):
    """Frames of random pixels of the range -2^(bits-1) .., against the windows of the golden executor."""
    top, size, c = 1 << (p["BITS"] - 1), (p["IN_H"], p["IN_W"]), p["LANES"]
    kernel, out = (p["KH"], p["KW"]), (p["OUT_H"], p["OUT_W"])
    op = ops.Window(kernel, (p["SH"], p["SW"]), pad, (p["DH"], p["DW"]), p["PAD_VALUE"])
    tensors = {
        name: Tensor(name, shape, (-top,), (top - 1,))
        for name, shape in (("x", (*size, c)), ("y", (*out, kernel[0] * kernel[1] * c)))
    }
    graph = verify(Graph("g", "int", ("x",), ("y",), (Node("n", op, ("x",), ("y",)),), tensors, {}, (None,)))
    x = np.random.default_rng(seed).integers(-top, top, (frames, *size, c))
    abreast = max(1, p["PIXELS"] // p["SW"]) if p["PIXELS"] > 1 else 1
    y = execute(graph, [x])["y"].reshape(frames, -1, abreast, kernel[0] * kernel[1], c).swapaxes(2, 3)
    y = y.reshape(frames, y.shape[1], 1, -1, p["TAPS"] * abreast * c)
    y = np.tile(y, (1, 1, p["PASSES"], 1, 1)).reshape(frames, -1, p["TAPS"] * abreast * c)
    x = x.reshape(frames, -1, p["PIXELS"] * c)
    tm = timing(Instance("dut", "hwq_slide", tuple(p.items()), ""))
    report = run_bench("hwq_slide", p, beats(x, p["BITS"]), beats(y, p["BITS"]), tm, seed=seed)
    assert report.ii_cycles == slide_cycles(tm.geometry, tm.n * p["PASSES"])
    return report


def steps_after(w):
    """Steps of the scan behind a frame's last pixel and window; the bench starts its next run 4 cycles after them."""
    rows, cols = scan(w)
    return rows * cols - 1 - max(real_steps(w)[-1], complete(w)[-1])


SAME = (1, 1, 1, 1)


@pytest.mark.sim
@pytest.mark.parametrize(
    "shape",
    [
        dict(size=(5, 6), kernel=(3, 3), taps=9),
        dict(size=(5, 6), kernel=(3, 3), taps=3),
        dict(size=(5, 5), kernel=(3, 3), taps=9, pad=SAME),
        dict(size=(5, 5), kernel=(3, 3), taps=9, pad=SAME, passes=2),
        dict(size=(4, 6), kernel=(3, 3), taps=3, pad=SAME, passes=3),
        dict(size=(6, 5), kernel=(3, 2), taps=2, stride=(2, 1), pad=(1, 0, 0, 1)),
        dict(size=(7, 8), kernel=(3, 3), taps=3, stride=(2, 3), dilation=(1, 2), pad=(0, 1, 1, 0), passes=2),
        dict(size=(8, 8), kernel=(3, 3), taps=9, stride=(2, 2), pad=SAME),
        dict(size=(8, 8), kernel=(3, 3), taps=9, stride=(2, 2), pad=SAME, passes=2),
        dict(size=(9, 7), kernel=(5, 5), taps=5, pad=(2, 2, 2, 2)),
        dict(size=(6, 6), kernel=(2, 2), taps=2, stride=(2, 2)),
        dict(size=(6, 7), kernel=(2, 2), taps=4, stride=(3, 3)),  # unused columns
        dict(size=(1, 20), kernel=(1, 9), taps=9, pad=(0, 4, 0, 4)),
        dict(size=(1, 20), kernel=(1, 9), taps=3, pad=(0, 8, 0, 0), passes=2),  # causal
        dict(size=(1, 12), kernel=(1, 3), taps=3, dilation=(1, 2), pad=(0, 4, 0, 0)),
        dict(size=(9, 1), kernel=(3, 1), taps=3, pad=(1, 0, 1, 0)),  # one column
        dict(size=(3, 7), kernel=(1, 3), taps=3, pad=(0, 1, 0, 1), stride=(2, 1)),  # rows that nobody needs
        dict(size=(4, 4), kernel=(4, 4), taps=8),  # one window
        dict(size=(4, 4), kernel=(4, 4), taps=16),
        dict(size=(3, 4), kernel=(3, 3), taps=9, pad=(2, 2, 2, 2)),  # full padding
        dict(size=(3, 4), kernel=(3, 3), taps=3, dilation=(2, 3), pad=(2, 3, 2, 3)),
        dict(size=(2, 3), kernel=(2, 2), taps=4, dilation=(4, 1), pad=(4, 0, 4, 0)),  # taps around the image
        dict(size=(2, 2), kernel=(2, 3), taps=3, dilation=(1, 1), pad=(1, 2, 0, 1)),  # wider than the image
        dict(size=(8, 15), kernel=(3, 5), taps=5, pad=(0, 2, 0, 2)),  # padding beside rows that nothing has filled
        dict(size=(3, 7), kernel=(2, 3), taps=6, pad=(0, 2, 0, 2)),
        dict(size=(5, 9), kernel=(3, 3), taps=9, pad=SAME, style=2),
        dict(size=(5, 6), kernel=(3, 2), taps=3, dilation=(2, 1), pad=(2, 0, 1, 1), style=2, passes=2),
        dict(size=(5, 6), kernel=(3, 3), taps=3, pad=SAME, style=3),
        dict(size=(5, 6), kernel=(3, 3), taps=9, pad=SAME, pixels=2),  # two windows a beat
        dict(size=(5, 8), kernel=(3, 3), taps=9, pad=SAME, pixels=4, style=2),
        dict(size=(4, 8), kernel=(3, 3), taps=9, pad=SAME, pixels=8),  # a row
        dict(size=(6, 8), kernel=(3, 3), taps=9, stride=(2, 2), pad=SAME, pixels=2),  # a window a beat
        dict(size=(6, 8), kernel=(3, 3), taps=9, stride=(1, 2), pad=SAME, pixels=4),
        dict(size=(6, 8), kernel=(2, 2), taps=4, stride=(2, 2), pixels=4),
        dict(size=(5, 8), kernel=(3, 3), taps=9, pixels=2),  # without padding: three groups out of four
        dict(size=(5, 12), kernel=(5, 5), taps=25, pad=(2, 2, 2, 2), pixels=3),
        dict(size=(5, 6), kernel=(2, 3), taps=6, dilation=(1, 2), pad=(1, 3, 0, 1), pixels=3),
        dict(size=(1, 12), kernel=(1, 5), taps=5, pad=(0, 4, 0, 0), pixels=2),  # causal
        dict(size=(4, 6), kernel=(1, 1), taps=1, stride=(2, 2), pixels=2),
        dict(size=(3, 4), kernel=(3, 1), taps=3, pad=(1, 0, 1, 0), pixels=4),
    ],
    ids=str,
)
def test_windows_come_in_order_and_on_time(shape):
    bench(params(value=-3, **shape), shape.get("pad", (0, 0, 0, 0)))


@pytest.mark.sim
@pytest.mark.parametrize("seed", range(8))
def test_windows_of_a_random_shape_come_in_order_and_on_time(seed):
    rng = random.Random(seed)
    while True:
        size, kernel = (rng.randint(1, 7), rng.randint(1, 9)), (rng.randint(1, 4), rng.randint(1, 4))
        stride, dilation = (rng.randint(1, 3), rng.randint(1, 3)), (rng.randint(1, 2), rng.randint(1, 2))
        span = [(k - 1) * d for k, d in zip(kernel, dilation, strict=True)]
        pad = tuple(rng.randint(0, span[i % 2]) for i in range(4))
        out = ops.Window(kernel, stride, pad, dilation, 0).positions((*size, 1))
        taps = kernel[0] * kernel[1]
        inside = all((out[i] - 1) * stride[i] < size[i] + pad[i] for i in range(2))
        legal = taps > 1 and min(out) > 0 and inside
        if legal and steps_after(Window(1, size, kernel, stride, dilation, pad[:2], out)) <= 4:
            break
    taps = rng.choice([t for t in range(2, taps + 1) if taps % t == 0])
    p = params(
        size,
        kernel,
        taps,
        stride,
        pad,
        dilation,
        rng.randint(1, 3),
        c=rng.randint(1, 3),
        bits=rng.randint(2, 4),
        value=rng.randint(-2, 1),
        style=rng.randint(0, 3),
    )
    bench(p, pad, seed=seed)


@pytest.mark.sim
@pytest.mark.parametrize("seed", range(8))
def test_windows_abreast_of_a_random_shape_come_in_order_and_on_time(seed):
    rng = random.Random(100 + seed)
    while True:
        kernel, stride = (rng.randint(1, 4), rng.randint(1, 4)), (rng.randint(1, 3), rng.randint(1, 3))
        abreast, dilation = rng.randint(1, 4), (rng.randint(1, 2), rng.randint(1, 2))
        pixels = abreast * stride[1]
        size = (rng.randint(1, 7), pixels * rng.randint(1, 4))
        span = [(k - 1) * d for k, d in zip(kernel, dilation, strict=True)]
        pad = tuple(rng.randint(0, span[i % 2]) for i in range(4))
        out = ops.Window(kernel, stride, pad, dilation, 0).positions((*size, 1))
        inside = min(out) > 0 and all((out[i] - 1) * stride[i] < size[i] + pad[i] for i in range(2))
        if pixels == 1 or not inside or out[1] % abreast:
            continue
        if steps_after(in_beats(Window(1, size, kernel, stride, dilation, pad[:2], out), pixels)) <= 4:
            break
    p = params(size, kernel, kernel[0] * kernel[1], stride, pad, dilation, c=rng.randint(1, 2), bits=rng.randint(2, 4),
               value=rng.randint(-2, 1), style=rng.randint(0, 3), pixels=pixels)  # fmt: skip
    bench(p, pad, seed=seed)


def test_a_window_a_cycle_takes_one_step_a_row_and_one_row_more_than_the_image_has_pixels():
    same = Window(1, (32, 32), (3, 3), pad=(1, 1), out=(32, 32))
    assert scan(same) == (33, 33)
    assert slide_cycles(same, 1) == 33 * 33
    assert slide_cycles(same, 3) == 1024 * 3 + 33 - 1  # the first row of the scan completes no window


@pytest.mark.sim
@pytest.mark.parametrize(
    "change, message",
    [
        ({"TAPS": 4}, "TAPS=4 must be a divisor of the 3 x 3 window above 1"),
        ({"TAPS": 1}, "TAPS=1 must be a divisor of the 3 x 3 window above 1"),
        ({"PAD_T": 3}, "a window of 3 x 3 lies in the padding"),
        ({"OUT_W": 9, "PAD_L": 2}, "a window of 3 x 3 lies in the padding"),
        ({"PASSES": 0}, "PASSES, PIXELS must be at least 1"),
        ({"PIXELS": 4}, "PIXELS=4 must divide IN_W=6"),
        ({"PIXELS": 2, "TAPS": 3}, "PIXELS=2 must divide IN_W=6, be a multiple of SW=1 and go with whole windows"),
        ({"STYLE": 4}, "STYLE=4, must be 0 auto"),
    ],
)
def test_illegal_parameters_stop_the_build_with_their_sentence(change, message):
    p = params((5, 6), (3, 3), 9)
    with pytest.raises(ToolFailed, match=message):
        run_bench("hwq_slide", p | change, [[0]], [[0]], timing(Instance("dut", "hwq_slide", tuple(p.items()), "")))


def test_the_ring_of_rows_is_shortened_to_a_power_of_two_or_by_the_columns():
    def words(wide, kernel=(3, 3), dilation=(1, 1), pad=(1, 1)):
        span = (kernel[1] - 1) * dilation[1]
        w = Window(1, (wide, wide), kernel, dilation=dilation, pad=pad, out=(1, wide + 2 * pad[1] - span))
        return slide_ring(w)

    assert words(32) == 32  # of 33 columns
    assert words(30) == 28
    assert words(14, pad=(0, 0)) == 11
    assert words(16, dilation=(2, 2), pad=(2, 2)) == 32  # of 36
    assert words(16, kernel=(1, 3), pad=(0, 1)) == 0


@pytest.mark.synth
@pytest.mark.parametrize(
    "shape, memories, lut, ff",
    [
        (dict(size=(30, 30), kernel=(3, 3), c=64, bits=1, taps=9, pad=SAME), 16, 32, 600),
        (dict(size=(30, 30), kernel=(3, 3), c=64, bits=1, taps=3), 16, 192 + 36, 1180),
        (dict(size=(32, 32), kernel=(3, 3), c=16, bits=4, taps=9, pad=SAME), 16, 32, 600),
        (dict(size=(32, 32), kernel=(3, 3), c=16, bits=4, taps=3, pad=SAME, passes=4), 16, 192 + 36, 1184),
    ],
    ids=str,
)
def test_a_whole_window_takes_few_luts_beside_its_memory_and_a_part_one_a_bit(shape, memories, lut, ff, tmp_path):
    """K - 1 rows of 128 bits by 32 are 16 RAM32M (8 bits each, one address); K columns are 576 FF, a window 576."""
    files = hwq_hls.rtl_files("hwq_slide")
    for f in files:
        shutil.copy(f, tmp_path)
    cost = synth_xc7([f.name for f in files], "hwq_slide", params(**shape), tmp_path)
    assert (dict(cost.cells)["RAM32M"], cost.bram18) == (memories, 0)
    assert cost.lut - 4 * memories <= lut
    assert cost.ff <= ff
