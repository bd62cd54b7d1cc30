"""Feature encodings: raw features -> the float32 vector a network is fed, fitted on the training split alone.

A spec is a chain of steps, each a table with a `kind` (the recipe's [[encoding]]). The host applies the
fitted encoding before the network's input quantizer. Computed in float64, handed over as float32.

    scale        (x - lo) / (hi - lo) with given lo, hi; `symmetric` maps to [-1, 1]
    minmax       the same with each feature's training range, clipped
    standard     (x - mean) / std of each feature, clipped to `clip` deviations
    thermometer  `levels` bits a feature, bit i = (x >= t_i); t by quantiles of the training values, or
                 uniform
    onehot       one bit per code that occurs at least `min_count` times; any other code sets none
    binarize     one-hot of the categorical columns, then thermometers of the others sharing `width` bits
                 in all
    bipolar      0/1 -> -1/+1
"""

from __future__ import annotations

import difflib
import json
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np
from numpy.typing import NDArray

from hwq.errors import DataError

SCHEMA_VERSION = 1
Floats = NDArray[np.float64]

# steps that treat every value alike, so that bytes can go through a table
POINTWISE = frozenset({"scale", "bipolar"})

# kind -> keys with their defaults; a default of None marks a key that must be given
KINDS: dict[str, dict[str, Any]] = {
    "scale": {"lo": 0.0, "hi": None, "symmetric": False},
    "minmax": {"symmetric": False},
    "standard": {"clip": 8.0},
    "thermometer": {"levels": None, "mode": "quantile"},
    "onehot": {"min_count": 1},
    "binarize": {"width": None, "min_count": 1, "mode": "quantile"},
    "bipolar": {},
}


def check_spec(spec: Sequence[Mapping[str, Any]]) -> None:
    """Raises DataError listing everything that is wrong with an encoding spec."""
    wrong = [w for i, step in enumerate(spec) for w in _check_step(f"encoding[{i}]", step)]
    if wrong:
        raise DataError("; ".join(wrong))


def _check_step(where: str, step: Mapping[str, Any]) -> list[str]:
    kind = step.get("kind")
    if kind not in KINDS:
        return [f"{where}: kind {kind!r} is unknown{_near(str(kind), KINDS)}; known: {', '.join(KINDS)}"]
    keys = KINDS[kind]
    wrong = [
        f"{where}: unknown key '{k}' of '{kind}'{_near(k, keys)}; legal keys: {', '.join(keys) or 'none'}"
        for k in step
        if k != "kind" and k not in keys
    ]
    wrong += [f"{where}: '{kind}' needs '{k}'" for k, v in keys.items() if v is None and k not in step]
    for k, v in step.items():
        if k == "mode" and v not in ("quantile", "uniform"):
            wrong.append(f"{where}: mode {v!r} is neither 'quantile' nor 'uniform'")
        if k in ("levels", "width", "min_count") and not (isinstance(v, int) and v >= 1):
            wrong.append(f"{where}: {k} = {v!r} is not a positive integer")
        if k in ("lo", "hi", "clip") and (isinstance(v, bool) or not isinstance(v, (int, float))):
            wrong.append(f"{where}: {k} = {v!r} is not a number")
    if kind == "scale" and not wrong and step["hi"] <= step.get("lo", 0.0):
        wrong.append(f"{where}: hi = {step['hi']} is not above lo = {step.get('lo', 0.0)}")
    return wrong


def _near(word: str, legal: Mapping[str, Any]) -> str:
    near = difflib.get_close_matches(word, list(legal), 1, 0.5)
    return f"; did you mean '{near[0]}'?" if near else ""


def _without_ones(shape: tuple[int, ...]) -> tuple[int, ...]:
    return tuple(n for n in shape if n > 1)


