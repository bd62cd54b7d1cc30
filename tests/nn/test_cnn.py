"""Image nets: refused where they make no sense, built from any recipe, exported as what they compute, resumable."""

from __future__ import annotations

import numpy as np
import onnx
import pytest
import torch
from hwq_models.nets.cnn import CNN
from qonnx.core.modelwrapper import ModelWrapper
from qonnx.core.onnx_exec import execute_onnx

from hwq import record
from hwq.data import Encoding
from hwq.errors import ConfigError
from hwq.flow import infer
from hwq.flow.model import load_model
from hwq.nn import train as training
from hwq.nn.evaluate import load_run, logits, predictions, quantizer_outputs
from hwq.nn.export import to_onnx
from hwq.nn.images import Images, augment
from hwq.nn.prepare import build, net_frame, prepare
from hwq.nn.quant import calibrate
from hwq.nn.recipe import IMAGE_NET, Augment, Recipe, load_recipe, parse_recipe, shipped_recipes
from hwq.nn.train import distillation, train

LOADER = """
import numpy as np
def images(folder):
    rng = np.random.default_rng(0)
    y = rng.integers(0, 3, 150)
    x = rng.integers(0, 120, (150, 8, 8, 2)).astype(np.uint8)
    for k in range(3):
        x[y == k, 2 * k : 2 * k + 3, 1:5] += 120
    return x[:110], y[:110], x[110:], y[110:]
def flat(folder):
    x, y, xt, yt = images(folder)
    return x.reshape(len(x), -1), y, xt.reshape(len(xt), -1), yt
def pixels(folder):
    x, _, xt, _ = images(folder)
    return x, (x[..., 0] > 120) * 1, xt, (xt[..., 0] > 120) * 1
"""
BODY = {
    "name": "toy",
    "data": "toy_images:images",
    "net": IMAGE_NET,
    "encoding": [{"kind": "scale", "hi": 255}],
    "input": {"bits": 8, "signed": False},
    "quant": {"weight_granularity": "per_channel", "act_bits": 3},
    "layers": [
        {"kind": "conv", "out": 4, "kernel": 3, "pad": 1},
        {"kind": "max_pool", "kernel": 2},
        {"kind": "conv", "out": 4, "kernel": [3, 1], "pad": [1, 0], "act": "signed", "act_scale": "po2"},
        {"kind": "act", "name": "sum", "from": ["pool1", "conv2"], "join": "add"},
        {"kind": "depthwise", "kernel": 3, "dropout": 0.1},
        {"out": 3, "norm": "tensor"},
    ],
    "train": {
        "epochs": 3,
        "batch": 32,
        "lr": 0.02,
        "calibration": 50,
        "schedule": "cosine",
        "label_smoothing": 0.05,
        "init": "float",
        "distill": {"weight": 0.3},
        "augment": {"crop": 1, "flip": True},
    },
    "float": {"epochs": 2, "lr": 0.01},
}
IMAGE_RECIPES = [n for n in shipped_recipes() if load_recipe(n).images]


@pytest.fixture(autouse=True)
def workplace(tmp_path, monkeypatch):
    (tmp_path / "toy_images.py").write_text(LOADER)
    monkeypatch.chdir(tmp_path)


def toy(**change) -> Recipe:
    return parse_recipe({**BODY, **change})


def net_of(layers, frame=(2, 8, 8), **change) -> CNN:
    return build(toy(layers=layers, **change), frame)


def run(recipe: Recipe, out, **kwargs):
    return train(recipe, out=out, progress=False, cache_dir=out.parent / "cache", **kwargs)


def executed(model, x: np.ndarray) -> np.ndarray:
    """A QONNX model node by node, one frame at a time."""
    wrapper = ModelWrapper(model)
    name = wrapper.graph.output[0].name
    return np.concatenate([execute_onnx(wrapper, {"x": frame[None]})[name] for frame in x])


CONV = {"kind": "conv", "out": 4, "kernel": 3}
LAST = {"out": 3}
BIPOLAR = {"act": "signed", "act_bits": 1}


