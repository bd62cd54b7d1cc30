"""Recipes: what to train, as a validated TOML. A recipe is the few values that differ from the defaults
below.

`load_recipe` reports every error at once, each with its place, and refuses an unknown key with the nearest
legal one.
"""

from __future__ import annotations

import contextlib
import difflib
import hashlib
import json
import tomllib
from importlib import resources
from pathlib import Path
from types import UnionType
from typing import Any, Literal, Union, get_args, get_origin

from pydantic import BaseModel, Field, ValidationError, field_validator, model_validator

from hwq.data.encoding import check_spec
from hwq.errors import ConfigError, DataError
from hwq.nn import topology
from hwq.nn.topology import Layer, LayerDefaults, Scale, Strict

__all__ = [
    "Augment",
    "Distill",
    "Float",
    "Input",
    "Layer",
    "LayerDefaults",
    "Recipe",
    "Train",
    "hash_of",
    "load_recipe",
    "parse_recipe",
    "recipe_keys",
    "shipped_recipes",
]

FLAT_NET, IMAGE_NET = "hwq_models.nets.fc:FC", "hwq_models.nets.cnn:CNN"

# keys younger than the first recipes: left out of their hashes while nobody sets them
_YOUNGER = frozenset(
    {"kind", "from", "join", "kernel", "stride", "pad", "dilation", "groups", "factor", "share", "layout"}
    | {"label_smoothing", "augment", "distill", "amp"}
)


class Input(Strict):
    """The quantizer on the encoded input. bits 1 and signed is bipolar, 2 and narrow is ternary."""

    bits: int = Field(8, ge=1, le=16)
    signed: bool = True
    narrow: bool = True
    scale: Scale = "const"
    limit: float = Field(1.0, gt=0)
    layout: Literal["flat", "image"] | None = None  # image: frames [channels, height, width]; the CNN's default


class Augment(Strict):
    """Random changes of the training images, drawn anew every epoch; raw pixels, before the encoding."""

    crop: int = Field(0, ge=0, le=64)  # shift by up to so many pixels each way; black comes in
    flip: bool = False  # left and right, with probability 1/2


class Distill(Strict):
    """Learn from the float baseline as well (Hinton et al. 2015): loss = (1 - weight) * loss + weight * T^2 * KL."""

    weight: float = Field(0.5, gt=0, le=1)
    temperature: float = Field(4.0, gt=0)


class Train(Strict):
    """The optimisation. Learning rate is a function of the step alone, so a resumed run continues exactly."""

    epochs: int = Field(60, ge=1)
    batch: int = Field(100, ge=1)
    optimizer: Literal["adam", "adamw", "sgd"] = "adam"
    lr: float = Field(0.01, gt=0)
    scale_lr: float = Field(0.1, ge=0)  # learning rate of learned scales, as a fraction of lr
    momentum: float = Field(0.9, ge=0, lt=1)
    weight_decay: float = Field(0.0, ge=0)
    schedule: Literal["constant", "step", "cosine", "onecycle"] = "onecycle"
    milestones: tuple[int, ...] = ()
    gamma: float = Field(0.1, gt=0, le=1)
    warmup: float = Field(0.1, ge=0, lt=1)  # fraction of all steps, onecycle only
    loss: Literal["sqr_hinge", "cross_entropy"] = "cross_entropy"
    clip_weights: float = Field(0.0, ge=0)  # 0: no clipping
    weight_init: Literal["default", "uniform"] = "default"  # uniform: U(-1, 1)
    seed: int = Field(1, ge=0)
    validation: float = Field(0.1, gt=0, lt=1)
    split_seed: int = Field(0, ge=0)  # of the validation split: one for all seeds
    init: str | None = None  # float checkpoint to start from; "float": the recipe's own float baseline
    calibration: int = Field(2000, ge=1)  # training frames used to calibrate learned scales
    bn_reestimate: bool = True  # exact BatchNorm statistics over the training split, at the end
    label_smoothing: float | None = Field(None, gt=0, lt=1)  # cross_entropy only
    augment: Augment | None = None
    distill: Distill | None = None
    amp: Literal["cuda", "bfloat16"] | None = None  # bfloat16 matrix ops in training: on CUDA, or wherever it is native

    @field_validator("milestones", mode="before")
    @classmethod
    def _tuple(cls, v: Any) -> Any:
        return tuple(v) if isinstance(v, list) else v


