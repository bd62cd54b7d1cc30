"""Readers of the official file formats: IDX, CIFAR binary, UNSW CSV, ARFF/CSV tables, .npz. numpy only."""

from __future__ import annotations

import csv
import gzip
import io
import struct
import zipfile
import zlib
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from hwq.errors import DataError

_IDX_TYPES = {8: "u1", 9: "i1", 11: ">i2", 12: ">i4", 13: ">f4", 14: ">f8"}


def find_all(folder: Path, names: Sequence[str]) -> list[Path] | None:
    """Paths of all `names` in a folder, each plain or with .gz; None unless every one is there."""
    found = [next((p for p in (folder / n, folder / f"{n}.gz") if p.is_file()), None) for n in names]
    return None if None in found else [p for p in found if p is not None]


def read_bytes(path: Path) -> bytes:
    """Content of a plain or .gz file. Raises DataError on a damaged archive."""
    try:
        return gzip.decompress(path.read_bytes()) if path.suffix == ".gz" else path.read_bytes()
    except (OSError, EOFError) as e:
        raise DataError(f"{path}: can't be read ({e}); fetch it again") from None


def read_npz(path: Path, needed: Sequence[str]) -> Any:
    """An open .npz with all `needed` arrays. Raises DataError naming what is missing."""
    try:
        z = np.load(path)
        names = z.files
    except (OSError, ValueError, zipfile.BadZipFile, AttributeError) as e:
        raise DataError(f"{path}: not a readable .npz ({e}); fetch it again") from None
    missing = [n for n in needed if n not in names]
    if missing:
        raise DataError(f"{path}: arrays missing: {', '.join(missing)}; it holds {', '.join(names)}")
    return z


def read_npy(path: Path, label: str) -> NDArray[Any]:
    """The one array of numbers in a .npy file; `label` says whose it is. Raises DataError on anything else."""
    try:
        x = np.load(path, allow_pickle=False)
    except OSError as e:
        raise DataError(f"{label} {path}: can't be read ({e.strerror or e})") from None
    except (ValueError, EOFError, zipfile.BadZipFile) as e:
        raise DataError(f"{label} {path}: not a readable .npy file ({e}); write it with numpy.save") from None
    if not isinstance(x, np.ndarray):
        raise DataError(f"{label} {path}: a .npz of several arrays; give one array, written with numpy.save")
    if x.dtype.kind not in "iufb":
        raise DataError(f"{label} {path}: holds values of type {x.dtype}; numbers are needed")
    return x


def npy_bytes(array: NDArray[Any]) -> bytes:
    """The content of a .npy file."""
    buffer = io.BytesIO()
    np.save(buffer, array, allow_pickle=False)
    return buffer.getvalue()


def read_idx(path: Path) -> NDArray[Any]:
    """An IDX file (format: the MNIST page): magic 0, 0, type, rank; then rank big-endian sizes; then the
    values.
    """
    raw = read_bytes(path)
    if len(raw) < 4 or raw[0] or raw[1] or raw[2] not in _IDX_TYPES:
        raise DataError(f"{path}: not an IDX file (first bytes {raw[:4].hex()})")
    rank, dtype = raw[3], np.dtype(_IDX_TYPES[raw[2]])
    if len(raw) < 4 + 4 * rank:
        raise DataError(f"{path}: cut off inside its header")
    shape = struct.unpack(f">{rank}I", raw[4 : 4 + 4 * rank])
    body = raw[4 + 4 * rank :]
    if len(body) != int(np.prod(shape)) * dtype.itemsize:
        raise DataError(
            f"{path}: header says {shape} {dtype}, {int(np.prod(shape)) * dtype.itemsize} bytes; "
            f"the file holds {len(body)}"
        )
    return np.frombuffer(body, dtype).reshape(shape).astype(dtype.newbyteorder("="))


