"""Loaders, on small synthetic files in the official formats."""

from __future__ import annotations

import gzip
import struct

import numpy as np
import pytest

from hwq.data import load
from hwq.data.dataset import fixed_split
from hwq.data.synthetic import shapes
from hwq.errors import ConfigError, DataError

RNG = np.random.default_rng(3)
IMAGES = {
    "train": RNG.integers(0, 256, (20, 28, 28), dtype=np.uint8),
    "t10k": RNG.integers(0, 256, (5, 28, 28), dtype=np.uint8),
}
LABELS = {"train": RNG.integers(0, 10, 20, dtype=np.uint8), "t10k": RNG.integers(0, 10, 5, dtype=np.uint8)}


def idx(a: np.ndarray) -> bytes:
    return bytes([0, 0, 8, a.ndim]) + struct.pack(f">{a.ndim}I", *a.shape) + a.tobytes()


def write_idx(folder, zipped):
    folder.mkdir(parents=True)
    for part in ("train", "t10k"):
        for stem, a in (
            (f"{part}-images-idx3-ubyte", IMAGES[part]),
            (f"{part}-labels-idx1-ubyte", LABELS[part]),
        ):
            path = folder / (f"{stem}.gz" if zipped else stem)
            path.write_bytes(gzip.compress(idx(a)) if zipped else idx(a))


@pytest.mark.parametrize("zipped", [True, False])
@pytest.mark.parametrize(
    ("name", "sub"), [("mnist", "mnist"), ("mnist", "MNIST/raw"), ("fashion_mnist", "fashion_mnist")]
)
def test_idx_files_load_plain_and_zipped_from_each_usual_folder(tmp_path, name, sub, zipped):
    write_idx(tmp_path / sub, zipped)
    d = load(name, tmp_path)
    assert np.array_equal(d.x_train, IMAGES["train"])
    assert np.array_equal(d.x_test, IMAGES["t10k"])
    assert np.array_equal(d.y_train, LABELS["train"])
    assert np.array_equal(d.y_test, LABELS["t10k"])
    assert d.input_shape == (28, 28)
    assert len(d.classes) == 10


def test_npz_copies_load_like_the_originals(tmp_path):
    np.savez(
        tmp_path / "mnist.npz",
        x_train=IMAGES["train"],
        y_train=LABELS["train"],
        x_test=IMAGES["t10k"],
        y_test=LABELS["t10k"],
    )
    d = load("mnist", tmp_path)
    assert np.array_equal(d.x_train, IMAGES["train"])
    assert d.y_test.dtype == np.int64


def test_cifar_residuals_and_binary_batches_give_the_same_images(tmp_path):
    images = RNG.integers(0, 256, (6, 32, 32, 3), dtype=np.uint8)
    y = RNG.integers(0, 10, 6, dtype=np.uint8)
    chw = images.transpose(0, 3, 1, 2)
    batch = np.concatenate([y[:, None], chw.reshape(6, -1)], axis=1).astype(np.uint8).tobytes()
    (tmp_path / "bin" / "cifar-10-batches-bin").mkdir(parents=True)
    for name in (*(f"data_batch_{i}" for i in range(1, 6)), "test_batch"):
        (tmp_path / "bin" / "cifar-10-batches-bin" / f"{name}.bin").write_bytes(batch)
    d = chw.copy()
    d[:, [0, 2]] -= d[:, 1:2]
    d = np.diff(d, axis=3, prepend=np.uint8(0)).astype(np.uint8)
    d = np.diff(d, axis=2, prepend=np.uint8(0)).astype(np.uint8)
    (tmp_path / "npz").mkdir()
    np.savez(tmp_path / "npz" / "cifar10.npz", d_train=d, d_test=d, y_train=y, y_test=y)
    for folder, copies in (("bin", 5), ("npz", 1)):
        got = load("cifar10", tmp_path / folder)
        assert np.array_equal(got.x_train, np.tile(images, (copies, 1, 1, 1)))
        assert np.array_equal(got.x_test, images)
        assert np.array_equal(got.y_train, np.tile(y, copies))


UNSW_HEAD = "id,dur,proto,service,state,sbytes,attack_cat,label\n"