class Float(Strict):
    """Training of the float baseline: the same net without quantizers."""

    epochs: int = Field(20, ge=1)
    lr: float = Field(0.002, gt=0)


class Recipe(Strict):
    """A whole recipe. `layers` belongs to the shipped net; another `net` takes `net_args` instead."""

    name: str = Field(pattern=r"^[A-Za-z0-9][A-Za-z0-9._-]*$")
    data: str
    net: str = FLAT_NET
    net_args: dict[str, Any] = Field({})
    head: Literal["argmax", "threshold", "logits"] = "argmax"
    target_accuracy: float | None = Field(None, ge=0, le=100)
    encoding: tuple[dict[str, Any], ...] = ({"kind": "standard"},)
    input: Input = Input()
    quant: LayerDefaults = LayerDefaults()
    layers: tuple[Layer, ...] = ()
    train: Train = Train()
    float_: Float = Field(Float(), alias="float")

    @field_validator("encoding", "layers", mode="before")
    @classmethod
    def _tuple(cls, v: Any) -> Any:
        return tuple(v) if isinstance(v, list) else v

    @field_validator("encoding")
    @classmethod
    def _known_encoding(cls, v: tuple[dict[str, Any], ...]) -> tuple[dict[str, Any], ...]:
        try:
            check_spec(v)
        except DataError as e:
            raise ValueError(str(e)) from None
        return v

    @model_validator(mode="after")
    def _consistent(self) -> Recipe:
        wrong = []
        if self.net in (FLAT_NET, IMAGE_NET) and not self.layers:
            wrong.append("layers: at least one [[layers]] table is needed by the shipped net")
        if self.net == FLAT_NET and any((n.kind or "dense") != "dense" or n.from_ or n.share for n in self.layers):
            wrong.append(f'net: layers of other kinds than dense, or with branches, need net = "{IMAGE_NET}"')
        named = self.named_layers() if self.layers else ()
        wrong += topology.check(named, self.layers, self.input.bits == 1 and self.input.signed)
        out = self.layers[-1].out if self.layers else None
        if self.head == "threshold" and out not in (None, 1):
            wrong.append(f"head 'threshold' needs one output, the last layer has out = {out}")
        if self.head == "argmax" and out == 1:
            wrong.append("head 'argmax' needs two outputs or more; use head = \"threshold\" for one")
        if self.train.loss == "cross_entropy" and out == 1:
            wrong.append("loss 'cross_entropy' needs two outputs or more; use \"sqr_hinge\"")
        if self.train.label_smoothing and self.train.loss != "cross_entropy":
            wrong.append('train.label_smoothing goes with loss = "cross_entropy"')
        if self.train.schedule == "step" and not self.train.milestones:
            wrong.append("train.schedule 'step' needs train.milestones (epochs)")
        if self.train.augment and not self.images:
            wrong.append('train.augment needs images: an image net, or input.layout = "image"')
        if wrong:
            raise ValueError("\n".join(wrong))
        return self

    @property
    def images(self) -> bool:
        """Whether the net takes frames [channels, height, width]; otherwise they are flat."""
        return (self.input.layout or ("image" if self.net == IMAGE_NET else "flat")) == "image"

    def named_layers(self) -> tuple[Layer, ...]:
        """Layers with every default filled in and a name each (fc1, conv1 ... unless named)."""
        return topology.filled(self.layers, self.quant)

    def matrix_names(self) -> tuple[str, ...]:
        """Names of the layers with weights, in order."""
        return tuple(str(n.name) for n in self.named_layers() if n.is_matrix)

    def config_hash(self) -> str:
        """Identifies the quantized training: every value of the recipe but those of the float baseline."""
        return hash_of(without_younger(self.model_dump(by_alias=True, exclude={"float_"})))

    def to_toml(self) -> str:
        """The recipe with all defaults filled in; reads back equal."""
        filled = self.model_copy(update={"layers": self.named_layers()})
        return to_toml(filled.model_dump(by_alias=True, exclude_none=True))


