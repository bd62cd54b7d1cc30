"""The layers of a recipe: their keys, which of them each kind takes, how they are wired, what shapes they make.

A layer takes the layer before it, or those named in `from`, joined by `join`:

    conv         out, kernel; stride 1, pad 0, dilation 1, groups 1
    depthwise    kernel; out (default: as many as come in), stride, pad, dilation
    transposed   out, kernel; stride, pad: transposed convolution
    dense        out; an image is flattened first
    max_pool     kernel; stride (default: the kernel), pad
    avg_pool     kernel; stride (default: the kernel)
    global_pool  the mean of each channel over the image
    upsample     factor: nearest neighbour
    shuffle      factor: depth to space, the channel order of ONNX "CRD" (PyTorch's PixelShuffle)
    act          nothing but the join and the activation quantizer

No torch here: the nets are built from these tables in hwq_models.nets.cnn.
"""

from __future__ import annotations

import difflib
from collections import Counter
from collections.abc import Iterable, Sequence
from typing import Any, Literal

from pydantic import BaseModel, ConfigDict, Field, field_validator

from hwq.errors import ConfigError

Scale = Literal["const", "float", "po2"]
Granularity = Literal["per_tensor", "per_channel"]
Act = Literal["signed", "relu", "none"]
Kind = Literal[
    "conv",
    "depthwise",
    "transposed",
    "dense",
    "max_pool",
    "avg_pool",
    "global_pool",
    "upsample",
    "shuffle",
    "act",
]
Shape = tuple[int, ...]  # (features,) or (channels, height, width)

INPUT = "input"  # what `from` calls the quantized input frame


class Strict(BaseModel):
    """A table of a recipe: unknown keys and wrong types are errors, values never change."""

    model_config = ConfigDict(extra="forbid", frozen=True, strict=True)


class LayerDefaults(Strict):
    """What a layer takes where it says nothing itself."""

    method: str = "uniform"
    weight_bits: int = Field(4, ge=1, le=8)
    weight_scale: Scale = "float"
    weight_granularity: Granularity = "per_tensor"
    weight_narrow: bool = True
    act: Literal["signed", "relu"] = "relu"
    act_bits: int = Field(4, ge=1, le=8)
    act_scale: Scale = "float"
    act_narrow: bool = True
    act_limit: float = Field(1.0, gt=0)
    bias: Literal["none", "float", "int"] = "none"
    norm: Literal["batch", "tensor", "none"] = "batch"
    dropout: float = Field(0.0, ge=0, lt=1)


class Layer(Strict):
    """One layer; keys of [quant] that it does not set come from there. The last layer has no activation."""

    out: int | None = Field(None, ge=1, le=65536)
    name: str | None = Field(None, pattern=r"^[A-Za-z_][A-Za-z0-9_]*$")
    method: str | None = None
    weight_bits: int | None = Field(None, ge=1, le=8)
    weight_scale: Scale | None = None
    weight_granularity: Granularity | None = None
    weight_narrow: bool | None = None
    act: Act | None = None
    act_bits: int | None = Field(None, ge=1, le=8)
    act_scale: Scale | None = None
    act_narrow: bool | None = None
    act_limit: float | None = Field(None, gt=0)
    bias: Literal["none", "float", "int"] | None = None
    norm: Literal["batch", "tensor", "none"] | None = None
    dropout: float | None = Field(None, ge=0, lt=1)
    kind: Kind | None = None  # dense
    from_: tuple[str, ...] | None = Field(None, alias="from", min_length=1)
    join: Literal["add", "concat"] | None = None
    kernel: int | tuple[int, int] | None = None
    stride: int | tuple[int, int] | None = None
    pad: int | tuple[int, int] | Literal["same"] | None = None
    dilation: int | tuple[int, int] | None = None
    groups: int | None = Field(None, ge=1)
    factor: int | None = Field(None, ge=2, le=16)
    share: str | None = None  # the layer whose activation quantizer, scale included, is this one's too

    @field_validator("from_", mode="before")
    @classmethod
    def _sources(cls, v: Any) -> Any:
        return (v,) if isinstance(v, str) else tuple(v) if isinstance(v, list) else v

    @field_validator("kernel", "stride", "pad", "dilation", mode="before")
    @classmethod
    def _pair(cls, v: Any) -> Any:
        return tuple(v) if isinstance(v, list) else v

    @field_validator("kernel", "stride", "pad", "dilation")
    @classmethod
    def _positive(cls, v: Any, info: Any) -> Any:
        least = 0 if info.field_name == "pad" else 1
        if isinstance(v, (int, tuple)) and min(pair(v)) < least:
            raise ValueError(f"must be at least {least}")
        return v

    @property
    def is_matrix(self) -> bool:
        """Whether it has weights."""
        return (self.kind or "dense") in MATRIX_KINDS

    def kernel_of(self) -> tuple[int, int]:
        return pair(self.kernel)

    def stride_of(self) -> tuple[int, int]:
        """Stride, by default 1, and the kernel for a pool."""
        pool = self.kind in ("max_pool", "avg_pool")
        return pair(self.stride if self.stride is not None else self.kernel if pool else 1)

    def dilation_of(self) -> tuple[int, int]:
        return pair(1 if self.dilation is None else self.dilation)

    def pad_of(self) -> tuple[int, int]:
        """Pixels added on both sides, (vertical, horizontal)."""
        if self.pad == "same":
            (kh, kw), (dh, dw) = self.kernel_of(), self.dilation_of()
            return dh * (kh - 1) // 2, dw * (kw - 1) // 2
        return pair(0 if self.pad is None else self.pad)


