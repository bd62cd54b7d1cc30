"""`hwq run --against` on whole test sets: zero differences that are not ties."""

from __future__ import annotations

import json
import os
from pathlib import Path

import numpy as np
import pytest

from hwq import cli
from hwq.data import load as load_data
from hwq.errors import MismatchError, ModelError
from hwq.flow.against import ENGINES, Comparison, against, check
from hwq.flow.infer import load_frames
from hwq.flow.model import load_model, shipped
from hwq.nn.recipe import load_recipe

QONNX_ENGINES = [e for e in ENGINES if not e.startswith("brevitas")]
IMAGES = [n for n in shipped() if load_recipe(n).images]
DATA = Path(os.environ["HWQ_DATA"]) if "HWQ_DATA" in os.environ else None


def compared(name: str, engine: str, frames: int | None = None) -> Comparison:
    model = load_model(name)
    found = against(model, load_frames(model, DATA)[0][:frames], engine)
    check(found)
    assert found.flips == found.ties
    return found


@pytest.mark.parametrize("engine", QONNX_ENGINES)
def test_digits_differ_from_no_engine_in_more_than_ties(engine: str) -> None:
    found = compared("digits-mlp", engine)
    assert [(d.decision, d.outputs) for d in found.decisions] == [
        ("input_quant", 359 * 64),
        ("fc1_quant", 359 * 32),
        ("fc2_quant", 359 * 32),
        ("fc3_argmax", 359),
    ]
    assert engine != "exact" or found.flips == 0


@pytest.mark.slow
@pytest.mark.parametrize("name", [n for n in shipped() if n != "digits-mlp" and n not in IMAGES])
def test_every_shipped_model_equals_the_exact_reference_and_differs_from_floats_in_ties_alone(name: str) -> None:
    """On every frame of the test set; a data set that is not there fails."""
    exact, single, double = (compared(name, engine) for engine in ("exact", "float32", "float64"))
    assert exact.flips == 0 and not any(d.downstream for d in exact.decisions)
    assert exact.outputs == single.outputs == double.outputs > exact.frames * 500


@pytest.mark.slow
@pytest.mark.parametrize("name", IMAGES)
def test_image_networks_equal_the_exact_reference_and_differ_from_floats_in_ties_alone(name: str) -> None:
    """On the first frames: exact arithmetic takes the better part of a second a frame."""
    exact = compared(name, "exact", 10)
    assert exact.flips == 0 and not any(d.downstream for d in exact.decisions)
    for engine in ("float32", "float64"):
        assert compared(name, engine, 100).outputs == 10 * exact.outputs


def test_an_engine_that_rounds_its_input_more_than_it_says_fails(monkeypatch: pytest.MonkeyPatch) -> None:
    model = load_model("digits-mlp")
    x = load_data("digits").x_test
    made, single = ENGINES["float32"]

    def coarse(*args: object) -> object:
        run = made(*args)
        return lambda frames: run(np.round(frames * 4) / 4)

    monkeypatch.setitem(ENGINES, "float32", (coarse, single))
    found = against(model, x, "float32")
    assert found.flips > found.ties
    with pytest.raises(MismatchError, match=r"input_quant frame \d+ channel \d+: float32 \d+, integer network \d+; "):
        check(found)


def test_brevitas_needs_a_run_directory() -> None:
    with pytest.raises(ModelError, match=r"needs a run directory with its checkpoint.pt"):
        against(load_model("digits-mlp"), load_data("digits").x_test, "brevitas-float32")


def hwq(*args: str) -> object:
    with pytest.raises(SystemExit) as done:
        cli.main(args)
    return done.value.code


def test_the_command_runs_on_the_test_split_and_shows_every_decision(capsys: pytest.CaptureFixture[str]) -> None:
    assert hwq("run", "digits-mlp", "--against", "float32", "--against", "exact", "--json") == 0
    body = json.loads(capsys.readouterr().out)
    assert body["frames"] == 359 and body["accuracy"] > 96
    assert [c["engine"] for c in body["against"]] == ["float32", "exact"]
    assert hwq("run", "digits-mlp", "--against", "float64") == 0
    out = capsys.readouterr().out
    assert "float64: 0 of 46311 decisions differ, 0 of them ties" in out and "fc3_argmax" in out


@pytest.mark.parametrize(
    ("args", "message"),
    [
        (("digits-mlp", "--against", "float16"), "--against float16: not an engine; there are exact, float32"),
        (("digits-mlp", "--encoded"), "--encoded: the test split is raw; give encoded frames with --input"),
        (("bare.onnx",), "names no data set (it has no recipe.toml); give frames with --input"),
        (("mnist-tfc-w1a1", "--data", "gone"), "data set 'mnist' is not in gone"),
    ],
)
def test_bad_arguments_are_exit_2_with_the_way_out(
    args: tuple[str, ...],
    message: str,
    capsys: pytest.CaptureFixture[str],
    monkeypatch: pytest.MonkeyPatch,
    tmp_path: Path,
) -> None:
    (tmp_path / "bare.onnx").write_bytes(load_model("digits-mlp").onnx_bytes)
    monkeypatch.chdir(tmp_path)
    assert hwq("run", *args) == 2
    assert message in capsys.readouterr().err


def test_a_difference_that_is_no_tie_is_exit_1(
    capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    made, arithmetic = ENGINES["float32"]

    def wrong(*args: object) -> object:
        run = made(*args)
        return lambda frames: {t: v[::-1] for t, v in run(frames).items()}  # the frames in reverse

    monkeypatch.setitem(ENGINES, "float32", (wrong, arithmetic))
    assert hwq("run", "digits-mlp", "--against", "float32") == 1
    err = capsys.readouterr().err
    assert "are more than rounding explains" in err and "more (--json has all)" in err