def without_younger(value: Any) -> Any:
    """The dump of a recipe without the keys that the first recipes did not know, where they are not set."""
    if isinstance(value, dict):
        return {k: without_younger(v) for k, v in value.items() if not (k in _YOUNGER and v is None)}
    return [without_younger(v) for v in value] if isinstance(value, (list, tuple)) else value


def hash_of(value: Any) -> str:
    """A short stable hash of a JSON-able value."""
    return hashlib.sha256(json.dumps(value, sort_keys=True, default=list).encode()).hexdigest()[:16]


def load_recipe(name_or_path: str | Path, overrides: dict[str, Any] | None = None) -> Recipe:
    """A recipe by shipped name or by path of a .toml (or of a directory that holds a recipe.toml).

    overrides: dotted keys, e.g. {"train.epochs": 3, "layers.0.weight_bits": 2}; text values are read as TOML.
    Raises ConfigError listing everything that is wrong.
    """
    path, body = recipe_keys(name_or_path)
    for key, value in (overrides or {}).items():
        _override(body, key, value)
    return parse_recipe(body, str(path))


def parse_recipe(body: dict[str, Any], place: str = "recipe") -> Recipe:
    """A recipe from a parsed TOML. Raises ConfigError listing everything that is wrong."""
    try:
        return Recipe(**body)
    except ValidationError as e:
        lines = [line for err in e.errors() for line in _explain(dict(err))]
        raise ConfigError(f"{place}: {len(lines)} error(s)\n" + "\n".join(f"  - {line}" for line in lines)) from None


def shipped_recipes() -> tuple[str, ...]:
    """Names of the recipes that come with hwq."""
    folder = resources.files("hwq_models") / "recipes"
    return tuple(sorted(f.name.removesuffix(".toml") for f in folder.iterdir() if f.name.endswith(".toml")))


def recipe_keys(name_or_path: str | Path, above: tuple[Path, ...] = ()) -> tuple[str, dict[str, Any]]:
    """Place of a recipe and its keys as written; where it names a base, over those of the base. Raises ConfigError."""
    path, text = _find(name_or_path)
    try:
        body = tomllib.loads(text)
    except tomllib.TOMLDecodeError as e:
        raise ConfigError(f"{path}: not valid TOML: {e}") from None
    here = Path(path).resolve()
    if here in above:
        raise ConfigError(f"{path}: is its own base: {' -> '.join(map(str, (*above, here)))}")
    base = body.pop("base", None)
    if base is None:
        return path, body
    if not isinstance(base, str):
        raise ConfigError(f"{path}: base: a shipped recipe or the path of a .toml is needed, got {base!r}")
    found = base if base in shipped_recipes() else Path(path).parent / base
    _, under = recipe_keys(found, (*above, here))
    under.pop("name", None)  # a variant has a name of its own
    if "layers" in body and "layers" in under:
        body["layers"] = _merged_layers(under["layers"], body["layers"], path)
    return path, _merged(under, body)


def _merged(base: dict[str, Any], body: dict[str, Any]) -> dict[str, Any]:
    """Tables key by key; any other value replaces the one of the base."""
    out = dict(base)
    for key, value in body.items():
        old = base.get(key)
        out[key] = _merged(old, value) if isinstance(value, dict) and isinstance(old, dict) else value
    return out


def _merged_layers(base: Any, changes: Any, place: str) -> list[dict[str, Any]]:
    """The layers of the base, with the keys that a layer of the same name changes."""
    for layers in (base, changes):
        if not isinstance(layers, list) or not all(isinstance(n, dict) for n in layers):
            raise ConfigError(f"{place}: layers, of it and of its base, must be tables [[layers]]")
    names = topology.names((n.get("kind"), n.get("name")) for n in base)
    if twice := next((n for n in names if names.count(n) > 1), None):
        raise ConfigError(f"{place}: two layers of its base are called '{twice}'; name them apart there")
    by_name = dict(zip(names, base, strict=True))
    for change in changes:
        name = str(change.get("name"))
        if name not in by_name:
            near = difflib.get_close_matches(name, names, 1, 0.5)
            hint = f"; did you mean '{near[0]}'?" if near else ""
            raise ConfigError(f"{place}: layer '{name}' is not in the base{hint} Its layers: {', '.join(names)}")
        by_name[name] = {**by_name[name], **change}
    return list(by_name.values())


