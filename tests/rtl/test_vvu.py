"""hwq_vvu against numpy: values, order and cycles, over kinds, widths and kernels."""

import numpy as np
import pytest
from hwq_sim.harness.module import run_bench

from hwq import dtype
from hwq.bits import encode
from hwq.hw.memory import mvu_rows
from hwq.hw.pipeline import mvu_pipe
from hwq.hw.schedule import Timing

INT, BIPOLAR, TERNARY, XNOR = range(4)


def beats(values, bits):
    """int [frames, beats, lanes] -> frames of beats, lane 0 in the low bits."""
    return [[sum(int(v) << (i * bits) for i, v in enumerate(beat)) for beat in frame]
            for frame in encode(values, bits)]


@pytest.mark.sim
@pytest.mark.parametrize("kind, w_bits, x_bits, x_signed, pe, nf, sf, simd, style, pipe", [
    (INT, 4, 4, False, 4, 2, 9, 1, 0, None),
    (INT, 8, 8, True, 2, 3, 9, 1, 2, None),
    (INT, 3, 5, True, 3, 1, 4, 1, 1, 6),
    (INT, 1, 2, False, 1, 2, 3, 1, 1, None),
    (TERNARY, 2, 3, True, 2, 2, 9, 1, 0, None),
    (BIPOLAR, 1, 4, False, 2, 2, 9, 1, 0, None),
    (XNOR, 1, 1, False, 5, 2, 9, 1, 0, None),
    (INT, 4, 4, True, 2, 3, 1, 1, 0, None),       # 1 x 1: no accumulator
    (INT, 4, 4, False, 3, 1, 1, 1, 0, 4),         # constant weights
    (INT, 4, 4, True, 3, 1, 3, 3, 0, None),       # a row of the kernel a beat
    (INT, 3, 6, False, 4, 2, 1, 9, 1, None),      # the whole kernel
    (INT, 5, 3, True, 2, 1, 1, 25, 0, None),      # the whole kernel, constant weights
    (TERNARY, 2, 2, False, 3, 1, 3, 5, 2, None),
    (BIPOLAR, 1, 3, True, 2, 1, 1, 9, 0, 5),
    (XNOR, 1, 1, False, 5, 1, 3, 3, 0, None),
])
def test_every_channel_has_its_own_kernel(kind, w_bits, x_bits, x_signed, pe, nf, sf, simd, style, pipe):
    rng = np.random.default_rng(1)
    c, taps = pe * nf, sf * simd
    if kind in (BIPOLAR, XNOR):
        w = rng.integers(0, 2, (c, taps)) * 2 - 1
    else:
        half = 1 << (w_bits - 1)
        w = rng.integers(-1, 2, (c, taps)) if kind == TERNARY else rng.integers(-half, half, (c, taps))
    lo, hi = (-(1 << (x_bits - 1)), (1 << (x_bits - 1)) - 1) if x_signed else (0, (1 << x_bits) - 1)
    x = rng.integers(lo, hi + 1, (5, c, taps))
    x[0], x[1] = hi, lo
    y = (((2 * x - 1) * w).sum(axis=2) + taps) // 2 if kind == XNOR else (x * w).sum(axis=2)
    acc = dtype.smallest(min(0, int(y.min())), max(1, int(y.max())))
    pipe = pipe or mvu_pipe(simd, w_bits, kind, x_bits, sf, 1, 100.0)
    params = {"PE": pe, "SIMD": simd, "SF": sf, "NF": nf, "W_BITS": w_bits, "W_KIND": kind, "X_BITS": x_bits,
              "X_SIGNED": int(x_signed), "ACC_W": acc.bits, "STYLE": style, "PIPE": pipe, "W_FILE": "w.hex"}
    frames_in = x.reshape(5, nf, pe, taps).transpose(0, 1, 3, 2).reshape(5, nf * sf, simd * pe)
    report = run_bench("hwq_vvu", params, beats(frames_in, x_bits), beats(y.reshape(5, nf, pe), acc.bits),
                       Timing("reduce", d=pipe, n=sf), mems={"w.hex": mvu_rows(w, pe, simd, w_bits, kind)})
    assert (report.latency_cycles, report.ii_cycles) == (nf * sf + pipe - 1, nf * sf)
