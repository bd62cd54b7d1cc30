"""Trained runs of several seeds -> one small directory to commit: models/trained/<recipe>/."""

from __future__ import annotations

import lzma
from collections.abc import Sequence
from pathlib import Path

from hwq import record
from hwq.errors import ConfigError, ModelError
from hwq.nn.recipe import load_recipe

FILES = ("model.onnx", "recipe.toml", "encoding.json", "record.json")


def publish(runs: Sequence[Path], out: Path) -> Path:
    """Copy the run with the best validation accuracy (of equal ones the first) to `out`; returns that run.

    The model is compressed to model.onnx.xz; the record gains every seed's test accuracy under the scope
    "seed <n>". Raises ModelError when a run is not complete, ConfigError when runs differ in more than
    their seed.
    """
    missing = [str(run / f) for run in runs for f in FILES if not (run / f).is_file()]
    if missing or not runs:
        raise ModelError(
            f"not a complete run, missing: {', '.join(missing) or 'any run'}; finish training first"
        )
    recipes = [load_recipe(run) for run in runs]
    bare = [r.model_copy(update={"train": r.train.model_copy(update={"seed": 0})}) for r in recipes]
    odd = [str(run) for run, b in zip(runs, bare, strict=True) if b != bare[0]]
    if odd:
        raise ConfigError(f"{', '.join(odd)}: recipe differs from that of {runs[0]} in more than the seed")
    records = [{(r.metric, r.scope): r for r in record.load(run / "record.json")} for run in runs]
    best = max(range(len(runs)), key=lambda i: records[i]["accuracy_validation", "top"].value)
    seeds = []
    for own in records:
        a = own["accuracy", "top"]
        seeds.append(
            record.make("accuracy", a.value, "train", f"seed {a.seed}", a.tool, a.config_hash, a.seed)
        )
    for name in ("recipe.toml", "encoding.json"):
        record.write_atomic(out / name, (runs[best] / name).read_bytes())
    packed = lzma.compress((runs[best] / "model.onnx").read_bytes(), preset=9 | lzma.PRESET_EXTREME)
    record.write_atomic(out / "model.onnx.xz", packed)
    record.save(out / "record.json", [*records[best].values(), *seeds])
    return runs[best]
