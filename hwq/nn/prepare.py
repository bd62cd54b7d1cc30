"""From a recipe to tensors and a net: data, validation split, encoding, construction, float starts."""

from __future__ import annotations

from dataclasses import dataclass, replace
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
from hwq.nn.images import Images
from hwq.nn.recipe import Recipe
from hwq.nn.topology import Shape, shapes


@dataclass(frozen=True, eq=False)
class Split:
    """Encoded frames on the training device: x [N, features] float32, or images [N, channels, height, width];
    y int64 [N], or [N, height, width] with a class per pixel.
    """

    x: Tensor | Images
    y: Tensor


@dataclass(frozen=True, eq=False)
class Prepared:
    """A recipe's data, ready to train on."""

    encoding: Encoding
    train: Split
    validation: Split
    test: Split
    classes: int

    @property
    def frame(self) -> Shape:
        """Shape of one frame as the net takes it."""
        return tuple(self.train.x.shape[1:])


def prepare(r: Recipe, data_dir: str | Path | None, device: torch.device) -> Prepared:
    """Load, split and encode a recipe's data. The encoding sees the training part alone."""
    d = load_data(r.data, data_dir)
    keep, held = fixed_split(d.y_train, r.train.validation, r.train.split_seed)
    if not len(held) or not len(keep):
        raise DataError(
            f"data set '{d.name}': {len(d.y_train)} training frames leave no validation split of {r.train.validation:g}"
        )
    if r.train.augment and d.y_train.ndim > 1:
        raise ConfigError(
            f"recipe '{r.name}': every pixel has a class, which train.augment would leave behind; leave it out"
        )
    encoding = fit_encoding(r.encoding, d.x_train[keep], d.categorical)
    if r.images:
        encoding = replace(encoding, shape=_image_shape(d, encoding.outputs))
    _check_outputs(r, d, encoding)

    def split(x: np.ndarray[Any, Any], y: np.ndarray[Any, Any]) -> Split:
        return Split(_frames(encoding, x, device), torch.from_numpy(y).to(device))

    return Prepared(
        encoding,
        split(d.x_train[keep], d.y_train[keep]),
        split(d.x_train[held], d.y_train[held]),
        split(d.x_test, d.y_test),
        len(d.classes),
    )


def net_frame(encoding: Encoding) -> Shape:
    """Shape of one encoded frame as a net takes it: (features,), or (channels, height, width)."""
    if not encoding.shape:
        return (encoding.outputs,)
    height, width, channels = encoding.shape
    return channels, height, width


def _image_shape(d: Dataset, outputs: int) -> Shape:
    if len(d.input_shape) not in (2, 3):
        raise ConfigError(
            f"data set '{d.name}': frames of shape {d.input_shape} are not images [height, width(, channels)]; "
            "an image net can't take them"
        )
    height, width = d.input_shape[:2]
    return height, width, outputs // (height * width)


def _frames(encoding: Encoding, x: np.ndarray[Any, Any], device: torch.device) -> Tensor | Images:
    if not encoding.shape:
        return torch.from_numpy(encoding.apply(x)).to(device)
    table = encoding.table() if x.dtype == np.uint8 else None
    raw = torch.from_numpy(np.ascontiguousarray(x) if table is not None else encoding.apply(x))
    rows = raw.reshape(len(raw), *encoding.shape).to(device)
    return Images(rows.permute(0, 3, 1, 2), None if table is None else torch.from_numpy(table).to(device))


def _check_outputs(r: Recipe, d: Dataset, encoding: Encoding) -> None:
    if not r.layers:
        return
    out = shapes(r.named_layers(), net_frame(encoding), f"recipe '{r.name}'")[str(r.named_layers()[-1].name)]
    need: Shape = (1 if r.head == "threshold" else len(d.classes), *d.y_train.shape[1:])
    if out == need:
        return
    if len(need) == len(out) == 1:
        raise ConfigError(
            f"recipe '{r.name}': the last layer has out = {out[0]}; data set '{d.name}' has "
            f"{len(d.classes)} classes, head '{r.head}' needs out = {need[0]}"
        )
    raise ConfigError(
        f"recipe '{r.name}': the last layer puts out {out}; data set '{d.name}' with {len(d.classes)} classes and "
        f"labels of shape {d.y_train.shape[1:]} needs {need}"
    )


def build(r: Recipe, frame: Shape, quantized: bool = True) -> nn.Module:
    """The recipe's net: `Class.from_recipe(recipe, frame, quantized)` if it has that, else
    `Class(**net_args)`. frame: shape of one encoded frame.
    """
    cls = resolve(r.net, "net")
    if hasattr(cls, "from_recipe"):
        return cls.from_recipe(r, frame, quantized)
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
    take_float(net, state, f"init = '{path}'")


def take_float(net: nn.Module, state: dict[str, Tensor], place: str) -> None:
    """Load a float net's parameters and statistics; quantizers stay as they are. Raises ModelError where names or
    shapes differ.
    """
    own = net.state_dict()
    wrong = [f"'{k}' is missing" for k in own if k not in state and not _is_quantizer(k)]
    wrong += [
        f"'{k}' has shape {tuple(v.shape)}, the net wants {tuple(own[k].shape)}"
        for k, v in state.items()
        if k in own and v.shape != own[k].shape
    ]
    if wrong:
        raise ModelError(f"{place} does not fit the net: " + "; ".join(wrong))
    net.load_state_dict({**own, **{k: v for k, v in state.items() if k in own}})


def _is_quantizer(name: str) -> bool:
    return "_quant." in name or name.endswith("num_batches_tracked")
