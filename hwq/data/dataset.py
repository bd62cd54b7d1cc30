"""Data sets: raw train and test frames with labels, from the official files or compact .npz copies. numpy
only.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from hwq.data import files, synthetic
from hwq.data.plugin import resolve
from hwq.errors import DataError, DataMissing


@dataclass(frozen=True, eq=False)
class Dataset:
    """x_*: raw frames [N, *input_shape], images [N, height, width(, channels)]; y_*: int64 class indices [N], or
    [N, height, width] where every pixel has one. `split` says where train and test come from.
    """

    name: str
    x_train: NDArray[Any]
    y_train: NDArray[np.int64]
    x_test: NDArray[Any]
    y_test: NDArray[np.int64]
    classes: tuple[str, ...]
    split: str = ""
    feature_names: tuple[str, ...] = ()
    categorical: tuple[int, ...] = ()  # columns that hold codes

    @property
    def input_shape(self) -> tuple[int, ...]:
        """Shape of one frame."""
        return tuple(self.x_train.shape[1:])


def default_data_dir() -> Path:
    """Where data sets are looked for unless a folder is given."""
    return Path.home() / ".cache" / "hwq" / "data"


def load(name: str, data_dir: str | Path | None = None) -> Dataset:
    """A data set by name, or by a user's loader `package.module:function`, called as function(data_dir).

    A loader returns a Dataset or (x_train, y_train, x_test, y_test). Raises DataError when files are
    missing (with the official source and the file names) or arrays have a wrong shape, type or range.
    """
    folder = default_data_dir() if data_dir is None else Path(data_dir)
    if ":" in name:
        made = resolve(name, "data")(folder)
        if isinstance(made, tuple) and len(made) == 4:
            made = _from_arrays(name, *made)
        if not isinstance(made, Dataset):
            raise DataError(
                f"data '{name}': the loader returned {type(made).__name__}; "
                "expected a Dataset or (x_train, y_train, x_test, y_test)"
            )
        return check(made)
    if name not in LOADERS:
        raise DataError(
            f"no data set '{name}'; known: {', '.join(LOADERS)}; or name a loader 'package.module:function'"
        )
    return check(LOADERS[name](folder))


def _from_arrays(name: str, x: Any, y: Any, xt: Any, yt: Any) -> Dataset:
    y, yt = np.asarray(y), np.asarray(yt)
    count = int(max(y.max(initial=0), yt.max(initial=0))) + 1 if y.dtype.kind in "iu" else 0
    return Dataset(name, np.asarray(x), y, np.asarray(xt), yt, tuple(map(str, range(count))), "the user's")


def check(d: Dataset) -> Dataset:
    """The same data with labels as int64. Raises DataError listing every wrong shape, type and range."""
    wrong = []
    for part, x, y in (("train", d.x_train, d.y_train), ("test", d.x_test, d.y_test)):
        if x.ndim < 2 or not len(x):
            wrong.append(f"x_{part} has shape {x.shape}; expected [N, features...] with N > 0")
        elif x.dtype.kind not in "iufb":
            wrong.append(f"x_{part} has type {x.dtype}; expected numbers")
        elif x.dtype.kind == "f" and not np.isfinite(x).all():
            wrong.append(f"x_{part} holds {int((~np.isfinite(x)).sum())} NaN or infinite values")
        if y.shape != (len(x),) and y.shape != x.shape[:3]:
            wrong.append(f"y_{part} has shape {y.shape}; expected ({len(x)},), or one class per pixel")
        elif y.dtype.kind not in "iub":
            wrong.append(f"y_{part} has type {y.dtype}; expected class indices")
        elif len(y) and not 0 <= int(y.min()) <= int(y.max()) < len(d.classes):
            wrong.append(f"y_{part} spans {int(y.min())}..{int(y.max())}; expected 0..{len(d.classes) - 1}")
    if d.x_train.shape[1:] != d.x_test.shape[1:]:
        wrong.append(f"train frames are {d.x_train.shape[1:]}, test frames {d.x_test.shape[1:]}")
    if wrong:
        raise DataError(f"data set '{d.name}': " + "; ".join(wrong))
    return replace(d, y_train=d.y_train.astype(np.int64), y_test=d.y_test.astype(np.int64))


def fixed_split(
    y: NDArray[np.int64], test_fraction: float, seed: int
) -> tuple[NDArray[np.int64], NDArray[np.int64]]:
    """Stratified (train, test) indices, the same on every machine for a seed. Classes per pixel are not stratified."""
    rng = np.random.default_rng(seed)
    y = y if y.ndim == 1 else np.zeros(len(y), dtype=np.int64)
    test = []
    for label in np.unique(y):
        members = rng.permutation(np.flatnonzero(y == label))
        test.append(members[: round(len(members) * test_fraction)])
    held = np.sort(np.concatenate(test))
    return np.setdiff1d(np.arange(len(y)), held), held


def _digits(_: Path) -> Dataset:
    try:
        from sklearn.datasets import load_digits
    except ImportError:
        raise DataError(
            "data set 'digits' comes with scikit-learn, which is not installed: pip install 'hwq[train]'"
        ) from None
    bunch = load_digits()
    x, y = bunch.images.astype(np.uint8), bunch.target.astype(np.int64)
    train, test = fixed_split(y, 0.2, seed=2024)
    return Dataset(
        "digits",
        x[train],
        y[train],
        x[test],
        y[test],
        tuple("0123456789"),
        f"hwq's own: {len(train)} train, {len(test)} test, stratified, fixed",
    )


_FASHION = (
    "T-shirt/top",
    "Trouser",
    "Pullover",
    "Dress",
    "Coat",
    "Sandal",
    "Shirt",
    "Sneaker",
    "Bag",
    "Ankle boot",
)
_CIFAR = ("airplane", "automobile", "bird", "cat", "deer", "dog", "frog", "horse", "ship", "truck")
_IDX = (
    "train-images-idx3-ubyte",
    "train-labels-idx1-ubyte",
    "t10k-images-idx3-ubyte",
    "t10k-labels-idx1-ubyte",
)


def _images(
    name: str, folder: Path, folders: tuple[str, ...], source: str, classes: tuple[str, ...]
) -> Dataset:
    """MNIST-like: <name>.npz, or the four IDX files (plain or .gz) in one of `folders`."""
    npz = folder / f"{name}.npz"
    if npz.is_file():
        z = files.read_npz(npz, ("x_train", "y_train", "x_test", "y_test"))
        arrays = tuple(z[k] for k in ("x_train", "y_train", "x_test", "y_test"))
    else:
        found = next(
            (paths for sub in folders if (paths := files.find_all(folder / sub, _IDX)) is not None), None
        )
        if found is None:
            raise _missing(name, folder, [f"{name}.npz", *(f"{folders[0]}/{f}[.gz]" for f in _IDX)], source)
        arrays = tuple(files.read_idx(p) for p in found)
    x, y, xt, yt = arrays
    wrong = [
        f"{part} {a.shape} {a.dtype}"
        for part, a in (("train", x), ("test", xt))
        if a.shape[1:] != (28, 28) or a.dtype != np.uint8
    ]
    if wrong:
        raise DataError(f"data set '{name}': expected uint8 images (N, 28, 28), got {', '.join(wrong)}")
    return Dataset(name, x, y, xt, yt, classes, "official")


def _mnist(folder: Path) -> Dataset:
    return _images(
        "mnist",
        folder,
        ("mnist", "MNIST/raw", "."),
        "http://yann.lecun.com/exdb/mnist (mirror: https://ossci-datasets.s3.amazonaws.com/mnist)",
        tuple("0123456789"),
    )


def _fashion(folder: Path) -> Dataset:
    return _images(
        "fashion_mnist",
        folder,
        ("fashion_mnist", "FashionMNIST/raw", "fashion"),
        "https://github.com/zalandoresearch/fashion-mnist",
        _FASHION,
    )


def _cifar10(folder: Path) -> Dataset:
    npz = folder / "cifar10.npz"
    if npz.is_file():
        z = files.read_npz(npz, ("d_train", "y_train", "d_test", "y_test"))
        x, y, xt, yt = (
            files.undo_cifar_residual(z["d_train"]),
            z["y_train"],
            files.undo_cifar_residual(z["d_test"]),
            z["y_test"],
        )
        lossy = len(z["lossy_test_index"]) if "lossy_test_index" in z.files else 0
        split = f"official; {lossy} of the test images are decoded JPEGs" if lossy else "official"
        return Dataset("cifar10", x, y, xt, yt, _CIFAR, split)
    names = [*(f"data_batch_{i}.bin" for i in range(1, 6)), "test_batch.bin"]
    found = next(
        (
            p
            for sub in ("cifar-10-batches-bin", "cifar10", ".")
            if (p := files.find_all(folder / sub, names)) is not None
        ),
        None,
    )
    if found is None:
        raise _missing(
            "cifar10",
            folder,
            ["cifar10.npz", *(f"cifar-10-batches-bin/{n}" for n in names)],
            "https://www.cs.toronto.edu/~kriz/cifar.html (binary version)",
        )
    batches = [files.read_cifar_batch(p) for p in found]
    x, y = (np.concatenate([b[i] for b in batches[:5]]) for i in (0, 1))
    return Dataset("cifar10", x, y, *batches[5], _CIFAR, "official")


def _unsw(folder: Path) -> Dataset:
    npz = folder / "unsw_nb15.npz"
    if npz.is_file():
        texts = ("proto", "service", "state")
        needed = ("x", "y", "train_index", "test_index", "feature_names", *(f"{t}_names" for t in texts))
        z = files.read_npz(npz, needed)
        names = tuple(str(n) for n in z["feature_names"])
        x, y, tr, te = z["x"].copy(), z["y"], z["train_index"], z["test_index"]
        for text in texts:  # indices into the file's own names -> codes that every source shares
            column = names.index(text)
            x[:, column] = files.name_codes(z[f"{text}_names"])[x[:, column].astype(int)]
        return Dataset(
            "unsw_nb15",
            x[tr],
            y[tr],
            x[te],
            y[te],
            ("normal", "attack"),
            "fixed split of the 82332-record partition; not comparable with figures on the official one",
            names,
            _categorical(names),
        )
    names2 = ("UNSW_NB15_training-set.csv", "UNSW_NB15_testing-set.csv")
    found = next(
        (
            p
            for sub in ("unsw_nb15", "UNSW-NB15", ".")
            if (p := files.find_all(folder / sub, names2)) is not None
        ),
        None,
    )
    if found is None:
        raise _missing(
            "unsw_nb15",
            folder,
            ["unsw_nb15.npz", *(f"unsw_nb15/{n}" for n in names2)],
            "https://research.unsw.edu.au/projects/unsw-nb15-dataset",
        )
    (names, x, y), (names_t, xt, yt) = (files.read_unsw_csv(p) for p in found)
    if names != names_t:
        raise DataError(f"data set 'unsw_nb15': {found[0].name} and {found[1].name} have different columns")
    return Dataset("unsw_nb15", x, y, xt, yt, ("normal", "attack"), "official", names, _categorical(names))


def _categorical(names: tuple[str, ...]) -> tuple[int, ...]:
    return tuple(i for i, n in enumerate(names) if n in ("proto", "service", "state"))


def _jsc(folder: Path) -> Dataset:
    source = "https://www.openml.org/d/42468 (hls4ml_lhc_jets_hlf)"
    tables = ("hls4ml_lhc_jets_hlf.arff", "hls4ml_lhc_jets_hlf.csv", "jsc.arff", "jsc.csv")
    table = next(
        (folder / sub / t for t in tables for sub in (".", "jsc") if (folder / sub / t).is_file()), None
    )
    sample = folder / "jsc_openml_test1000.npz"
    if table is not None:
        names, x, labels = files.read_labelled_table(table)
        classes = tuple(sorted(set(labels.tolist())))
        y = np.searchsorted(np.asarray(classes), labels)
        split = "hwq's own: 20 % of OpenML 42468 held out, stratified, fixed"
    elif sample.is_file():
        z = files.read_npz(sample, ("x_test", "y_test", "feature_names", "classes"))
        x, y = z["x_test"], z["y_test"].astype(np.int64)
        names, classes = tuple(map(str, z["feature_names"])), tuple(map(str, z["classes"]))
        split = "INTERNAL 800/200 split of 1000 test jets: proves the flow, compares with nothing published"
    else:
        raise _missing("jsc", folder, [tables[0], tables[1], sample.name], source)
    train, test = fixed_split(y, 0.2, seed=2024)
    return Dataset("jsc", x[train], y[train], x[test], y[test], classes, split, names)


def _shapes(_: Path) -> Dataset:
    train, test = synthetic.shapes(5000, seed=1), synthetic.shapes(1000, seed=2)
    return Dataset("shapes", *train, *test, synthetic.SHAPE_CLASSES, "made from seeds 1 and 2; a class per pixel")


LOADERS: dict[str, Callable[[Path], Dataset]] = {
    "digits": _digits,
    "mnist": _mnist,
    "fashion_mnist": _fashion,
    "cifar10": _cifar10,
    "unsw_nb15": _unsw,
    "jsc": _jsc,
    "shapes": _shapes,
}


def _missing(name: str, folder: Path, expected: list[str], source: str) -> DataMissing:
    listing = "\n".join(f"  {e}" for e in expected)
    return DataMissing(
        f"data set '{name}' is not in {folder}\nlooked for the .npz, or all of the other files:\n{listing}\n"
        f"official source: {source}\nput the files there, or give another folder with --data DIR"
    )