@pytest.mark.parametrize(
    ("layers", "says"),
    [
        ([{**CONV, "kernal": 3}, LAST], "layers.0.kernal: unknown key 'kernal'; did you mean 'kernel'?"),
        ([{"kind": "conv", "out": 4}, LAST], "layers.0.kernel: this key is needed by kind 'conv'"),
        ([{"kind": "max_pool", "kernel": 2, "weight_bits": 3}, LAST], "kind 'max_pool' has no key 'weight_bits'"),
        ([{"out": 4, "stride": 2}, LAST], "layers.0.stride: kind 'dense' has no key 'stride'"),
        ([{"kind": "cnv", "out": 4}, LAST], "layers.0.kind: Input should be 'conv', 'depthwise'"),
        ([{**CONV, "kernel": 2, "pad": "same"}, LAST], '"same" needs an odd kernel, got 2'),
        ([{**CONV, "kernel": 0}, LAST], "layers.0.kernel: must be at least 1"),
        ([{"kind": "max_pool", "kernel": 2, "pad": 2}, LAST], "at most half its kernel 2"),
        ([{**CONV, **BIPOLAR}, {**CONV, "pad": 1}, LAST], "real zeros around its input, which 'conv1' can't hold"),
        (
            [{**CONV, **BIPOLAR}, {"kind": "max_pool", "kernel": 2}, {**CONV, "pad": "same"}, LAST],
            "layers.2 ('conv2'): pad = \"same\" puts real zeros around its input, which 'pool1' can't hold",
        ),
        ([CONV, {**CONV, "from": ["cnv1"]}, LAST], "from 'cnv1', which no layer is called; did you mean 'conv1'?"),
        ([CONV, {**CONV, "from": ["fc1"]}, LAST], "from 'fc1', which is not an earlier layer"),
        ([CONV, {**CONV, "from": ["input", "conv1"]}, LAST], 'takes 2 layers; say join = "add" or "concat"'),
        ([CONV, {**CONV, "join": "add"}, LAST], "join = \"add\" needs two names or more in 'from'"),
        ([CONV, CONV, {**LAST, "from": ["conv1"]}], "'conv2' feeds nothing"),
        ([{**CONV, "act": "none"}, LAST], 'act = "none" leaves it unquantized'),
        ([CONV, {"kind": "act", "act": "none"}, LAST], "makes it nothing"),
        ([CONV, {**CONV, "share": "conv9"}, LAST], "share = 'conv9' is not an earlier layer with an activation"),
        ([CONV, {**CONV, "share": "conv1", "act_bits": 3}, LAST], "layers.1.act_bits: comes from 'conv1' by 'share'"),
        ([{**CONV, "name": "input"}, LAST], "the name 'input' is taken"),
        ([{**CONV, "name": "a"}, {**LAST, "name": "a"}], "'a' is used twice"),
    ],
)
def test_wiring_that_makes_no_sense_is_refused_with_the_way_out(layers, says):
    with pytest.raises(ConfigError) as e:
        toy(layers=layers)
    assert says in str(e.value)


def test_a_padded_layer_refuses_a_bipolar_input_and_takes_one_with_zero():
    with pytest.raises(ConfigError, match="which 'input' can't hold: it is bipolar"):
        toy(layers=[{**CONV, "pad": 1}, LAST], input={"bits": 1})
    toy(layers=[{**CONV, "pad": 1}, LAST], input={"bits": 2})


@pytest.mark.parametrize(
    ("layers", "says"),
    [
        ([{**CONV, "kernel": 9}, LAST], "kernel 9 with pad 0 does not fit the 8 x 8 image"),
        ([{**CONV, "groups": 4}, LAST], "groups = 4 must divide both the 2 channels"),
        ([CONV, LAST, CONV, LAST], "kind 'conv' needs an image, what comes in is flat (3,)"),
        ([CONV, {**LAST, "from": ["input", "conv1"], "join": "concat"}], "can't concat (2, 8, 8), (4, 6, 6)"),
        ([CONV, {**LAST, "from": ["input", "conv1"], "join": "add"}], "can't add (2, 8, 8), (4, 6, 6)"),
        ([CONV, {"kind": "shuffle", "factor": 4}, LAST], "4 channels are not a multiple of factor squared, 16"),
    ],
)
def test_layers_that_do_not_fit_their_input_are_named_with_the_shapes(layers, says):
    with pytest.raises(ConfigError) as e:
        net_of(layers)
    assert says in str(e.value)


