"""Training: reproducible, resumable to the bit, and exported as what was trained."""

from __future__ import annotations

import lzma
from pathlib import Path

import numpy as np
import onnx
import pytest
import torch
from qonnx.core.modelwrapper import ModelWrapper
from qonnx.core.onnx_exec import execute_onnx

from hwq import record
from hwq.data import Encoding
from hwq.data import load as load_data
from hwq.errors import ConfigError, ModelError
from hwq.flow.against import against, check
from hwq.flow.model import load_model
from hwq.nn import train as training
from hwq.nn.evaluate import load_run, logits, predictions, quantizer_outputs
from hwq.nn.prepare import build, prepare
from hwq.nn.publish import publish
from hwq.nn.recipe import Recipe, load_recipe, parse_recipe
from hwq.nn.train import lr_factor, train

LOADER = """
import numpy as np
def load(folder):
    rng = np.random.default_rng(0)
    y = rng.integers(0, 3, 480)
    x = rng.normal(size=(480, 12)) + 2.0 * rng.normal(size=(3, 12))[y]
    return x[:400], y[:400], x[400:], y[400:]
def binary(folder):
    x, y, xt, yt = load(folder)
    return x, (y > 0) * 1, xt, (yt > 0) * 1
"""
USER_NET = """
from torch import nn
from brevitas import nn as qnn
class Net(nn.Module):
    def __init__(self, hidden, quantized=True):
        super().__init__()
        self.body = nn.Sequential(
            qnn.QuantIdentity(bit_width=4), qnn.QuantLinear(12, hidden, bias=False, weight_bit_width=3),
            nn.BatchNorm1d(hidden), qnn.QuantReLU(bit_width=2),
            qnn.QuantLinear(hidden, 3, bias=False, weight_bit_width=2),
        )
    def forward(self, x):
        return self.body(x)
"""
BODY = {
    "name": "toy",
    "data": "toy_data:load",
    "encoding": [{"kind": "minmax", "symmetric": True}],
    "input": {"bits": 3},
    "quant": {"dropout": 0.1, "weight_granularity": "per_channel"},
    "layers": [
        {"out": 10, "weight_bits": 2},
        {
            "out": 8,
            "act": "signed",
            "act_bits": 2,
            "act_scale": "const",
            "weight_bits": 1,
            "weight_granularity": "per_tensor",
        },
        {"out": 3, "norm": "tensor"},
    ],
    "train": {"epochs": 4, "batch": 64, "lr": 0.01},
    "float": {"epochs": 2},
}

BINARY = {
    "data": "toy_data:binary",
    "head": "threshold",
    "layers": [{"out": 6}, {"out": 1, "norm": "tensor"}],
    "train": {**BODY["train"], "loss": "sqr_hinge"},
}


@pytest.fixture(autouse=True)
def workplace(tmp_path, monkeypatch):
    (tmp_path / "toy_data.py").write_text(LOADER)
    (tmp_path / "toy_net.py").write_text(USER_NET)
    monkeypatch.chdir(tmp_path)
    before = torch.get_num_threads()
    torch.set_num_threads(1)  # nets this small only lose time with more
    yield
    torch.set_num_threads(before)


def toy(**change) -> Recipe:
    return parse_recipe({**BODY, **change})


def run(recipe: Recipe, out: Path, **kwargs) -> Path:
    return train(recipe, out=out, progress=False, baseline=False, cache_dir=out / "cache", **kwargs)


def outputs_of(path: Path, x: np.ndarray) -> np.ndarray:
    """The QONNX model executed node by node, one frame at a time."""
    model = ModelWrapper(str(path))
    name = model.graph.output[0].name
    return np.concatenate([execute_onnx(model, {"x": frame[None]})[name] for frame in x])


def test_the_same_seed_gives_the_same_bytes_and_another_seed_does_not(tmp_path):
    a, b, c = (run(toy(), tmp_path / d, seed=s) for d, s in (("a", 1), ("b", 1), ("c", 2)))
    assert (a / "model.onnx").read_bytes() == (b / "model.onnx").read_bytes()
    assert (a / "record.json").read_text() == (b / "record.json").read_text()
    assert (a / "model.onnx").read_bytes() != (c / "model.onnx").read_bytes()