def pair(v: Any) -> tuple[int, int]:
    """One number for both directions, or two as they are."""
    return (v, v) if isinstance(v, int) else (int(v[0]), int(v[1]))


_WIRING = frozenset({"name", "kind", "from_", "join", "dropout"})
_ACT = frozenset({"act", "act_bits", "act_scale", "act_narrow", "act_limit", "share", "method"})
_WEIGHT = frozenset(
    {"out", "method", "weight_bits", "weight_scale", "weight_granularity", "weight_narrow", "bias", "norm"}
)
_OWN: dict[str, frozenset[str]] = {
    "conv": _WEIGHT | {"kernel", "stride", "pad", "dilation", "groups"},
    "depthwise": _WEIGHT | {"kernel", "stride", "pad", "dilation"},
    "transposed": _WEIGHT | {"kernel", "stride", "pad"},
    "dense": _WEIGHT,
    "max_pool": frozenset({"kernel", "stride", "pad"}),
    "avg_pool": frozenset({"kernel", "stride"}),
    "global_pool": frozenset(),
    "upsample": frozenset({"factor"}),
    "shuffle": frozenset({"factor"}),
    "act": frozenset(),
}
_NEEDED = {"conv": ("out", "kernel"), "depthwise": ("kernel",), "transposed": ("out", "kernel"), "dense": ("out",)} | {
    "max_pool": ("kernel",),
    "avg_pool": ("kernel",),
    "upsample": ("factor",),
    "shuffle": ("factor",),
}
MATRIX_KINDS = ("conv", "depthwise", "transposed", "dense")
_PREFIX = {"dense": "fc", "depthwise": "dw", "transposed": "up", "max_pool": "pool", "avg_pool": "pool"} | {
    "global_pool": "gap",
    "upsample": "upsample",
}


def legal_keys(kind: str) -> tuple[str, ...]:
    """Keys a layer of this kind may have, as written in the TOML."""
    legal = _WIRING | _ACT | _OWN[kind]
    return tuple(f.alias or n for n, f in Layer.model_fields.items() if n in legal)


def names(layers: Iterable[tuple[str | None, str | None]]) -> tuple[str, ...]:
    """A name for each layer, given as (kind, its own name or None): fc1, conv1, conv2, pool1 ... unless named."""
    out: list[str] = []
    count: Counter[str] = Counter()
    for kind, name in layers:
        prefix = _PREFIX.get(kind or "dense", kind or "dense")
        count[prefix] += 1
        out.append(name or f"{prefix}{count[prefix]}")
    return tuple(out)


def filled(layers: Sequence[Layer], defaults: LayerDefaults) -> tuple[Layer, ...]:
    """The layers with every default written in and a name each."""
    out: list[Layer] = []
    for layer, name in zip(layers, names((n.kind, n.name) for n in layers), strict=True):
        kind = layer.kind or "dense"
        own = layer.model_dump(exclude_none=True, by_alias=True)
        values = defaults.model_dump()
        legal = set(legal_keys(kind))
        if kind not in MATRIX_KINDS:
            values["dropout"] = 0.0
            if kind != "act" and layer.act is None and layer.share is None:
                values["act"] = "none"
        if layer.share is not None or own.get("act", values["act"]) == "none":
            legal -= {k for k in _ACT if k.startswith("act_")}
        if layer.share is not None:
            legal -= {"act"}
        base = {k: v for k, v in values.items() if k in legal}
        out.append(Layer(**{**base, **own, "name": name}))
    return tuple(out)


