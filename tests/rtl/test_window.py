"""hwq_window against its definition and the token model, to the cycle."""

import random
import shutil

import hwq_hls
import numpy as np
import pytest
import torch
from hwq_sim.harness.module import run_bench
from hypothesis import given, settings
from hypothesis import strategies as st
from torch.nn import functional as F

from hwq.errors import ConfigError
from hwq.hw.design import Instance
from hwq.hw.layers import divisors
from hwq.hw.library import timing
from hwq.hw.memory import mvu_rows
from hwq.hw.window import Window, depth_to_space, ring_words
from hwq.tools.yosys import synth_xc7


def windows(frame, w, pad_word):
    """The definition: the words of one frame of windows, from the words of one frame of pixels."""
    def word(oy, ox, ky, kx, c):
        y = oy * w.stride[0] + ky * w.dilation[0] - w.pad[0]
        x = ox * w.stride[1] + kx * w.dilation[1] - w.pad[1]
        inside = 0 <= y < w.size[0] and 0 <= x < w.size[1]
        return frame[(y * w.size[1] + x) * w.chunks + c] if inside else pad_word

    out = []
    for oy in range(w.out[0]):
        for ox in range(w.out[1]):
            for g in range(w.groups):
                part = range(g * w.chunks // w.groups, (g + 1) * w.chunks // w.groups)
                out += [word(oy, ox, ky, kx, c) for ky in range(w.kernel[0]) for kx in range(w.kernel[1])
                        for c in part] * w.passes
    return out


def geometry(chunks, size, kernel, stride=(1, 1), dilation=(1, 1), pad=(0, 0, 0, 0), passes=1, groups=1):
    out = tuple((size[i] + pad[i] + pad[i + 2] - (kernel[i] - 1) * dilation[i] - 1) // stride[i] + 1
                for i in range(2))
    return Window(chunks, size, kernel, stride, dilation, pad[:2], out, passes, groups)


def params(w, lanes, bits, depth, pad_value=0, style=0):
    return {"LANES": lanes, "BITS": bits, "CHUNKS": w.chunks, "IN_H": w.size[0], "IN_W": w.size[1],
            "KH": w.kernel[0], "KW": w.kernel[1], "SH": w.stride[0], "SW": w.stride[1], "DH": w.dilation[0],
            "DW": w.dilation[1], "PAD_T": w.pad[0], "PAD_L": w.pad[1], "OUT_H": w.out[0], "OUT_W": w.out[1],
            "PASSES": w.passes, "GROUPS": w.groups, "PAD_VALUE": pad_value, "DEPTH": depth,
            "STYLE": style}


def bench(w, lanes=2, bits=3, extra=0, pad_value=0, style=0, frames=3, seed=1):
    rng = random.Random(seed)
    p = params(w, lanes, bits, w.least_depth + extra, pad_value, style)
    pad_word = sum((pad_value & ((1 << bits) - 1)) << (bits * i) for i in range(lanes))
    x = [[rng.getrandbits(lanes * bits) for _ in range(w.frame_beats)] for _ in range(frames)]
    tm = timing(Instance("dut", "hwq_window", tuple(p.items()), ""))
    return run_bench("hwq_window", p, x, [windows(f, w, pad_word) for f in x], tm, seed=seed)


def drawn(r, channels, lanes, passes, groups):
    """A random geometry of this many channels: (Window, pads as torch takes them, one frame as int [C, H, W])."""
    while True:
        size, kernel = [r.randint(1, 6) for _ in "yx"], [r.randint(1, 3) for _ in "yx"]
        stride, dilation = [r.randint(1, 3) for _ in "yx"], [r.randint(1, 2) for _ in "yx"]
        top, left, bottom, right = (r.randint(0, (kernel[i % 2] - 1) * dilation[i % 2]) for i in range(4))
        w = geometry(channels // lanes, tuple(size), tuple(kernel), tuple(stride), tuple(dilation),
                     (top, left, bottom, right), passes, groups)
        if min(w.out) > 0:
            x = np.random.default_rng(r.getrandbits(32)).integers(-8, 8, (channels, *size))
            return w, (left, right, top, bottom), x


def beats_of(x, lanes):
    """int [C, H, W] -> the frame's beats, each a tuple of `lanes` channels."""
    return [tuple(v) for v in x.transpose(1, 2, 0).reshape(-1, lanes)]


def fields(text, lanes, bits):
    """A memory file as signed numbers: int [rows, lanes]."""
    words = [int(line, 16) for line in text.split()]
    codes = np.array([[word >> (i * bits) & (1 << bits) - 1 for i in range(lanes)] for word in words])
    return codes - ((codes >> bits - 1) << bits)


@settings(max_examples=40, deadline=None)
@given(st.randoms(use_true_random=False))
def test_beats_of_windows_times_rows_of_weights_are_torchs_convolution_at_every_folding(r):
    """The order of hwq_window's beats and of hwq_mvu's memory, each as its bench has it, taken together."""
    g, c, m, bits = r.randint(1, 3), r.randint(1, 6), r.randint(1, 6), r.randint(2, 5)  # c and m of a group
    simd, pe = r.choice(divisors(c)), r.choice(divisors(m))
    nf, value = m // pe, r.randint(-2, 2)
    w, pad, x = drawn(r, g * c, simd, nf, g)
    half = 1 << bits - 1
    k = np.random.default_rng(r.getrandbits(32)).integers(-half, half, (g * m, c, *w.kernel))
    rows = fields(mvu_rows(k.transpose(0, 2, 3, 1).reshape(g * m, -1), pe, simd, bits, 0), pe * simd, bits)
    got = np.array(windows(beats_of(x, simd), w, (value,) * simd)).reshape(w.windows, g * nf, -1, 1, simd)
    acc = (got * rows.reshape(g * nf, -1, pe, simd)).sum(axis=(2, 4)).reshape(*w.out, g * m)
    image = F.pad(torch.from_numpy(x).double(), pad, value=value)
    want = F.conv2d(image[None], torch.from_numpy(k).double(), None, w.stride, 0, w.dilation, g)[0]
    np.testing.assert_array_equal(acc, want.permute(1, 2, 0).numpy())


@settings(max_examples=40, deadline=None)
@given(st.randoms(use_true_random=False))
def test_beats_of_windows_channel_by_channel_are_torchs_depthwise_convolution_and_pooling_at_every_folding(r):
    c, bits = r.randint(1, 6), r.randint(2, 5)
    pe, value = r.choice(divisors(c)), r.randint(-2, 2)
    w, pad, x = drawn(r, c, pe, 1, c // pe)
    taps, half = w.kernel[0] * w.kernel[1], 1 << bits - 1
    k = np.random.default_rng(r.getrandbits(32)).integers(-half, half, (c, 1, *w.kernel))
    rows = fields(mvu_rows(k.reshape(c, -1), pe, 1, bits, 0), pe, bits).reshape(c // pe, taps, pe)
    got = np.array(windows(beats_of(x, pe), w, (value,) * pe)).reshape(w.windows, c // pe, taps, pe)
    image = F.pad(torch.from_numpy(x).double(), pad, value=value)[None]
    want = F.conv2d(image, torch.from_numpy(k).double(), None, w.stride, 0, w.dilation, c)[0].permute(1, 2, 0)
    np.testing.assert_array_equal((got * rows).sum(axis=2).reshape(*w.out, c), want.numpy())
    want = F.max_pool2d(image, w.kernel, w.stride, 0, w.dilation)[0].permute(1, 2, 0)
    np.testing.assert_array_equal(got.max(axis=2).reshape(*w.out, c), want.numpy())


@pytest.mark.sim
@pytest.mark.parametrize("shape, extra, style", [
    (dict(chunks=1, size=(5, 6), kernel=(3, 3)), 0, 0),
    (dict(chunks=2, size=(5, 5), kernel=(3, 3), pad=(1, 1, 1, 1)), 0, 1),
    (dict(chunks=2, size=(5, 5), kernel=(3, 3), pad=(1, 1, 1, 1), passes=3), 5, 2),
    (dict(chunks=3, size=(6, 5), kernel=(3, 2), stride=(2, 1), pad=(1, 0, 0, 1)), 3, 3),
    (dict(chunks=1, size=(7, 8), kernel=(3, 3), stride=(2, 3), dilation=(1, 2), pad=(0, 1, 1, 0), passes=2), 1, 0),
    (dict(chunks=2, size=(4, 6), kernel=(2, 2), stride=(2, 2), groups=2), 0, 0),
    (dict(chunks=3, size=(5, 4), kernel=(3, 3), pad=(1, 1, 1, 1), groups=3), 7, 2),
    (dict(chunks=4, size=(5, 4), kernel=(3, 2), pad=(1, 0, 1, 1), groups=2), 0, 0),            # groups of two beats
    (dict(chunks=6, size=(4, 5), kernel=(2, 3), stride=(1, 2), pad=(0, 1, 0, 1), groups=3, passes=2), 2, 0),
    (dict(chunks=2, size=(3, 3), kernel=(1, 1), stride=(2, 2), groups=2, passes=3), 0, 0),
    (dict(chunks=4, size=(3, 4), kernel=(3, 3), pad=(2, 2, 2, 2), groups=4, passes=2), 0, 0),  # rows are kept
    (dict(chunks=4, size=(6, 6), kernel=(1, 1), stride=(2, 2), passes=2), 2, 0),   # unused rows and columns
    (dict(chunks=1, size=(1, 20), kernel=(1, 9), pad=(0, 4, 0, 4), passes=2), 0, 0),
    (dict(chunks=1, size=(4, 4), kernel=(4, 4), passes=2), 0, 0),                  # one window
    (dict(chunks=2, size=(3, 4), kernel=(3, 3), pad=(2, 2, 2, 2)), 0, 0),          # full padding: rows are kept
    (dict(chunks=1, size=(3, 3), kernel=(3, 3), pad=(2, 2, 2, 2)), 4, 0),
    (dict(chunks=1, size=(3, 4), kernel=(3, 3), dilation=(2, 3), pad=(2, 3, 2, 3)), 0, 0),
    (dict(chunks=1, size=(2, 3), kernel=(2, 2), dilation=(4, 1), pad=(4, 0, 4, 0)), 0, 0),  # taps around the image
    (dict(chunks=1, size=(1, 3), kernel=(1, 5), dilation=(1, 3), pad=(0, 6, 0, 6)), 0, 0),
    (dict(chunks=1, size=(9, 9), kernel=(3, 3), pad=(1, 1, 1, 1)), 60, 0),         # runs far ahead
    (dict(chunks=9, size=(4, 10), kernel=(3, 3), pad=(1, 1, 1, 1)), 0, 2),         # no power of two, block memory
], ids=str)
def test_windows_come_in_order_and_on_time(shape, extra, style):
    bench(geometry(**shape), extra=extra, style=style, pad_value=-3)


@pytest.mark.sim
def test_least_ring_has_no_bubble_at_the_end_of_a_row_or_frame():
    same = geometry(2, (6, 6), (3, 3), pad=(1, 1, 1, 1))
    assert bench(same, frames=4).ii_cycles == 36 * 18


@pytest.mark.sim
def test_without_padding_the_next_frame_waits_until_its_first_row_is_in_or_the_ring_is_deeper():
    valid = geometry(2, (6, 6), (3, 3))
    assert bench(valid, frames=4).ii_cycles == 16 * 18 + 13
    assert bench(valid, frames=4, extra=13).ii_cycles == 16 * 18


@pytest.mark.sim
def test_depth_to_space_is_a_window_of_one_row():
    h, wide, block, c = 2, 3, 2, 2
    w = depth_to_space(c, (h, wide), block)
    frame = np.arange(h * wide * block * block * c)
    x = frame.reshape(h, wide, block, block, c)
    y = x.transpose(0, 2, 1, 3, 4).reshape(-1)                     # [H * B, W * B, C]
    assert windows(list(frame), w, None) == list(y)
    assert bench(w, extra=w.frame_beats // h, frames=4).ii_cycles == w.frame_beats


@pytest.mark.sim
@pytest.mark.parametrize("chunks, size, factors, value", [
    (1, (3, 4), (2, 2), 0), (2, (2, 3), (1, 3), -2), (3, (3, 1), (2, 1), 3), (1, (1, 1), (2, 2), 1),
    (2, (4, 4), (1, 1), 0)])
def test_spread_pulls_pixels_apart(chunks, size, factors, value):
    lanes, bits, frames = 2, 3, 3
    p = {"LANES": lanes, "BITS": bits, "CHUNKS": chunks, "IN_H": size[0], "IN_W": size[1], "FH": factors[0],
         "FW": factors[1], "VALUE": value}
    rng = np.random.default_rng(2)
    x = rng.integers(0, 1 << lanes * bits, (frames, *size, chunks))
    fill = sum((value & 7) << (bits * i) for i in range(lanes))
    y = np.full((frames, (size[0] - 1) * factors[0] + 1, (size[1] - 1) * factors[1] + 1, chunks), fill)
    y[:, ::factors[0], ::factors[1]] = x
    run_bench("hwq_spread", p, x.reshape(frames, -1).tolist(), y.reshape(frames, -1).tolist(),
              timing(Instance("dut", "hwq_spread", tuple(p.items()), "")))


def test_a_window_altogether_in_the_padding_is_refused():
    with pytest.raises(ConfigError, match="2 rows lies in the padding"):
        geometry(1, (4, 4), (2, 2), pad=(2, 0, 0, 0)).check()


def test_least_depth_is_the_kernels_rows_but_one_and_its_columns():
    assert geometry(4, (14, 14), (3, 3)).least_depth == (2 * 14 + 3) * 4
    assert geometry(1, (32, 32), (5, 5), dilation=(2, 2), pad=(4, 4, 4, 4)).least_depth == 8 * 32 + 9


@pytest.mark.synth
def test_window_takes_fewer_luts_than_finn(tmp_path):
    """3x3 on 14x14x16, 4 lanes of 4 bits; FINN's RTL in this flow: 186 LUT + 12 RAM64M, 95 FF, 5308 cycles."""
    w = geometry(4, (14, 14), (3, 3))
    files = hwq_hls.rtl_files("hwq_window")
    for f in files:
        shutil.copy(f, tmp_path)
    cost = synth_xc7([f.name for f in files], "hwq_window", params(w, 4, 4, w.least_depth, style=1), tmp_path)
    memory = dict(cost.cells)["RAM64M"]
    assert memory <= 12
    assert cost.lut - 4 * memory < 80
    assert cost.ff < 95
    assert w.windows * w.window_beats + w.least_depth <= 5308


@pytest.mark.parametrize("depth, bits, style, words", [
    (1, 8, 0, 2), (33, 8, 0, 64), (100, 8, 1, 128), (134, 32, 0, 192), (134, 64, 0, 256), (3495, 32, 2, 3495),
    (71, 8, 3, 71)])
def test_memory_words_of_a_ring(depth, bits, style, words):
    assert ring_words(depth, bits, style) == words
