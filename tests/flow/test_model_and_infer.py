"""MODEL in all its spellings, and `hwq run` with its checks."""

from __future__ import annotations

import lzma
from pathlib import Path

import numpy as np
import pytest

from hwq.data.encoding import fit
from hwq.errors import DataError, ModelError
from hwq.flow.infer import int_graph, run
from hwq.flow.model import load_model, shipped
from hwq.frontend import read_qonnx
from hwq.golden import reference
from tests.qonnx_nets import Net


def net(annotate: bool = False) -> bytes:
    made = Net((4,))
    if annotate:
        made.annotations["x"] = "UINT4"
    made.x = made.quant(made.x, 0.25, bits=4, signed=0)
    made.then("MatMul", made.quant(made.const(np.random.default_rng(0).normal(size=(4, 3))), 0.25, bits=3))
    made.then("ArgMax", axis=1)
    return made.bytes()


@pytest.fixture
def run_dir(tmp_path: Path) -> Path:
    folder = tmp_path / "my-run"
    folder.mkdir()
    (folder / "model.onnx.xz").write_bytes(lzma.compress(net()))
    (folder / "recipe.toml").write_text('name = "little"\nhead = "argmax"\n')
    encoding = fit([{"kind": "scale", "hi": 255.0}], np.zeros((2, 4)))
    (folder / "encoding.json").write_text(encoding.to_json())
    return folder


def test_a_run_directory_brings_recipe_and_encoding(run_dir: Path) -> None:
    model = load_model(run_dir)
    assert model.name == "little" and model.recipe == {"name": "little", "head": "argmax"}
    assert model.encoding is not None and set(model.companions()) == {"recipe.toml", "encoding.json"}


def test_a_bare_file_is_a_model_too(tmp_path: Path) -> None:
    for name, content in (("bare.onnx", net()), ("bare.onnx.xz", lzma.compress(net()))):
        (tmp_path / name).write_bytes(content)
        model = load_model(tmp_path / name)
        assert (model.name, model.onnx_bytes, model.companions()) == ("bare", net(), {})


def test_a_missing_model_lists_what_exists(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, run_dir: Path
) -> None:
    (tmp_path / "runs").mkdir()
    run_dir.rename(tmp_path / "runs" / "here")
    monkeypatch.chdir(tmp_path)
    with pytest.raises(
        ModelError, match=r"model 'mnits': no such directory, file or shipped model; shipped: .*runs/here"
    ):
        load_model("mnits")


def test_an_empty_directory_is_no_model(tmp_path: Path) -> None:
    with pytest.raises(ModelError, match=r"holds neither model.onnx nor model.onnx.xz"):
        load_model(tmp_path)


def test_a_broken_recipe_is_named(run_dir: Path) -> None:
    (run_dir / "recipe.toml").write_text("name = ")
    with pytest.raises(ModelError, match=r"recipe.toml: not a TOML file"):
        load_model(run_dir)


@pytest.mark.parametrize("name", shipped())
def test_a_shipped_model_loads_by_name_and_by_path(name: str) -> None:
    assert load_model(name).onnx_bytes == load_model(f"models/trained/{name}").onnx_bytes


def test_run_encodes_raw_features_and_equals_the_reference(run_dir: Path) -> None:
    raw = np.random.default_rng(1).integers(0, 256, (2500, 2, 2), dtype=np.uint8)
    model = load_model(run_dir)
    labels = run(model, raw)
    x = model.encoding.apply(raw.reshape(len(raw), -1))
    want = reference(read_qonnx(model.onnx_bytes), [x])
    table = next(iter(reversed(want.values())))
    np.testing.assert_array_equal(labels, table.integers(int_graph(model).tensor("label").real))
    np.testing.assert_array_equal(run(run_dir, x, encoded=True), labels)


@pytest.mark.parametrize(
    ("x", "message"),
    [
        (np.zeros((3, 5)), "frames of 5 features .* fitted on 4"),
        (np.zeros(4), r"input of shape \(4,\); \[frames, features\] is needed"),
        (np.array([["a"] * 4]), "numbers are needed"),
        (np.array([[0, 0, 0, 0], [0, np.nan, 0, 0]]), "holds nan at frame 1, feature 1"),
        (np.array([[0, 0, 0, np.inf]]), "holds inf at frame 0, feature 3"),
        (np.zeros((0, 4)), r"shape \(0, 4\)"),
    ],
)
def test_bad_frames_are_refused(run_dir: Path, x: np.ndarray, message: str) -> None:
    with pytest.raises(DataError, match=message):
        run(run_dir, x)


@pytest.mark.parametrize(
    ("value", "message"), [(16, "values 0..16 leave the range 0..15"), (0.5, "the input holds fractions")]
)
def test_integer_inputs_are_checked_for_range_and_fractions(
    tmp_path: Path, value: float, message: str
) -> None:
    (tmp_path / "i.onnx").write_bytes(net(annotate=True))
    x = np.zeros((2, 4))
    x[1, 2] = value
    with pytest.raises(DataError, match=message):
        run(tmp_path / "i.onnx", x)


def test_a_frame_number_counts_from_the_start_of_the_file_not_of_a_chunk(run_dir: Path) -> None:
    x = np.zeros((3000, 4))
    x[2999, 1] = np.nan
    with pytest.raises(DataError, match="frame 2999, feature 1"):
        run(run_dir, x)
