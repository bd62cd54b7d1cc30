"""Random image networks, at random foldings, in RTL: every integer of every stream equal, under stalls too, and the
cycles of the token model.
"""

from __future__ import annotations

import os
import tempfile
from pathlib import Path

import numpy as np
import pytest
from hypothesis import HealthCheck, Phase, given, reject, settings
from hypothesis import strategies as st

from hwq.cost import fold
from hwq.errors import UnsupportedOp
from hwq.flow.export import export
from hwq.flow.simulate import simulate
from hwq.frontend import read_qonnx
from hwq.hw.layers import layers
from hwq.passes import lower
from tests.conv_nets import conv_nets, some_foldings
from tests.qonnx_nets import Net

EXAMPLES = int(os.environ.get("HWQ_RANDOM_NETS", "12"))  # a network takes about six seconds


@pytest.mark.sim
@pytest.mark.slow
@settings(
    max_examples=EXAMPLES,
    deadline=None,
    derandomize="HWQ_RANDOM_NETS" not in os.environ,
    phases=[Phase.generate],  # a failing network is small as it is
    suppress_health_check=list(HealthCheck),
)
@given(conv_nets(), st.data())
def test_hardware_equals_the_integer_model_of_any_network_at_any_folding(
    case: tuple[Net, np.ndarray], data: st.DataObject
) -> None:
    net, frames = case
    blob = net.bytes()
    try:
        found = layers(lower(read_qonnx(blob)))
    except UnsupportedOp as e:
        assert "padding by itself" in str(e) or "lies in the padding" in str(e)
        reject()  # another network instead
    folds = {la.name: data.draw(st.sampled_from(some_foldings(la))) for la in found}
    if not folds:
        return  # the host does all of it
    with tempfile.TemporaryDirectory() as tmp:
        where = Path(tmp)
        (where / "net.onnx").write_bytes(blob)
        (where / "folding.toml").write_text(fold.dump(folds, "pynq-z2", 100.0))
        np.save(where / "frames.npy", frames)
        build = export(where / "net.onnx", folding=where / "folding.toml", out=where / "build", allow_overflow=True)
        for stall in ("none", data.draw(st.sampled_from(("random", "source", "sink")))):
            result = simulate(build, input=where / "frames.npy", stall=stall)
            assert result.mismatches == 0 and result.frames == len(frames)
            assert result.timing_equal or stall != "none"