def test_nets_and_data_that_do_not_go_together_are_refused(tmp_path):
    with pytest.raises(ConfigError, match=r"need net = \"hwq_models.nets.cnn:CNN\""):
        toy(net="hwq_models.nets.fc:FC")
    with pytest.raises(ConfigError, match="are not images"):
        prepare(toy(data="toy_images:flat"), None, torch.device("cpu"))
    with pytest.raises(ConfigError, match="out = 4; data set 'toy_images:images' has 3 classes"):
        prepare(toy(layers=[{"out": 4}]), None, torch.device("cpu"))
    with pytest.raises(ConfigError, match=r"puts out \(3,\); .* labels of shape \(8, 8\) needs \(2, 8, 8\)"):
        prepare(toy(data="toy_images:pixels", train={}), None, torch.device("cpu"))
    with pytest.raises(ConfigError, match=r"every pixel has a class, which train.augment would leave behind"):
        prepare(toy(data="toy_images:pixels"), None, torch.device("cpu"))


def thin(name: str) -> tuple[Recipe, tuple[int, int, int]]:
    """A shipped image recipe with an eighth of its channels, and the frame of its data."""
    r = load_recipe(name)
    last = len(r.layers) - 1
    layers = [
        n if n.out is None or i == last else n.model_copy(update={"out": max(2, n.out // 8)})
        for i, n in enumerate(r.layers)
    ]
    frame = {"cifar10": (3, 32, 32), "shapes": (1, 32, 32)}.get(r.data, (1, 28, 28))
    return r.model_copy(update={"layers": tuple(layers)}), frame


COVERED = ("cifar10-cnv-mixed", "cifar10-cnv-w1a2", "cifar10-cnv-w2a2", "cifar10-vgg7")  # by others' kinds of layers


@pytest.mark.parametrize(
    "name", [pytest.param(n, marks=pytest.mark.slow) if n in COVERED else n for n in IMAGE_RECIPES]
)
def test_every_shipped_image_net_exports_to_a_sound_model_of_the_same_values(name):
    r, frame = thin(name)
    torch.manual_seed(0)
    net = build(r, frame)
    x = torch.rand(6, *frame)
    calibrate(net, x)
    net.train()
    net(x)  # statistics that are not 0 and 1
    want = logits(net, x[:1])
    names = [str(n.name) for n in r.named_layers()]
    model = to_onnx(net, frame, "logits", names)
    onnx.checker.check_model(model, full_check=False)
    assert np.allclose(executed(model, x[:1].numpy()), want, atol=1e-3)
    weights = {n.name: n for n in model.graph.node if n.name in r.matrix_names()}
    assert list(weights) and set(weights) == set(r.matrix_names())
    made_by = {o: n for n in model.graph.node for o in n.output}
    constants = {i.name: onnx.numpy_helper.to_array(i) for i in model.graph.initializer}
    for layer, node in weights.items():  # each node carries the name of the layer whose weights it holds
        exported = constants[made_by[node.input[1]].input[0]]
        trained = net.layers[layer].linear.quant_weight().value.detach().numpy()
        assert np.array_equal(exported.T if node.op_type == "MatMul" else exported, trained), layer
    acts = [n for n in model.graph.node if n.op_type in ("Quant", "BipolarQuant") and n.input[0] not in constants]
    outputs, _ = quantizer_outputs(net, x[:1].numpy())
    assert [n.rsplit(".", 1)[0].removeprefix("layers.") for n in outputs] == [n.name.rsplit("_", 1)[0] for n in acts]


def test_kinds_without_a_shipped_recipe_export_as_they_compute():
    layers = [
        {**CONV, "dilation": 2, "groups": 2, "bias": "float"},
        {"kind": "transposed", "out": 8, "kernel": 2, "stride": 2, "name": "deconv"},
        {"kind": "shuffle", "factor": 2},
        {"kind": "avg_pool", "kernel": 2, "act": "relu", "act_bits": 5},
        {"kind": "max_pool", "kernel": 3, "stride": 2, "pad": 1},
        {**LAST, "bias": "float"},
    ]
    net = net_of(layers)
    x = torch.rand(5, 2, 8, 8)
    calibrate(net, x)
    names = [str(n.name) for n in toy(layers=layers).named_layers()]
    assert names == ["conv1", "deconv", "shuffle1", "pool1", "pool2", "fc1"]
    model = to_onnx(net, (2, 8, 8), "logits", names)
    onnx.checker.check_model(model, full_check=False)
    assert np.allclose(executed(model, x.numpy()), logits(net, x), atol=1e-4)


def test_integer_biases_know_the_scale_of_their_input():
    layers = [{**CONV, "bias": "int"}, {**LAST, "bias": "int"}]
    net = net_of(layers)
    x = torch.rand(5, 2, 8, 8)
    calibrate(net, x)
    model = to_onnx(net, (2, 8, 8), "logits", ["conv1", "fc1"])
    assert np.allclose(executed(model, x.numpy()), logits(net, x), atol=1e-4)
    with pytest.raises(ConfigError, match=r"'fc1': bias = \"int\" needs one input straight from an activation"):
        net_of([CONV, {"kind": "max_pool", "kernel": 2}, {**LAST, "bias": "int"}])


def test_pools_in_front_of_quantizers_change_no_value_in_training():
    net = net_of(
        [CONV, {"kind": "max_pool", "kernel": 2}, {**CONV, **BIPOLAR}, {"kind": "max_pool", "kernel": 1}, LAST]
    )
    x = torch.rand(20, 2, 8, 8)
    calibrate(net, x)
    net.train()
    assert net._early_pools == {"conv1": "pool1", "conv2": "pool2"}
    early = net(x)
    net._early_pools = {}
    assert torch.equal(early, net(x))


def test_a_shared_quantizer_is_one_module_whose_range_covers_both():
    wide = {**CONV, "kernel": 1, "share": "conv1"}
    net = net_of(
        [{**CONV, "kernel": 1}, {**wide, "from": ["input"]}, {**LAST, "from": ["conv1", "conv2"], "join": "add"}]
    )
    assert net.layers["conv2"].act is net.layers["conv1"].act
    x = torch.rand(30, 2, 8, 8)
    assert list(quantizer_outputs(net, x.numpy())[0]) == ["input", "layers.conv1.act", "layers.conv1.act again"]
    scales = []
    for gain in (1.0, 50.0):
        net.layers["conv2"].norm.weight.data.fill_(gain)
        calibrate(net, x)
        scales.append(float(net.layers["conv1"].act.act_quant.scale().detach()))
    assert scales[1] > 20 * scales[0]


def test_bytes_are_encoded_as_the_host_encodes_them():
    r = toy()
    data = prepare(r, None, torch.device("cpu"))
    assert data.encoding == Encoding.from_json(data.encoding.to_json())
    assert (data.encoding.shape, net_frame(data.encoding), data.frame) == ((8, 8, 2), (2, 8, 8), (2, 8, 8))
    assert data.test.x.raw.dtype == torch.uint8
    raw = data.test.x.raw.permute(0, 2, 3, 1).numpy()
    rows = data.encoding.apply(raw).reshape(-1, 8, 8, 2)
    slow = data.encoding.apply(raw.astype(np.float64)).reshape(-1, 8, 8, 2)  # without the table
    assert np.array_equal(rows, slow)
    assert np.array_equal(data.test.x[:].numpy(), rows.transpose(0, 3, 1, 2))
    assert np.array_equal(torch.cat(list(data.test.x.split(7))).numpy(), rows.transpose(0, 3, 1, 2))


def test_augmented_images_are_shifts_and_mirrors_and_nothing_else():
    x = torch.arange(1, 4 * 3 * 5 * 6 + 1, dtype=torch.int16).reshape(4, 3, 5, 6)
    how = Augment(crop=2, flip=True)
    padded = torch.nn.functional.pad(x, (2, 2, 2, 2))
    views = [v[..., i : i + 5, j : j + 6] for v in (padded, padded.flip(3)) for i in range(5) for j in range(5)]
    seen = set()
    for seed in range(60):
        out = augment(x, how, torch.Generator().manual_seed(seed))
        for n in range(4):
            match = [k for k, v in enumerate(views) if torch.equal(v[n], out[n])]
            assert match
            seen.update(match)
    assert len(seen) > 0.9 * len(views)
    again = augment(x, how, torch.Generator().manual_seed(59))
    assert torch.equal(again, out)
    assert torch.equal(augment(x, Augment(), torch.Generator()), x)


def test_an_interrupted_image_run_continues_to_the_same_bytes(tmp_path, monkeypatch):
    r = toy()
    whole = run(r, tmp_path / "whole")

    class Interrupted(Exception):
        pass

    real, calls = training.save_checkpoint, []

    def interrupt(*args):
        real(*args)
        calls.append(args)
        if len(calls) == 2:
            raise Interrupted

    monkeypatch.setattr(training, "save_checkpoint", interrupt)
    with pytest.raises(Interrupted):
        run(r, tmp_path / "halved")
    monkeypatch.setattr(training, "save_checkpoint", real)
    torch.rand(5)
    halved = run(r, tmp_path / "halved")
    for file in ("model.onnx", "record.json", "recipe.toml", "encoding.json"):
        assert (whole / file).read_bytes() == (halved / file).read_bytes(), file
    loaded, net = load_run(whole)
    data = prepare(loaded, None, torch.device("cpu"))
    classes = executed(onnx.load(whole / "model.onnx"), data.test.x[:].numpy())
    value = {(x.metric, x.scope): x.value for x in record.load(whole / "record.json")}
    assert value["accuracy", "top"] == 100 * (classes[:, 0] == data.test.y.numpy()).mean() > 50
    assert {s for m, s in value if m == "weight_bits"} == {"top", *r.matrix_names()}
    assert np.array_equal(predictions(logits(net, data.test.x), r.head), classes[:, 0])
    other = toy(train={**BODY["train"], "augment": {"crop": 1}})
    assert other.config_hash() != r.config_hash()


def test_an_interrupted_float_baseline_goes_on_where_it_stopped(tmp_path, monkeypatch):
    class Interrupted(Exception):
        pass

    real = training.save_checkpoint

    def interrupt(*args):
        real(*args)
        raise Interrupted

    monkeypatch.setattr(training, "save_checkpoint", interrupt)
    with pytest.raises(Interrupted):
        run(toy(), tmp_path / "run")
    assert [p.suffix for p in (tmp_path / "cache" / "float").iterdir()] == [".part"]
    monkeypatch.setattr(training, "save_checkpoint", real)
    run(toy(), tmp_path / "run")
    assert [p.suffix for p in (tmp_path / "cache" / "float").iterdir()] == [".pt"]


def test_a_class_per_pixel_is_trained_exported_and_counted_per_pixel(tmp_path):
    layers = [
        {**CONV, "pad": "same"},
        {"kind": "max_pool", "kernel": 2},
        {"kind": "upsample", "factor": 2},
        {**CONV, "pad": "same", "from": ["upsample1", "conv1"], "join": "concat"},
        {"kind": "conv", "out": 2, "kernel": 1, "norm": "tensor"},
    ]
    r = toy(data="toy_images:pixels", layers=layers, train={"epochs": 3, "batch": 16, "lr": 0.02})
    out = run(r, tmp_path / "run", baseline=False)
    data = prepare(r, None, torch.device("cpu"))
    classes = executed(onnx.load(out / "model.onnx"), data.test.x[:6].numpy())
    assert classes.shape == (6, 1, 8, 8)
    net = load_run(out)[1]
    assert np.array_equal(predictions(logits(net, data.test.x), r.head)[:6], classes[:, 0])
    accuracy = 100 * (predictions(logits(net, data.test.x), r.head) == data.test.y.numpy()).mean()
    assert next(x.value for x in record.load(out / "record.json") if x.metric == "accuracy") == accuracy > 85


def test_distillation_is_zero_for_the_teachers_own_logits_and_positive_for_others():
    logit = torch.randn(8, 5)
    assert float(distillation(logit, logit + 3.0, 4.0)) == pytest.approx(0, abs=1e-5)
    assert float(distillation(logit, torch.randn(8, 5), 4.0)) > 0.01


def test_images_slice_like_a_tensor_of_floats():
    raw = torch.arange(2 * 3 * 4 * 4, dtype=torch.uint8).reshape(2, 4, 4, 3).permute(0, 3, 1, 2)
    images = Images(raw, torch.arange(256) / 255)
    assert len(images) == 2 and images.shape == (2, 3, 4, 4)
    assert torch.equal(images[:], raw.float() / 255)
    assert images[:].is_contiguous(memory_format=torch.channels_last)
    floats = Images(raw.float(), None)
    assert torch.equal(floats[torch.tensor([1])], raw[1:].float())


def test_raw_images_get_the_same_class_from_the_integers_as_from_the_trained_network(tmp_path):
    out = run(toy(train={"epochs": 2, "batch": 16, "lr": 0.02}), tmp_path / "run", baseline=False)
    model = load_model(out)
    frames, labels = infer.load_frames(model, None)
    classes = infer.run(model, frames).ravel()
    data = prepare(toy(), None, torch.device("cpu"))
    assert np.array_equal(classes, predictions(logits(load_run(out)[1], data.test.x), "argmax"))
    assert (classes == labels).mean() > 0.5
