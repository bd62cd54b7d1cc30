"""What hwq_mvu costs (Yosys LUT, xc7): no DSP unless asked for, the mark of its benchmark, constants that fold."""

import shutil

import hwq_hls
import numpy as np
import pytest

from hwq.hw.memory import mvu_rows
from hwq.hw.pipeline import mvu_pipe
from hwq.tools.yosys import synth_xc7

pytestmark = pytest.mark.synth


def cost(folder, w, pe, simd, w_kind, w_bits, x_bits, acc_w, resource=1, style=2):
    """CellCounts of one MVU that holds w, int [MH, MW]."""
    nf, sf = w.shape[0] // pe, w.shape[1] // simd
    files = hwq_hls.rtl_files("hwq_mvu")
    for f in files:
        shutil.copy(f, folder)
    (folder / "w.hex").write_text(mvu_rows(w, pe, simd, w_bits, w_kind))
    params = {"PE": pe, "SIMD": simd, "SF": sf, "NF": nf, "W_BITS": w_bits, "W_KIND": w_kind, "X_BITS": x_bits,
              "X_SIGNED": 0, "ACC_W": acc_w, "ACC_SIGNED": 1, "RESOURCE": resource, "STYLE": style,
              "PIPE": mvu_pipe(simd, w_bits, w_kind, x_bits, sf, resource, 100.0), "W_FILE": "w.hex"}
    return synth_xc7([f.name for f in files], "hwq_mvu", params, folder, mems=["w.hex"])


def random_weights(shape, low, high, density=1.0):
    rng = np.random.default_rng(1)
    return np.where(rng.random(shape) < density, rng.integers(low, high + 1, shape), 0)


# The benchmark: 64 x 32, PE 4, SIMD 16, 4 x 4 bits; FINN's unit takes 1246 LUT and 16 DSP (with its input buffer).
@pytest.mark.parametrize("resource, style, lut, dsp", [(1, 2, 1120, 0), (1, 1, 1400, 0), (2, 2, 580, 16)])
def test_benchmark_unit_stays_below_its_marks(resource, style, lut, dsp, tmp_path):
    c = cost(tmp_path, random_weights((64, 32), -7, 7), 4, 16, 0, 4, 4, 13, resource, style)
    assert c.lut < lut
    assert c.dsp == dsp


@pytest.mark.parametrize("w_kind, w_bits, x_bits, lut_per_mac", [
    (3, 1, 1, 2.2), (1, 1, 2, 4.6), (2, 2, 1, 4.5), (2, 2, 2, 5.6), (0, 3, 2, 8.0),
])
def test_narrow_products_need_no_dsp_and_few_lut(w_kind, w_bits, x_bits, lut_per_mac, tmp_path):
    half = 1 << (w_bits - 1)
    w = random_weights((8, 32), -1, 1) if w_kind else random_weights((8, 32), -half, half - 1)
    w = np.where(w == 0, 1, w) if w_kind in (1, 3) else w
    c = cost(tmp_path, w, 4, 16, w_kind, w_bits, x_bits, 10)
    assert c.dsp == 0
    assert c.lut < lut_per_mac * 64 + 40


def test_cost_of_a_constant_layer_falls_with_its_density(tmp_path):
    counts = []
    for density in (1.0, 0.5, 0.2):
        folder = tmp_path / str(density)
        folder.mkdir()
        c = cost(folder, random_weights((16, 16), -7, 7, density), 16, 16, 0, 4, 4, 12)
        assert (c.dsp, c.bram18) == (0, 0)
        counts.append(c.lut)
    assert counts[0] < 8 * 256
    assert counts[1] < 0.65 * counts[0]
    assert counts[2] < 0.3 * counts[0]
