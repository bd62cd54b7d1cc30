"""What ships with hwq: recipes, and trained models with their accuracy."""

from __future__ import annotations

import tomllib
from dataclasses import dataclass
from importlib import resources
from pathlib import Path

from hwq.record import load
from hwq.report.build import value


@dataclass(frozen=True, slots=True)
class ShippedModel:
    """One recipe. Accuracies in % on the test set, None where no trained model ships."""

    name: str
    data: str
    layers: str
    weight_bits: str
    trained: bool
    accuracy: float | None
    accuracy_float: float | None


def shipped_models() -> list[ShippedModel]:
    """Every shipped recipe, with the results of its trained model where one ships."""
    root = Path(str(resources.files("hwq_models")))
    return [_read(f, root / "trained" / f.stem) for f in sorted((root / "recipes").glob("*.toml"))]


def _read(recipe: Path, trained: Path) -> ShippedModel:
    body = tomllib.loads(recipe.read_text())
    layers = body.get("layers", [])
    default = body.get("quant", {}).get("weight_bits", 4)
    records = load(trained / "record.json")
    return ShippedModel(
        recipe.stem,
        body.get("data", ""),
        "-".join(str(layer.get("out", "?")) for layer in layers),
        ",".join(str(layer.get("weight_bits", default)) for layer in layers),
        any(trained.glob("model.onnx*")),
        value(records, "accuracy"),
        value(records, "accuracy_float"),
    )