@pytest.mark.parametrize("epochs_done", [1, 3])
def test_an_interrupted_run_continues_to_the_same_bytes(tmp_path, monkeypatch, epochs_done):
    whole = run(toy(), tmp_path / "whole")

    class Interrupted(Exception):
        pass

    real, calls = training.save_checkpoint, []

    def interrupt(*args):
        real(*args)
        calls.append(args)
        if len(calls) == epochs_done:
            raise Interrupted

    monkeypatch.setattr(training, "save_checkpoint", interrupt)
    with pytest.raises(Interrupted):
        run(toy(), tmp_path / "halved")
    assert not (tmp_path / "halved" / "model.onnx").exists()
    monkeypatch.setattr(training, "save_checkpoint", real)
    torch.rand(17)  # whatever happened to the generator between the two processes
    halved = run(toy(), tmp_path / "halved")
    for file in ("model.onnx", "record.json", "recipe.toml", "encoding.json"):
        assert (whole / file).read_bytes() == (halved / file).read_bytes(), file


def test_a_checkpoint_of_another_recipe_or_a_damaged_one_is_refused(tmp_path):
    out = run(toy(), tmp_path / "run")
    with pytest.raises(ConfigError, match="belongs to another recipe or seed"):
        run(toy(), out, seed=9)
    run(toy(), out, seed=9, resume=False)
    (out / "checkpoint.pt").write_bytes(b"half of")
    with pytest.raises(ModelError, match="damaged checkpoint"):
        run(toy(), out, seed=9)


@pytest.mark.parametrize("bias", ["none", "float", "int"])
@pytest.mark.parametrize("scale", ["const", "float", "po2"])
def test_the_exported_model_computes_what_was_trained(tmp_path, scale, bias):
    r = toy(head="logits", quant={**BODY["quant"], "weight_scale": scale, "bias": bias})
    out = run(r, tmp_path / "run")
    data = prepare(r, None, torch.device("cpu"))
    frames = data.test.x[:6]
    want, got = logits(load_run(out)[1], frames), outputs_of(out / "model.onnx", frames.numpy())
    assert np.allclose(want, got, atol=1e-4)


def test_a_finished_run_gives_back_its_net_and_the_output_of_every_quantizer(tmp_path):
    out = run(toy(head="logits"), tmp_path / "run")
    r, net = load_run(out)
    data = prepare(r, None, torch.device("cpu"))
    want = logits(net, data.test.x[:10])
    assert np.allclose(want, outputs_of(out / "model.onnx", data.test.x[:10].numpy()), atol=1e-4)
    x = data.test.x.numpy()
    (single, out), (double, _) = (quantizer_outputs(net, x, double) for double in (False, True))
    assert np.array_equal(out, logits(net, data.test.x))
    assert list(single) == ["input", "layers.fc1.act", "layers.fc2.act"]
    for name, most in zip(single, (7, 16, 3), strict=True):
        assert 1 < len(np.unique(single[name])) <= most
        # they may differ where a value lies on a rounding boundary, nowhere else
        assert (np.abs(single[name] - double[name]) > 1e-4).mean() < 0.01
    assert np.array_equal(logits(net, data.test.x[:10]), want)


@pytest.mark.parametrize("head", ["argmax", "threshold"])
@pytest.mark.parametrize("engine", ["exact", "float32", "float64", "brevitas-float32", "brevitas-float64"])
def test_the_integer_network_differs_from_brevitas_in_ties_alone(tmp_path, head, engine):
    out = run(toy(**(BINARY if head == "threshold" else {})), tmp_path / "run")
    model = load_model(out)
    frames = load_data(model.recipe["data"], None).x_test
    found = against(model, frames, engine)
    check(found)
    assert found.frames == 80 and found.flips == found.ties
    sizes = [12, 6, 1] if head == "threshold" else [12, 10, 8, 1]
    assert [d.outputs for d in found.decisions] == [80 * n for n in sizes]