@dataclass(frozen=True)
class Encoding:
    """A fitted chain. steps: (kind, fitted parameters) pairs; `inputs` raw features, `outputs` encoded
    ones. shape: of an encoded frame that is an image, (height, width, channels), as its features lie.
    """

    inputs: int
    outputs: int
    steps: tuple[tuple[str, dict[str, Any]], ...]
    shape: tuple[int, ...] = ()

    def table(self) -> NDArray[np.float32] | None:
        """What each byte 0..255 is encoded as, float32 [256]; None if features are treated differently."""
        if any(kind not in POINTWISE for kind, _ in self.steps):
            return None
        column = np.arange(256, dtype=np.float64)[:, None]
        for kind, params in self.steps:
            column = _APPLY[kind](params, column)
        return column[:, 0].astype(np.float32)

    def apply(self, x: NDArray[Any]) -> NDArray[np.float32]:
        """Raw frames [N, ...] (flattened to `inputs` features) -> float32 [N, outputs]. Raises DataError
        on a wrong shape.
        """
        raw = np.asarray(x)
        rows = raw.reshape(len(raw), -1)
        if rows.shape[1] != self.inputs:
            raise DataError(
                f"encoding: frames of {rows.shape[1]} features (shape {raw.shape[1:]}); "
                f"it was fitted on {self.inputs}"
            )
        table = self.table() if raw.dtype == np.uint8 else None
        if table is not None:
            return table[rows]
        flat = rows.astype(np.float64)
        for kind, params in self.steps:
            flat = _APPLY[kind](params, flat)
        return np.ascontiguousarray(flat, dtype=np.float32)

    def network_frames(self, x: NDArray[Any]) -> NDArray[np.float32]:
        """Raw frames -> what the network takes: `apply`, and images as [N, C, H, W], the order of its ONNX input.

        Raw images are [N, H, W, C], or flat. Raises DataError for a frame of another shape.
        """
        given = np.shape(x)[1:]
        if self.shape and len(given) > 1 and _without_ones(given) != _without_ones(self.shape):
            raise DataError(
                f"encoding: frames of shape {given}; raw images are (height, width, channels) {self.shape}, or flat in "
                "that order; move the axes with numpy.transpose"
            )
        y = self.apply(x)
        return y.reshape(len(y), *self.shape).transpose(0, 3, 1, 2) if self.shape else y

    def to_json(self) -> str:
        """JSON text; floats as shortest exact decimals, so `from_json` gives back an equal encoding."""
        body = {
            "schema_version": SCHEMA_VERSION,
            "inputs": self.inputs,
            "outputs": self.outputs,
            **({"shape": list(self.shape)} if self.shape else {}),
            "steps": [{"kind": k, **p} for k, p in self.steps],
        }
        return json.dumps(body) + "\n"

    @staticmethod
    def from_json(text: str | bytes, where: str = "encoding") -> Encoding:
        """Inverse of `to_json`. Raises DataError on anything else, in the name of `where`."""
        try:
            body = json.loads(text)
            if body["schema_version"] != SCHEMA_VERSION:
                raise DataError(
                    f"{where}: schema_version {body['schema_version']}, this hwq reads {SCHEMA_VERSION}"
                )
            steps = tuple((s["kind"], {k: v for k, v in s.items() if k != "kind"}) for s in body["steps"])
            unknown = [k for k, _ in steps if k not in _APPLY]
            if unknown:
                raise DataError(f"{where}: unknown kinds {', '.join(unknown)}; known: {', '.join(_APPLY)}")
            shape = tuple(int(n) for n in body.get("shape", ()))
            return Encoding(int(body["inputs"]), int(body["outputs"]), steps, shape)
        except (ValueError, KeyError, TypeError) as e:
            raise DataError(f"{where}: not an encoding file ({e}); train the model again") from None


