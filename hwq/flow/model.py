"""MODEL as a user writes it: a run directory, a shipped model's name, or any QONNX file."""

from __future__ import annotations

import tomllib
from collections.abc import Iterable
from dataclasses import dataclass, field
from importlib import resources
from pathlib import Path
from typing import Any

from hwq import record
from hwq.data import Encoding
from hwq.errors import ModelError
from hwq.frontend.qonnx import load_bytes
from hwq.record import Record

FILES = ("model.onnx", "model.onnx.xz")


@dataclass(frozen=True)
class Model:
    """A model at hand. `onnx_bytes` is plain ONNX; recipe, encoding and records are empty for a bare QONNX
    file.
    """

    name: str
    onnx_bytes: bytes
    recipe: dict[str, Any] | None = None
    encoding: Encoding | None = None
    dir: Path | None = None
    records: tuple[Record, ...] = field(default=())
    where: str = "model"  # what a message calls it

    def companions(self) -> dict[str, str | bytes]:
        """The files of the model directory that travel with a build: {file name: content}."""
        if self.dir is None:
            return {}
        names = ("recipe.toml", "encoding.json")
        return {n: (self.dir / n).read_bytes() for n in names if (self.dir / n).is_file()}


def shipped() -> list[str]:
    """Names of the trained models that come with hwq."""
    return sorted(p.name for p in _trained().glob("*/") if any((p / f).is_file() for f in FILES))


def load_model(spec: str | Path) -> Model:
    """Read a run directory, a shipped model (by name, or as models/trained/<name>), an .onnx or an .onnx.xz
    file.

    Raises ModelError naming what was looked for and what exists.
    """
    path = Path(spec)
    if path.is_dir():
        return _from_dir(path)
    if path.is_file():
        raw, where = load_bytes(path)
        return Model(path.name.removesuffix(".xz").removesuffix(".onnx"), raw, where=where)
    name = path.name if str(path.parent) in (".", "models/trained") else ""
    if name in shipped():
        return _from_dir(_trained() / name)
    runs = sorted(str(p.parent) for f in FILES for p in Path("runs").glob(f"*/{f}"))
    raise ModelError(
        f"model '{spec}': no such directory, file or shipped model; "
        f"shipped: {_listing(shipped())}; runs here: {_listing(runs)}; "
        "or give a QONNX file (.onnx, .onnx.xz)"
    )


def _listing(names: Iterable[str]) -> str:
    return ", ".join(names) or "none"


def _trained() -> Path:
    return Path(str(resources.files("hwq_models"))) / "trained"


def _from_dir(path: Path) -> Model:
    source = next((path / f for f in FILES if (path / f).is_file()), None)
    if source is None:
        raise ModelError(
            f"{path}: holds neither {' nor '.join(FILES)}; train with 'hwq train', or give a QONNX file"
        )
    recipe = _toml(path / "recipe.toml")
    encoding = path / "encoding.json"
    name = str(recipe["name"]) if recipe and "name" in recipe else path.resolve().name
    return Model(
        name,
        load_bytes(source)[0],
        recipe,
        Encoding.from_json(encoding.read_bytes(), str(encoding)) if encoding.is_file() else None,
        path.resolve(),
        tuple(record.load(path / "record.json")),
        str(source),
    )


def _toml(path: Path) -> dict[str, Any] | None:
    if not path.is_file():
        return None
    try:
        return tomllib.loads(path.read_text())
    except (tomllib.TOMLDecodeError, UnicodeDecodeError) as e:
        raise ModelError(f"{path}: not a TOML file ({e}); train again, or delete the file") from None