def test_record_encoding_and_model_of_a_run_agree_on_the_test_set(tmp_path):
    r = toy()
    out = run(r, tmp_path / "run")
    data = prepare(r, None, torch.device("cpu"))
    encoding = Encoding.from_json((out / "encoding.json").read_text())
    assert encoding == data.encoding
    records = {(x.metric, x.scope): x for x in record.load(out / "record.json")}
    classes = outputs_of(out / "model.onnx", data.test.x.numpy())
    assert classes.shape == (80, 1)
    assert records["accuracy", "top"].value == 100 * (classes[:, 0] == data.test.y.numpy()).mean()
    assert [records["weight_bits", f"fc{i}"].value for i in (1, 2, 3)] == [2, 1, 4]
    assert records["accuracy", "top"].seed == 1
    assert load_recipe(out).named_layers() == r.named_layers()


def test_a_single_output_ends_in_a_bipolar_quantizer_whose_sign_is_the_class(tmp_path):
    r = toy(**BINARY)
    out = run(r, tmp_path / "run")
    data = prepare(r, None, torch.device("cpu"))
    sign = outputs_of(out / "model.onnx", data.test.x.numpy())
    assert set(np.unique(sign)) == {-1.0, 1.0}
    accuracy = 100 * ((sign[:, 0] > 0) == data.test.y.numpy().astype(bool)).mean()
    found = next(x.value for x in record.load(out / "record.json") if x.metric == "accuracy")
    assert accuracy == found > 80


def test_exported_weights_lie_on_their_grid_and_nodes_carry_layer_names(tmp_path):
    out = run(toy(), tmp_path / "run")
    model = ModelWrapper(str(out / "model.onnx"))
    nodes = {n.name: n for n in model.graph.node}
    assert {"fc1", "fc2", "fc3", "input_quant", "fc1_weight_quant", "fc3_argmax"} <= set(nodes)
    for layer, levels in (("fc1_weight_quant", 1), ("fc2_weight_bipolarquant", 1), ("fc3_weight_quant", 7)):
        weight, scale = (model.get_initializer(i) for i in nodes[layer].input[:2])
        integers = weight / scale
        assert np.abs(integers - integers.round()).max() < 1e-5
        assert np.abs(integers).max() <= levels + 1e-5
    onnx.checker.check_model(onnx.load(out / "model.onnx"), full_check=False)
    assert len(lzma.compress((out / "model.onnx").read_bytes())) < len((out / "model.onnx").read_bytes())


def test_equal_maxima_take_the_lowest_index_and_zero_counts_as_one():
    assert predictions(np.array([[1.0, 3.0, 3.0], [2.0, 2.0, 2.0]]), "argmax").tolist() == [1, 0]
    assert predictions(np.array([[0.0], [-0.1], [2.0]]), "threshold").tolist() == [1, 0, 1]


def test_a_users_net_plugs_in_by_dotted_name(tmp_path):
    r = parse_recipe(
        {
            "name": "mine",
            "data": "toy_data:load",
            "net": "toy_net:Net",
            "net_args": {"hidden": 9},
            "train": {"epochs": 3, "batch": 50},
        }
    )
    out = run(r, tmp_path / "run")
    bits = {x.scope: x.value for x in record.load(out / "record.json") if x.metric == "weight_bits"}
    assert (bits["body.1"], bits["body.4"]) == (3, 2)
    data = prepare(r, None, torch.device("cpu"))
    assert outputs_of(out / "model.onnx", data.test.x[:4].numpy()).shape == (4, 1)
    with pytest.raises(ConfigError, match=r"give its arguments in \[net_args\]"):
        build(r.model_copy(update={"net_args": {"hiden": 9}}), 12)


