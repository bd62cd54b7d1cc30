"""hwq_threshold, its threshold store included, stays below the LUT counts of FINN's RTL thresholding.

32 channels, 15 thresholds, 12-bit input, one beat per cycle; both measured with the same Yosys flow and
counter.
"""

import shutil

import hwq_hls
import numpy as np
import pytest

from hwq.hw.memory import threshold_rows
from hwq.hw.pipeline import threshold_pipe
from hwq.tools.yosys import synth_xc7

FINN_LUT = {1: 152, 4: 347, 32: 1605}
CHANNELS, N, X_W = 32, 15, 12


def cost(folder, pe, n, thresholds, x_w):
    cf = len(thresholds) // pe
    files = hwq_hls.rtl_files("hwq_threshold")
    for f in files:
        shutil.copy(f, folder)
    (folder / "t.mem").write_text(threshold_rows(thresholds, None, pe, x_w, True))
    params = {"PE": pe, "CF": cf, "X_W": x_w, "X_SIGNED": 1, "N": n, "Y_W": n.bit_length(), "OFFSET": 0,
              "FALLING": 0, "PIPE": threshold_pipe(n, x_w, pe, cf, 100.0), "T_FILE": "t.mem"}
    return synth_xc7([f.name for f in files], "hwq_threshold", params, folder, mems=["t.mem"])


@pytest.mark.synth
@pytest.mark.parametrize("pe", FINN_LUT)
@pytest.mark.parametrize("spread", ["uniform", "narrow"])
def test_threshold_takes_fewer_luts_than_finn(pe, spread, tmp_path):
    rng = np.random.default_rng(pe)
    t = rng.integers(-2048, 2048, (CHANNELS, N)) if spread == "uniform" else rng.normal(0, 300, (CHANNELS, N))
    counts = cost(tmp_path, pe, N, np.sort(np.clip(t, -2048, 2047).astype(np.int64), axis=1), X_W)
    assert counts.lut < FINN_LUT[pe]
    assert (counts.bram18, counts.dsp) == (0, 0)


@pytest.mark.synth
def test_one_constant_threshold_is_one_comparator(tmp_path):
    """12 bits against a constant: at most 3 LUT6 and the handshake."""
    counts = cost(tmp_path, 1, 1, np.array([[-731]]), 12)
    assert (counts.lut <= 5, counts.ff) == (True, 2)
