"""What ships with hwq: recipes, and trained models with their accuracy."""

from __future__ import annotations

from dataclasses import dataclass
from importlib import resources
from pathlib import Path
from typing import Any

from hwq.nn.recipe import recipe_keys
from hwq.record import load
from hwq.report.build import value

WITH_WEIGHTS = ("dense", "conv", "depthwise", "transposed")


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


def _spell(layer: dict[str, Any]) -> str:
    """A layer as the papers spell it: 512, 64C3 (a convolution), D3 (depthwise), MP2, GAP ..."""
    kind = layer.get("kind", "dense")
    size = layer.get("kernel", layer.get("factor", ""))
    size = "x".join(map(str, size)) if isinstance(size, list) else str(size)
    letter = {"conv": "C", "depthwise": "D", "transposed": "T", "max_pool": "MP", "avg_pool": "AP"} | {
        "global_pool": "GAP",
        "upsample": "UP",
        "shuffle": "PS",
        "act": layer.get("join", "act"),
        "dense": "",
    }
    return f"{layer.get('out', '')}{letter.get(kind, kind)}{size}"


def _read(recipe: Path, trained: Path) -> ShippedModel:
    _, body = recipe_keys(recipe)
    layers = body.get("layers", [])
    default = body.get("quant", {}).get("weight_bits", 4)
    records = load(trained / "record.json")
    return ShippedModel(
        recipe.stem,
        body.get("data", ""),
        "-".join(_spell(layer) for layer in layers),
        ",".join(str(n.get("weight_bits", default)) for n in layers if n.get("kind", "dense") in WITH_WEIGHTS),
        any(trained.glob("model.onnx*")),
        value(records, "accuracy"),
        value(records, "accuracy_float"),
    )