def read_cifar_batch(path: Path) -> tuple[NDArray[np.uint8], NDArray[np.uint8]]:
    """A CIFAR-10 binary batch -> images uint8 [N, 32, 32, 3], labels uint8 [N]."""
    raw = np.frombuffer(read_bytes(path), np.uint8)
    if not len(raw) or len(raw) % 3073:
        raise DataError(f"{path}: {len(raw)} bytes are not a multiple of 3073 (label and 3x32x32 pixels)")
    rows = raw.reshape(-1, 3073)
    return np.ascontiguousarray(rows[:, 1:].reshape(-1, 3, 32, 32).transpose(0, 2, 3, 1)), rows[:, 0].copy()


def undo_cifar_residual(d: NDArray[np.uint8]) -> NDArray[np.uint8]:
    """Residuals [N, 3, 32, 32] of (R-G, G, B-G), row and column differences modulo 256 -> images [N, 32,
    32, 3].
    """
    x = d.cumsum(2, dtype=np.uint8).cumsum(3, dtype=np.uint8)
    x[:, [0, 2]] += x[:, 1:2]
    return np.ascontiguousarray(x.transpose(0, 2, 3, 1))


Table = tuple[tuple[str, ...], NDArray[np.float64], NDArray[np.int64]]


def name_codes(names: Sequence[str]) -> NDArray[np.float64]:
    """CRC-32 of each name: a code that means the same whatever file or order the name came from."""
    return np.asarray([zlib.crc32(str(n).encode()) for n in names], dtype=np.float64)


def read_unsw_csv(path: Path) -> Table:
    """An official UNSW-NB15 CSV -> (feature names, x [N, 42], y [N]); text columns as `name_codes`."""
    text = io.StringIO(read_bytes(path).decode("utf-8-sig"), newline="")
    header, *rows = [r for r in csv.reader(text) if r] or [[]]
    if "label" not in header or "proto" not in header or not rows:
        raise DataError(
            f"{path}: no rows, or no 'label' or 'proto' column; it has {', '.join(header[:8])} ..."
        )
    ragged = [i + 2 for i, r in enumerate(rows) if len(r) != len(header)]
    if ragged:
        raise DataError(f"{path}: line {ragged[0]} has not the {len(header)} columns of the header")
    columns = dict(zip(header, zip(*rows, strict=True), strict=True))
    names = tuple(h for h in header if h not in ("id", "attack_cat", "label"))
    x = np.stack([_numbers(path, name, columns[name]) for name in names], axis=1)
    return names, x, _numbers(path, "label", columns["label"]).astype(np.int64)


def _numbers(path: Path, name: str, column: Sequence[str]) -> NDArray[np.float64]:
    if name in ("proto", "service", "state"):
        return name_codes(column)
    try:
        return np.asarray(column).astype(np.float64)
    except ValueError as e:
        raise DataError(f"{path}: column '{name}': {e}") from None


def read_labelled_table(path: Path) -> tuple[tuple[str, ...], NDArray[np.float32], NDArray[Any]]:
    """An ARFF or CSV of numbers with the class as its last column -> names, x float32 [N, F], labels as
    text [N].
    """
    names: list[str] = []
    with path.open() as f:
        if path.suffix == ".arff":
            for line in f:
                word, *rest = line.split()[:2] or [""]
                if word.lower() == "@attribute":
                    names.append(rest[0].strip("'\""))
                if word.lower() == "@data":
                    break
        else:
            names = [n.strip().strip("'\"") for n in f.readline().split(",")]
        rows = [line.strip() for line in f if line.strip() and not line.startswith("%")]
    if not rows or len(names) < 2:
        raise DataError(f"{path}: no attributes or no rows found; expected an ARFF or CSV with a header")
    try:
        x = np.loadtxt(rows, delimiter=",", usecols=range(len(names) - 1), dtype=np.float32, ndmin=2)
    except ValueError as e:
        raise DataError(f"{path}: {e}") from None
    labels = np.asarray([r.rpartition(",")[2].strip().strip("'\"") for r in rows])
    return tuple(names[:-1]), x, labels