def test_unsw_csv_and_npz_give_a_text_the_same_code(tmp_path):
    (tmp_path / "csv").mkdir()
    train = UNSW_HEAD + "1,0.5,udp,-,INT,10,Normal,0\n2,1.5,tcp,http,FIN,20,DoS,1\n"
    (tmp_path / "csv" / "UNSW_NB15_training-set.csv").write_text("\ufeff" + train)
    zipped = gzip.compress((UNSW_HEAD + "1,2.5,sctp,-,FIN,30,Normal,0\n").encode())
    (tmp_path / "csv" / "UNSW_NB15_testing-set.csv.gz").write_bytes(zipped)
    d = load("unsw_nb15", tmp_path / "csv")
    assert d.feature_names == ("dur", "proto", "service", "state", "sbytes")
    assert d.categorical == (1, 2, 3)
    assert d.x_train[:, [0, 4]].tolist() == [[0.5, 10], [1.5, 20]]
    assert d.y_train.tolist() == [0, 1]
    (tmp_path / "npz").mkdir()
    np.savez(
        tmp_path / "npz" / "unsw_nb15.npz",
        x=np.array([[0.5, 2, 0, 1, 10], [1.5, 1, 1, 0, 20], [2.5, 0, 0, 0, 30]]),
        y=np.array([0, 1, 0]),
        train_index=np.array([0, 1]),
        test_index=np.array([2]),
        feature_names=np.array(d.feature_names),
        proto_names=np.array(["sctp", "tcp", "udp"]),
        service_names=np.array(["-", "http"]),
        state_names=np.array(["FIN", "INT"]),
    )
    same = load("unsw_nb15", tmp_path / "npz")
    assert np.array_equal(same.x_train, d.x_train)
    assert np.array_equal(same.x_test, d.x_test)
    assert len(np.unique(np.concatenate([d.x_train, d.x_test])[:, 1])) == 3


def test_unsw_csv_with_a_short_line_or_text_for_a_number_is_refused(tmp_path):
    whole = UNSW_HEAD + "1,0.5,udp,-,INT,10,Normal,0\n"
    (tmp_path / "UNSW_NB15_testing-set.csv").write_text(whole)
    for text, says in (
        (whole + "2,0.5\n", "line 3 has not the 8 columns"),
        (whole.replace("0.5", "fast"), "column 'dur': could not convert"),
        ("a,b\n1,2\n", "no 'label' or 'proto' column; it has a, b"),
    ):
        (tmp_path / "UNSW_NB15_training-set.csv").write_text(text)
        with pytest.raises(DataError, match=says):
            load("unsw_nb15", tmp_path)


@pytest.mark.parametrize("arff", [True, False])
def test_jsc_loads_arff_and_csv_with_a_fixed_stratified_split(tmp_path, arff):
    rows = [f"{i}.5,{-i},{'gqtwz'[i % 5]}" for i in range(50)]
    if arff:
        head = "@relation jets\n@attribute zlogz real\n@attribute 'c1' real\n"
        head += "@attribute class {g,q,t,w,z}\n@data\n"
        (tmp_path / "hls4ml_lhc_jets_hlf.arff").write_text(head + "\n".join(rows) + "\n")
    else:
        (tmp_path / "hls4ml_lhc_jets_hlf.csv").write_text("zlogz,c1,class\n" + "\n".join(rows) + "\n")
    d = load("jsc", tmp_path)
    assert d.feature_names == ("zlogz", "c1")
    assert d.classes == tuple("gqtwz")
    assert np.bincount(d.y_test).tolist() == [2] * 5
    assert sorted(np.concatenate([d.x_train, d.x_test])[:, 0].tolist()) == [i + 0.5 for i in range(50)]
    assert np.array_equal(d.x_test[:, 0].astype(int) % 5, d.y_test)
    assert np.array_equal(load("jsc", tmp_path).x_test, d.x_test)


def test_the_thousand_jet_sample_is_labelled_as_no_benchmark(tmp_path):
    np.savez(
        tmp_path / "jsc_openml_test1000.npz",
        x_test=RNG.normal(size=(50, 16)).astype(np.float32),
        y_test=np.arange(50, dtype=np.uint8) % 5,
        feature_names=np.array(["f"] * 16),
        classes=np.array(list("gqtwz")),
    )
    d = load("jsc", tmp_path)
    assert (len(d.x_train), len(d.x_test)) == (40, 10)
    assert "INTERNAL" in d.split


def test_digits_need_no_files_and_no_frame_is_in_both_parts(tmp_path):
    d = load("digits", tmp_path)
    assert d.input_shape == (8, 8)
    assert len(d.x_train) + len(d.x_test) == 1797
    train = {x.tobytes() for x in d.x_train}
    assert not any(x.tobytes() in train for x in d.x_test)


def test_a_split_is_stratified_and_the_same_for_a_seed():
    y = np.repeat([0, 1], [90, 10])
    train, test = fixed_split(y, 0.2, 5)
    assert np.bincount(y[test]).tolist() == [18, 2]
    assert sorted([*train, *test]) == list(range(100))
    assert np.array_equal(test, fixed_split(y, 0.2, 5)[1])
    assert not np.array_equal(test, fixed_split(y, 0.2, 6)[1])