def fit(spec: Sequence[Mapping[str, Any]], x: NDArray[Any], categorical: Sequence[int] = ()) -> Encoding:
    """Fit a chain on training frames x [N, ...]. categorical: columns that hold codes (for `binarize`).

    Raises DataError on a bad spec, an empty set, or values that are not finite.
    """
    check_spec(spec)
    frames = np.asarray(x).reshape(len(x), -1)
    if not len(frames):
        raise DataError("encoding: no training frames to fit on")
    if frames.dtype == np.uint8 and all(step["kind"] in POINTWISE for step in spec):
        one = fit(spec, np.unique(frames)[:, None].astype(np.float64))  # of the values that occur alone
        return Encoding(frames.shape[1], frames.shape[1], one.steps)
    flat = frames.astype(np.float64)
    if not np.isfinite(flat).all():
        raise DataError(f"encoding: {int((~np.isfinite(flat)).sum())} training values are NaN or infinite")
    inputs, steps = flat.shape[1], []
    for table in spec:
        kind = str(table["kind"])
        params = _FIT[kind]({**KINDS[kind], **table}, flat, tuple(categorical))
        flat = _APPLY[kind](params, flat)
        steps.append((kind, params))
    return Encoding(inputs, flat.shape[1], tuple(steps))


def _fit_scale(spec: Mapping[str, Any], x: Floats, _: tuple[int, ...]) -> dict[str, Any]:
    lo, hi = float(spec["lo"]), float(spec["hi"])
    if x.min() < lo or x.max() > hi:
        raise DataError(
            f"encoding 'scale': training values span {x.min():g}..{x.max():g}, "
            f"outside lo..hi = {lo:g}..{hi:g}"
        )
    return {"lo": [lo], "hi": [hi], "symmetric": bool(spec["symmetric"])}


def _fit_minmax(spec: Mapping[str, Any], x: Floats, _: tuple[int, ...]) -> dict[str, Any]:
    return {"lo": x.min(0).tolist(), "hi": x.max(0).tolist(), "symmetric": bool(spec["symmetric"])}


def _apply_range(p: dict[str, Any], x: Floats) -> Floats:
    lo, hi = np.asarray(p["lo"]), np.asarray(p["hi"])
    unit = np.clip((x - lo) / np.where(hi > lo, hi - lo, 1.0), 0.0, 1.0)
    return unit * 2.0 - 1.0 if p["symmetric"] else unit


def _fit_standard(spec: Mapping[str, Any], x: Floats, _: tuple[int, ...]) -> dict[str, Any]:
    std = x.std(0)
    return {
        "mean": x.mean(0).tolist(),
        "std": np.where(std > 0, std, 1.0).tolist(),
        "clip": float(spec["clip"]),
    }


def _apply_standard(p: dict[str, Any], x: Floats) -> Floats:
    return np.clip((x - np.asarray(p["mean"])) / np.asarray(p["std"]), -p["clip"], p["clip"])


