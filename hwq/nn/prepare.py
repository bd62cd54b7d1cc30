"""From a recipe to tensors and a net: data, validation split, encoding, construction, float starts."""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
import torch
from torch import Tensor, nn

from hwq.data import Dataset, Encoding
from hwq.data import fit as fit_encoding
from hwq.data import load as load_data
from hwq.data.dataset import fixed_split
from hwq.data.plugin import resolve
from hwq.errors import ConfigError, DataError, ModelError
from hwq.nn.recipe import Recipe


@dataclass(frozen=True, eq=False)
class Split:
    """Encoded tensors on the training device: x [N, features] float32, y [N] int64."""

    x: Tensor
    y: Tensor


@dataclass(frozen=True, eq=False)
class Prepared:
    """A recipe's data, ready to train on."""

    encoding: Encoding
    train: Split
    validation: Split
    test: Split
    classes: int


def prepare(r: Recipe, data_dir: str | Path | None, device: torch.device) -> Prepared:
    """Load, split and encode a recipe's data. The encoding sees the training part alone."""
    d = load_data(r.data, data_dir)
    keep, held = fixed_split(d.y_train, r.train.validation, r.train.split_seed)
    if not len(held) or not len(keep):
        raise DataError(
            f"data set '{d.name}': {len(d.y_train)} training frames leave no validation split of "
            f"{r.train.validation:g}"
        )
    _check_outputs(r, d)
    encoding = fit_encoding(r.encoding, d.x_train[keep], d.categorical)

    def split(x: np.ndarray[Any, Any], y: np.ndarray[Any, Any]) -> Split:
        return Split(torch.from_numpy(encoding.apply(x)).to(device), torch.from_numpy(y).to(device))

    return Prepared(
        encoding,
        split(d.x_train[keep], d.y_train[keep]),
        split(d.x_train[held], d.y_train[held]),
        split(d.x_test, d.y_test),
        len(d.classes),
    )


def _check_outputs(r: Recipe, d: Dataset) -> None:
    outputs = r.layers[-1].out if r.layers else None
    need = 1 if r.head == "threshold" else len(d.classes)
    if outputs is not None and outputs != need:
        raise ConfigError(
            f"recipe '{r.name}': the last layer has out = {outputs}; data set '{d.name}' has "
            f"{len(d.classes)} classes, head '{r.head}' needs out = {need}"
        )


def build(r: Recipe, inputs: int, quantized: bool = True) -> nn.Module:
    """The recipe's net: `Class.from_recipe(recipe, inputs, quantized)` if it has that, else
    `Class(**net_args)`.
    """
    cls = resolve(r.net, "net")
    if hasattr(cls, "from_recipe"):
        return cls.from_recipe(r, inputs, quantized)
    extra = {} if quantized else {"quantized": False}
    try:
        return cls(**r.net_args, **extra)
    except TypeError as e:
        raise ConfigError(f"net '{r.net}': {e}; give its arguments in [net_args]") from None


def load_float(net: nn.Module, path: Path, device: torch.device) -> None:
    """Start from a float checkpoint: a state dict (or our own checkpoint) whose names fit the net's;
    scales stay free.
    """
    if not path.is_file():
        raise ModelError(f"init = '{path}': no such file")
    try:
        body = torch.load(path, map_location=device, weights_only=True)
    except Exception as e:  # torch raises many kinds for a damaged file
        raise ModelError(f"init = '{path}': not a torch checkpoint ({type(e).__name__}: {e})") from None
    state = next((body[k] for k in ("final", "best_state", "state_dict") if k in body), body)
    own = net.state_dict()
    wrong = [f"'{k}' is missing" for k in own if k not in state and not _is_quantizer(k)]
    wrong += [
        f"'{k}' has shape {tuple(v.shape)}, the net wants {tuple(own[k].shape)}"
        for k, v in state.items()
        if k in own and v.shape != own[k].shape
    ]
    if wrong:
        raise ModelError(f"init = '{path}' does not fit the net: " + "; ".join(wrong))
    net.load_state_dict({**own, **{k: v for k, v in state.items() if k in own}})


def _is_quantizer(name: str) -> bool:
    return "_quant." in name or name.endswith("num_batches_tracked")