@pytest.mark.parametrize(
    ("name", "says"),
    [
        ("mnist", ["yann.lecun.com", "train-images-idx3-ubyte", "mnist.npz"]),
        ("fashion_mnist", ["zalandoresearch/fashion-mnist", "t10k-labels-idx1-ubyte"]),
        ("cifar10", ["cs.toronto.edu", "data_batch_5.bin"]),
        ("unsw_nb15", ["research.unsw.edu.au", "UNSW_NB15_training-set.csv"]),
        ("jsc", ["openml.org/d/42468", "hls4ml_lhc_jets_hlf.arff"]),
    ],
)
def test_a_missing_set_names_the_official_source_and_the_files(tmp_path, name, says):
    with pytest.raises(DataError) as e:
        load(name, tmp_path)
    assert all(s in str(e.value) for s in [*says, str(tmp_path)])


def test_damaged_files_are_refused_with_their_path(tmp_path):
    write_idx(tmp_path / "mnist", False)
    victim = tmp_path / "mnist" / "train-images-idx3-ubyte"
    whole = victim.read_bytes()
    for damaged, says in (
        (whole[:-7], "header says"),
        (b"PK" + whole, "not an IDX file"),
        (whole[:6], "cut off"),
    ):
        victim.write_bytes(damaged)
        with pytest.raises(DataError, match=f"train-images-idx3-ubyte.*{says}"):
            load("mnist", tmp_path)
    (tmp_path / "fashion_mnist.npz").write_bytes(b"nonsense")
    with pytest.raises(DataError, match=r"fashion_mnist\.npz.*not a readable"):
        load("fashion_mnist", tmp_path)
    np.savez(tmp_path / "cifar10.npz", y_train=LABELS["train"])
    with pytest.raises(DataError, match="arrays missing: d_train, d_test, y_test"):
        load("cifar10", tmp_path)


def test_wrong_shapes_and_ranges_are_all_reported_at_once(tmp_path):
    np.savez(
        tmp_path / "mnist.npz",
        x_train=IMAGES["train"],
        y_train=LABELS["train"][:3],
        x_test=IMAGES["t10k"],
        y_test=LABELS["t10k"] + 100,
    )
    with pytest.raises(DataError) as e:
        load("mnist", tmp_path)
    assert "y_train has shape (3,); expected (20,)" in str(e.value)
    assert "expected 0..9" in str(e.value)
    np.savez(
        tmp_path / "mnist.npz",
        x_train=IMAGES["train"][:, 1:],
        y_train=LABELS["train"],
        x_test=IMAGES["t10k"].astype(float),
        y_test=LABELS["t10k"],
    )
    with pytest.raises(DataError, match=r"train \(20, 27, 28\) uint8, test \(5, 28, 28\) float64"):
        load("mnist", tmp_path)


def test_a_users_loader_plugs_in_by_dotted_name_and_is_checked(tmp_path, monkeypatch):
    (tmp_path / "my_jets.py").write_text(
        "import numpy as np\n"
        "def load(folder):\n    return np.eye(4), np.arange(4) % 2, np.eye(4), np.arange(4) % 2\n"
        "def bad(folder):\n    return np.full((4, 2), np.nan), np.arange(4), np.eye(4), np.arange(4.0)\n"
        "def worse(folder):\n    return 3\n"
    )
    monkeypatch.chdir(tmp_path)
    d = load("my_jets:load", tmp_path)
    assert d.classes == ("0", "1")
    assert d.input_shape == (4,)
    with pytest.raises(DataError) as e:
        load("my_jets:bad", tmp_path)
    assert all(
        s in str(e.value) for s in ("8 NaN", "float64; expected class indices", "train frames are (2,)")
    )
    with pytest.raises(DataError, match="returned int"):
        load("my_jets:worse", tmp_path)
    with pytest.raises(ConfigError, match="has no 'lod'"):
        load("my_jets:lod", tmp_path)
    with pytest.raises(ConfigError, match="No module named 'no_such_module'"):
        load("no_such_module:load", tmp_path)
    with pytest.raises(DataError, match=r"no data set 'mnst'; known: digits, mnist"):
        load("mnst", tmp_path)


def test_made_shapes_are_the_same_for_a_seed_and_every_class_occurs():
    x, y = shapes(200, seed=5)
    again, other = shapes(200, seed=5), shapes(200, seed=6)
    assert np.array_equal(x, again[0]) and np.array_equal(y, again[1])
    assert not np.array_equal(x, other[0])
    assert (x.dtype, x.shape, y.shape) == (np.uint8, (200, 32, 32), (200, 32, 32))
    assert (np.bincount(y.ravel(), minlength=4) > 0.03 * y.size).all()
    d = load("shapes")
    assert d.input_shape == (32, 32) and d.y_test.shape == d.x_test.shape
    keep, held = fixed_split(d.y_train, 0.1, 0)
    assert len(held) == 500 and not set(keep) & set(held)