def sources(layers: Sequence[Layer]) -> tuple[tuple[str, ...], ...]:
    """The names each (named) layer takes its input from."""
    return tuple(layer.from_ or ((str(layers[i - 1].name),) if i else (INPUT,)) for i, layer in enumerate(layers))


def check(layers: Sequence[Layer], own: Sequence[Layer], input_bipolar: bool) -> list[str]:
    """Everything that is wrong with the wiring of `layers` (filled), one line each; `own`: as the user wrote them."""
    wrong = [line for i, layer in enumerate(own) for line in _check_keys(i, layer)]
    taken = [str(n.name) for n in layers]
    wrong += [f"layers: the name '{n}' is used twice" for n in sorted({n for n in taken if taken.count(n) > 1})]
    wrong += [f"layers: the name '{INPUT}' is taken by the input frame"] if INPUT in taken else []
    if wrong:
        return wrong
    grid: dict[str, str] = {INPUT: "bipolar" if input_bipolar else "zero"}
    used: set[str] = set()
    for i, (layer, froms) in enumerate(zip(layers, sources(layers), strict=True)):
        where, last = f"layers.{i} ('{layer.name}')", i == len(layers) - 1
        known = [f for f in froms if f in grid]
        wrong += [_unknown_source(where, f, grid, taken) for f in froms if f not in grid]
        used |= set(froms)
        if len(froms) > 1 and layer.join is None:
            wrong.append(f'{where}: takes {len(froms)} layers; say join = "add" or "concat"')
        if len(froms) == 1 and layer.join is not None:
            wrong.append(f"{where}: join = \"{layer.join}\" needs two names or more in 'from'")
        bipolar = [f for f in known if grid[f] == "bipolar"]
        if layer.is_matrix and max(layer.pad_of() if layer.kind != "dense" else (0,)) and bipolar:
            wrong.append(
                f"{where}: pad = {_show(layer.pad)} puts real zeros around its input, which '{bipolar[0]}' can't "
                'hold: it is bipolar (-1 and +1 alone); use pad = 0, act = "relu", or act_bits = 2 there'
            )
        grid[str(layer.name)], problem = _grid(layer, [grid[f] for f in known], layers[:i], last)
        wrong += [f"{where}: {problem}"] if problem else []
    idle = [n for n in taken[:-1] if n not in used]
    wrong += [f"layers: '{n}' feeds nothing; name it in a later layer's 'from', or leave it out" for n in idle]
    return wrong


def _check_keys(i: int, layer: Layer) -> list[str]:
    kind = layer.kind or "dense"
    legal = legal_keys(kind)
    wrong = []
    for key in layer.model_dump(exclude_none=True, by_alias=True):
        if key not in legal:
            near = difflib.get_close_matches(key, legal, 1, 0.6)
            hint = f"; did you mean '{near[0]}'?" if near else ""
            wrong.append(f"layers.{i}.{key}: kind '{kind}' has no key '{key}'{hint} Legal keys: {', '.join(legal)}")
    wrong += [
        f"layers.{i}.{key}: this key is needed by kind '{kind}'"
        for key in _NEEDED.get(kind, ())
        if getattr(layer, key) is None
    ]
    if layer.pad == "same" and layer.kernel is not None and not all(k % 2 for k in layer.kernel_of()):
        wrong.append(f'layers.{i}.pad: "same" needs an odd kernel, got {_show(layer.kernel)}; give pad in pixels')
    half = kind != "max_pool" or layer.kernel is None
    half = half or all(2 * p <= k for p, k in zip(layer.pad_of(), layer.kernel_of(), strict=True))
    wrong += [] if half else [f"layers.{i}.pad: a pool's pad is at most half its kernel {_show(layer.kernel)}"]
    if layer.share is not None:
        both = [k for k in ("act", "act_bits", "act_scale", "act_narrow", "act_limit") if getattr(layer, k) is not None]
        wrong += [f"layers.{i}.{k}: comes from '{layer.share}' by 'share'; leave one of them out" for k in both]
    return wrong


def _unknown_source(where: str, name: str, grid: dict[str, str], names: list[str]) -> str:
    if name in names:
        return f"{where}: from '{name}', which is not an earlier layer; layers stand in the order of computation"
    near = difflib.get_close_matches(name, list(grid), 1, 0.4)
    hint = f"; did you mean '{near[0]}'?" if near else ""
    return f"{where}: from '{name}', which no layer is called{hint} Earlier ones: {', '.join(grid)}"