def test_a_float_checkpoint_can_be_the_start(tmp_path):
    r = toy()
    train(r, out=tmp_path / "base", progress=False, cache_dir=tmp_path / "cache")
    start = next((tmp_path / "cache" / "float").glob("*.pt"))
    one_step = {**BODY["train"], "epochs": 1, "lr": 1e-6, "init": str(start), "bn_reestimate": False}
    tuned = run(toy(train=one_step), tmp_path / "tuned")
    cold = run(toy(train={**one_step, "init": None}), tmp_path / "cold")
    value = [
        next(x.value for x in record.load(d / "record.json") if x.metric == "accuracy") for d in (tuned, cold)
    ]
    assert value[0] > value[1]
    with pytest.raises(ModelError, match="no such file"):
        run(toy(train={**one_step, "init": "none.pt"}), tmp_path / "x")
    torch.save({"layers.fc1.linear.weight": torch.zeros(3, 3)}, tmp_path / "odd.pt")
    with pytest.raises(ModelError, match=r"does not fit the net.*wants \(10, 12\)"):
        run(toy(train={**one_step, "init": str(tmp_path / "odd.pt")}), tmp_path / "y")


def test_the_float_baseline_is_trained_once_for_all_seeds(tmp_path):
    cache = tmp_path / "cache"
    for seed in (1, 2):
        out = train(toy(), out=tmp_path / str(seed), seed=seed, progress=False, cache_dir=cache)
        assert any(x.metric == "accuracy_float" for x in record.load(out / "record.json"))
    assert len(list((cache / "float").glob("*.pt"))) == 1


def test_outputs_that_do_not_fit_the_classes_are_refused(tmp_path):
    with pytest.raises(ConfigError, match="out = 4; data set 'toy_data:load' has 3 classes"):
        run(toy(layers=[{"out": 4}]), tmp_path / "run")


@pytest.mark.parametrize("schedule", ["constant", "step", "cosine", "onecycle"])
def test_learning_rate_depends_on_the_step_alone_and_stays_in_range(schedule):
    t = toy(train={"schedule": schedule, "milestones": [2, 3], "epochs": 4}).train
    factors = [lr_factor(t, s, 10) for s in range(40)]
    assert 0 < min(factors) <= max(factors) <= 1
    if schedule == "step":
        assert [factors[i] for i in (0, 20, 39)] == pytest.approx([1, 0.1, 0.01])


@pytest.mark.train
def test_digits_reach_their_target_in_under_a_minute(tmp_path):
    out = train("digits-mlp", out=tmp_path / "digits", progress=False, threads=1, cache_dir=tmp_path)
    r = load_recipe("digits-mlp")
    value = next(x.value for x in record.load(out / "record.json") if x.metric == "accuracy")
    assert value >= r.target_accuracy


def test_publishing_takes_the_seed_best_on_validation_and_keeps_every_test_accuracy(tmp_path):
    runs = [run(toy(), tmp_path / str(seed), seed=seed) for seed in (1, 2, 3)]
    best = publish(runs, tmp_path / "trained")
    value = {
        path: {(x.metric, x.scope): x.value for x in record.load(path / "record.json")}
        for path in [*runs, tmp_path / "trained"]
    }
    validation = {path: value[path]["accuracy_validation", "top"] for path in runs}
    assert validation[best] == max(validation.values())
    kept = value[tmp_path / "trained"]
    assert kept["accuracy", "top"] == value[best]["accuracy", "top"]
    assert [kept["accuracy", f"seed {i}"] for i in (1, 2, 3)] == [value[p]["accuracy", "top"] for p in runs]
    packed = (tmp_path / "trained" / "model.onnx.xz").read_bytes()
    assert lzma.decompress(packed) == (best / "model.onnx").read_bytes()
    with pytest.raises(ModelError, match="not a complete run"):
        publish([tmp_path / "nowhere"], tmp_path / "x")
    other = run(toy(layers=[{"out": 3}]), tmp_path / "other")
    with pytest.raises(ConfigError, match=r"differs .* in more than the seed"):
        publish([runs[0], other], tmp_path / "x")
