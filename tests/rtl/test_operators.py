"""Every operator in hardware, at a random folding: RTL equals the integers, the integers equal torch in float64."""

from random import Random

import numpy as np
import pytest

from hwq.cost import fold
from hwq.flow.export import export
from hwq.flow.simulate import simulate
from hwq.hw.layers import layers
from tests.conv_nets import some_foldings
from tests.operators import OPERATORS, network
from tests.passes.test_torch import assert_equals_torch


@pytest.mark.sim
@pytest.mark.slow
@pytest.mark.parametrize("seed", [1, 2])
@pytest.mark.parametrize("operator", OPERATORS)
def test_an_operator_at_a_random_folding_is_torchs_beat_by_beat(operator, seed, tmp_path):
    r = Random(f"{operator} {seed}")
    both = network(operator, r)
    graph = assert_equals_torch(both)
    folds = {la.name: r.choice(some_foldings(la)) for la in layers(graph)}
    model, folding, frames = (tmp_path / name for name in ("net.onnx", "folding.toml", "frames.npy"))
    model.write_bytes(both.net.bytes())
    folding.write_text(fold.dump(folds, "pynq-z2", 100.0))
    np.save(frames, both.x)
    build = export(model, folding=folding, out=tmp_path / "build", allow_overflow=True)
    for stall in ("none", "source", "sink", "random"):
        result = simulate(build, input=frames, stall=stall)
        assert result.mismatches == 0 and result.frames == len(both.x)
        assert result.timing_equal or stall != "none"