def _grid(layer: Layer, coming: list[str], earlier: Sequence[Layer], last: bool) -> tuple[str, str | None]:
    """What the layer's output can hold ("zero": real zero among others, "bipolar", "free": not quantized), and a
    problem.
    """
    if last:
        if layer.share is not None:
            return "free", "the last layer has no activation; leave 'share' out"
        return "free", None
    act = layer
    if layer.share is not None:
        found = next((n for n in earlier if n.name == layer.share), None)
        if found is None or found.share is not None or found.act == "none":
            return "zero", f"share = '{layer.share}' is not an earlier layer with an activation quantizer of its own"
        act = found
    if act.act == "none":
        if layer.is_matrix:
            return "zero", 'act = "none" leaves it unquantized; only the last layer may be, so give it an activation'
        if layer.kind == "act":
            return "zero", "kind 'act' is an activation quantizer; act = \"none\" makes it nothing"
        return ("bipolar" if "bipolar" in coming else "zero"), None
    return ("bipolar" if act.act == "signed" and act.act_bits == 1 else "zero"), None


def _show(v: Any) -> str:
    return str(list(v)) if isinstance(v, tuple) else f'"{v}"' if isinstance(v, str) else str(v)


def shapes(layers: Sequence[Layer], frame: Shape, place: str) -> dict[str, Shape]:
    """Output shape of every (filled) layer for an input frame (features,) or (channels, height, width).

    Raises ConfigError listing every layer that does not fit what comes in.
    """
    known: dict[str, Shape] = {INPUT: frame}
    wrong: list[str] = []
    for i, (layer, froms) in enumerate(zip(layers, sources(layers), strict=True)):
        try:
            known[str(layer.name)] = output_shape(layer, [known[f] for f in froms if f in known])
        except ValueError as e:
            wrong.append(f"layers.{i} ('{layer.name}'): {e}")
            break  # what follows would only repeat it
    if wrong:
        raise ConfigError(f"{place}: for frames of shape {frame}\n" + "\n".join(f"  - {w}" for w in wrong))
    return known


def joined_shape(layer: Layer, coming: Sequence[Shape]) -> Shape:
    """Shape of a layer's input. Raises ValueError if the shapes can't be joined."""
    first = coming[0]
    if layer.join == "concat":
        if len({s[1:] for s in coming}) > 1:
            raise ValueError(f"can't concat {', '.join(map(str, coming))}: all but the channels must agree")
        return (sum(s[0] for s in coming), *first[1:])
    if len(set(coming)) > 1:
        raise ValueError(f"can't add {', '.join(map(str, coming))}: shapes must agree")
    return first


def output_shape(layer: Layer, coming: Sequence[Shape]) -> Shape:
    """Shape a layer makes of its inputs' shapes. Raises ValueError if they do not fit."""
    x = joined_shape(layer, coming)
    kind = layer.kind or "dense"
    if kind == "dense":
        return (int(layer.out or 0),)
    if kind == "act":
        return x
    if len(x) != 3:
        raise ValueError(f"kind '{kind}' needs an image, what comes in is flat {x}")
    c, h, w = x
    if kind == "global_pool":
        return (c,)
    if kind == "upsample":
        return c, h * int(layer.factor or 1), w * int(layer.factor or 1)
    if kind == "shuffle":
        f = int(layer.factor or 1)
        if c % (f * f):
            raise ValueError(f"{c} channels are not a multiple of factor squared, {f * f}")
        return c // (f * f), h * f, w * f
    groups = c if kind == "depthwise" else layer.groups or 1
    out = int(layer.out or c)
    if kind in ("max_pool", "avg_pool"):
        out, groups = c, 1
    if c % groups or out % groups:
        raise ValueError(f"groups = {groups} must divide both the {c} channels that come in and out = {out}")
    size = [_side(kind, n, *s) for n, s in zip((h, w), _windows(layer), strict=True)]
    if min(size) < 1:
        raise ValueError(
            f"kernel {_show(layer.kernel)} with pad {_show(layer.pad or 0)} does not fit the {h} x {w} image; "
            "make it smaller, or pad"
        )
    return out, size[0], size[1]


def _windows(layer: Layer) -> list[tuple[int, int, int, int]]:
    """(kernel, stride, pad, dilation) per direction."""
    return list(zip(layer.kernel_of(), layer.stride_of(), layer.pad_of(), layer.dilation_of(), strict=True))


def _side(kind: str, n: int, k: int, s: int, p: int, d: int) -> int:
    if kind == "transposed":
        return (n - 1) * s - 2 * p + k
    return (n + 2 * p - d * (k - 1) - 1) // s + 1