def _thresholds(column: Floats, count: int, mode: str) -> list[float]:
    """At most `count` distinct ascending thresholds above the column's minimum, so no bit is constant in
    training.
    """
    distinct = np.unique(column)
    if mode == "uniform":
        lo, hi = distinct[0], distinct[-1]
        return np.unique(lo + (hi - lo) * np.arange(1, count + 1) / count).tolist() if hi > lo else []
    if len(distinct) - 1 <= count:
        return distinct[1:].tolist()
    chosen = np.unique(np.quantile(column, np.arange(1, count + 1) / (count + 1), method="higher"))
    chosen = chosen[chosen > distinct[0]]
    # many equal values leave quantiles unused: spread the rest evenly over the other distinct values
    others = np.setdiff1d(distinct[1:], chosen)
    rest = count - len(chosen)
    extra = others[(np.arange(rest) * len(others)) // max(rest, 1)] if rest else others[:0]
    return np.union1d(chosen, extra).tolist()


def _fit_thermometer(spec: Mapping[str, Any], x: Floats, _: tuple[int, ...]) -> dict[str, Any]:
    rows = [_thresholds(x[:, i], spec["levels"], spec["mode"]) for i in range(x.shape[1])]
    # every feature gets `levels` bits; thresholds no value reaches keep the width
    return {"thresholds": [r + [float(np.finfo(np.float64).max)] * (spec["levels"] - len(r)) for r in rows]}


def _apply_thermometer(p: dict[str, Any], x: Floats) -> Floats:
    rows = [np.asarray(t) for t in p["thresholds"]]
    return np.concatenate([x[:, i, None] >= t for i, t in enumerate(rows)], axis=1).astype(np.float64)


def _codes(column: Floats, min_count: int) -> list[float]:
    values, counts = np.unique(column, return_counts=True)
    return values[counts >= min_count].tolist()


def _fit_onehot(spec: Mapping[str, Any], x: Floats, _: tuple[int, ...]) -> dict[str, Any]:
    return {"codes": [_codes(x[:, i], spec["min_count"]) for i in range(x.shape[1])]}


def _apply_onehot(p: dict[str, Any], x: Floats) -> Floats:
    rows = [np.asarray(c) for c in p["codes"]]
    return np.concatenate([x[:, i, None] == c for i, c in enumerate(rows)], axis=1).astype(np.float64)


def _fit_binarize(spec: Mapping[str, Any], x: Floats, categorical: tuple[int, ...]) -> dict[str, Any]:
    numeric = [i for i in range(x.shape[1]) if i not in categorical]
    codes = [_codes(x[:, i], spec["min_count"]) for i in categorical]
    room = spec["width"] - sum(len(c) for c in codes)
    most = [len(np.unique(x[:, i])) - 1 for i in numeric]
    if room < 0 or room > sum(most):
        raise DataError(
            f"encoding 'binarize': width = {spec['width']} can't be met; one-hot codes take "
            f"{spec['width'] - room} bits and thermometers at most {sum(most)}"
        )
    share = _share(room, most)
    return {
        "categorical": list(categorical),
        "codes": codes,
        "numeric": numeric,
        "thresholds": [
            _thresholds(x[:, i], n, spec["mode"]) if n else [] for i, n in zip(numeric, share, strict=True)
        ],
        "width": spec["width"],
    }


def _share(room: int, most: Sequence[int]) -> list[int]:
    """Split `room` bits over features as evenly as each one's number of distinct values allows."""
    share = [0] * len(most)
    while room:
        open_ = [i for i, m in enumerate(most) if share[i] < m]
        for i in open_[:room] if room < len(open_) else open_:
            share[i] += 1
            room -= 1
    return share


def _apply_binarize(p: dict[str, Any], x: Floats) -> Floats:
    out = np.zeros((len(x), p["width"]))
    at = 0
    for columns, rows, compare in (
        (p["categorical"], p["codes"], np.equal),
        (p["numeric"], p["thresholds"], np.greater_equal),
    ):
        for column, row in zip(columns, rows, strict=True):
            out[:, at : at + len(row)] = compare(x[:, column, None], np.asarray(row))
            at += len(row)
    return out


def _fit_bipolar(_: Mapping[str, Any], x: Floats, __: tuple[int, ...]) -> dict[str, Any]:
    if not np.isin(x, (0.0, 1.0)).all():
        raise DataError(
            "encoding 'bipolar': needs 0/1 features; put a thermometer, onehot or binarize step before it"
        )
    return {}


def _apply_bipolar(_: dict[str, Any], x: Floats) -> Floats:
    return x * 2.0 - 1.0


_FIT = {
    "scale": _fit_scale,
    "minmax": _fit_minmax,
    "standard": _fit_standard,
    "thermometer": _fit_thermometer,
    "onehot": _fit_onehot,
    "binarize": _fit_binarize,
    "bipolar": _fit_bipolar,
}
_APPLY = {
    "scale": _apply_range,
    "minmax": _apply_range,
    "standard": _apply_standard,
    "thermometer": _apply_thermometer,
    "onehot": _apply_onehot,
    "binarize": _apply_binarize,
    "bipolar": _apply_bipolar,
}
