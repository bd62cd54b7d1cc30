"""Trained networks at many foldings: every integer equal, measured latency and II equal to the token model.

`simulate` compares every beat of every stream and raises on any difference, in values or in cycles.
"""

from __future__ import annotations

import json
from pathlib import Path

import hwq_models
import numpy as np
import pytest

from hwq.flow.export import export
from hwq.flow.simulate import simulate

TRAINED = Path(hwq_models.__file__).parent / "trained"

DIGITS = {  # fc1 64 -> 32, fc2 32 -> 32, fc3 32 -> 10
    "one weight a cycle": [(1, 1), (1, 1), (1, 1)],
    "columns": [(1, 16), (1, 8), (1, 4)],
    "rows": [(8, 1), (4, 1), (2, 1)],
    "uneven": [(2, 4), (32, 2), (5, 8)],
    "one neuron a cycle": [(1, 64), (1, 32), (1, 32)],
    "fully unrolled": [(32, 64), (32, 32), (10, 32)],
}
TFC = {  # 784 -> 64 -> 64 -> 64 -> 10
    "one weight a cycle": [(1, 1), (1, 1), (1, 1), (1, 1)],
    "columns": [(1, 14), (1, 4), (1, 2), (1, 1)],
    "rows": [(16, 4), (4, 1), (2, 1), (1, 1)],
    "uneven": [(4, 112), (2, 16), (64, 1), (10, 2)],
    "bytes": [(16, 49), (8, 8), (4, 16), (2, 8)],
    "one neuron a cycle": [(1, 784), (1, 64), (1, 64), (1, 64)],
}


def folding(names: list[str], folds: list[tuple[int, int]]) -> str:
    return "".join(f"[layer.{n}]\npe = {pe}\nsimd = {simd}\n" for n, (pe, simd) in zip(names, folds, strict=True))


@pytest.mark.sim
@pytest.mark.slow
@pytest.mark.parametrize(
    ("model", "folds"),
    [pytest.param("digits-mlp", f, id=f"digits {n}") for n, f in DIGITS.items()]
    + [pytest.param("mnist-tfc-w2a2", f, id=f"tfc {n}") for n, f in TFC.items()],
)
def test_hardware_equals_the_network_and_the_token_model_at_every_folding(model, folds, tmp_path: Path) -> None:
    file = tmp_path / "folding.toml"
    file.write_text(folding([f"fc{k + 1}" for k in range(len(folds))], folds))
    build = export(TRAINED / model, folding=file, out=tmp_path / "build", allow_overflow=True)
    images = tmp_path / "frames.npy"
    frames = random_frames(build, 4 if folds[0] == (1, 1) else 12, images)
    result = simulate(build, input=images)
    assert result.mismatches == 0
    assert result.frames == frames
    assert result.timing_equal


def random_frames(build: Path, count: int, path: Path) -> int:
    """Integer frames over the input's whole range, saved where `simulate` reads them."""
    port = json.loads((build / "manifest.json").read_text())["ports"][0]
    shape = (count, *port["shape"])
    np.save(path, np.random.default_rng(1).integers(min(port["lo"]), max(port["hi"]) + 1, shape))
    return count