def _find(name_or_path: str | Path) -> tuple[str, str]:
    names = shipped_recipes()
    if isinstance(name_or_path, str) and name_or_path in names:  # whatever the working directory holds of that name
        file = resources.files("hwq_models") / "recipes" / f"{name_or_path}.toml"
        return str(file), file.read_text()
    path = Path(name_or_path)
    if path.is_dir():
        path = path / "recipe.toml"
    if path.suffix == ".toml" or path.is_file():
        if not path.is_file():
            raise ConfigError(f"recipe file {path} does not exist")
        return str(path), path.read_text()
    near = difflib.get_close_matches(str(name_or_path), names, 1, 0.4)
    hint = f"; did you mean '{near[0]}'?" if near else ""
    raise ConfigError(f"no recipe '{name_or_path}'{hint} Shipped: {', '.join(names)}; or give the path of a .toml")


def _override(body: dict[str, Any], key: str, value: Any) -> None:
    if isinstance(value, str):
        with contextlib.suppress(tomllib.TOMLDecodeError):  # a bare word is a string
            value = tomllib.loads(f"v = {value}")["v"]
    *path, last = key.split(".")
    node: Any = body
    for part in path:
        if isinstance(node, list):
            if not part.isdigit() or int(part) >= len(node):
                raise ConfigError(f"override '{key}': '{part}' is not an index below {len(node)}")
            node = node[int(part)]
        else:
            node = node.setdefault(part, {})
    if isinstance(node, list) or not isinstance(node, dict):
        raise ConfigError(f"override '{key}': '{'.'.join(path)}' is not a table")
    node[last] = value


def _explain(err: dict[str, Any]) -> list[str]:
    loc = tuple(err["loc"])
    where = ".".join(str(p) for p in loc)
    if err["type"] == "extra_forbidden":
        legal = _legal_keys(loc[:-1])
        near = difflib.get_close_matches(str(loc[-1]), legal, 1, 0.5)
        hint = f"; did you mean '{near[0]}'?" if near else ""
        return [f"{where}: unknown key '{loc[-1]}'{hint} Legal keys: {', '.join(legal)}"]
    message = str(err["msg"]).removeprefix("Value error, ")
    if err["type"] == "missing":
        return [f"{where}: this key is needed"]
    got = "" if err["type"] == "value_error" else f", got {err['input']!r}"
    return [(f"{where}: " if where else "") + line + got for line in message.splitlines()]


def _legal_keys(loc: tuple[Any, ...]) -> list[str]:
    model: Any = Recipe
    for part in loc:
        if isinstance(part, int):
            continue
        field = next((f for n, f in model.model_fields.items() if (f.alias or n) == part), None)
        if field is None:
            return []
        model = _model_in(field.annotation)
    return [f.alias or n for n, f in model.model_fields.items()]


def _model_in(annotation: Any) -> Any:
    if get_origin(annotation) in (tuple, Union, UnionType):
        return next((m for a in get_args(annotation) if (m := _model_in(a))), None)
    return annotation if isinstance(annotation, type) and issubclass(annotation, BaseModel) else None


def to_toml(body: dict[str, Any]) -> str:
    """A nested dict of plain values as TOML: scalars, then tables, then arrays of tables."""
    return "\n".join(_toml_lines(body, "")).strip() + "\n"


def _toml_lines(body: dict[str, Any], prefix: str) -> list[str]:
    lines, tables = [], []
    for key, value in body.items():
        path = f"{prefix}{key}"
        if isinstance(value, dict):
            tables += ["", f"[{path}]", *_toml_lines(value, f"{path}.")] if value else []
        elif isinstance(value, (list, tuple)) and value and all(isinstance(v, dict) for v in value):
            for v in value:
                tables += ["", f"[[{path}]]", *_toml_lines(v, f"{path}.")]
        else:
            lines.append(f"{key} = {_toml_value(value)}")
    return lines + tables


def _toml_value(value: Any) -> str:
    if isinstance(value, bool):
        return "true" if value else "false"
    if isinstance(value, str):
        return json.dumps(value)
    if isinstance(value, (list, tuple)):
        return "[" + ", ".join(_toml_value(v) for v in value) + "]"
    return repr(value)
