"""Recipes: every error at once, each with its place and the way out."""

from __future__ import annotations

import tomllib

import pytest

from hwq.errors import ConfigError
from hwq.nn.recipe import load_recipe, parse_recipe, shipped_recipes

GOOD = {"name": "toy", "data": "digits", "layers": [{"out": 8}, {"out": 10}]}


def test_every_mistake_is_reported_at_once_with_the_nearest_legal_key():
    bad = {
        "name": "toy",
        "data": "digits",
        "encodin": [],
        "encoding": [{"kind": "thermometr"}],
        "layers": [{"out": 8, "wieght_bits": 3}, {"out": 10, "weight_bits": 9, "act": "gelu"}],
        "train": {"epocs": 3, "lr": -1.0, "schedule": "cosin"},
    }
    with pytest.raises(ConfigError) as e:
        parse_recipe(bad, "toy.toml")
    text = str(e.value)
    for says in (
        "toy.toml: 8 error(s)",
        "encodin: unknown key 'encodin'; did you mean 'encoding'?",
        "layers.0.wieght_bits: unknown key 'wieght_bits'; did you mean 'weight_bits'?",
        "layers.1.weight_bits",
        "less than or equal to 8",
        "layers.1.act",
        "'signed', 'relu' or 'none'",
        "train.epocs: unknown key 'epocs'; did you mean 'epochs'?",
        "train.lr",
        "train.schedule",
        "did you mean 'thermometer'?",
    ):
        assert says in text, says


@pytest.mark.parametrize(
    ("change", "says"),
    [
        ({"layers": []}, "at least one"),
        ({"head": "threshold"}, "needs one output, the last layer has out = 10"),
        ({"layers": [{"out": 1}], "train": {"loss": "sqr_hinge"}}, 'use head = "threshold"'),
        ({"layers": [{"out": 1}], "head": "threshold"}, "'cross_entropy' needs two outputs"),
        ({"layers": [{"out": 3, "name": "a"}, {"out": 10, "name": "a"}]}, "'a' is used twice"),
        ({"train": {"schedule": "step"}}, "needs train.milestones"),
        ({"data": 3}, "data: Input should be a valid string, got 3"),
    ],
)
def test_values_that_do_not_go_together_are_refused(change, says):
    with pytest.raises(ConfigError) as e:
        parse_recipe({**GOOD, **change})
    assert says in str(e.value)


def test_layers_inherit_the_defaults_they_do_not_set():
    r = parse_recipe(
        {
            **GOOD,
            "quant": {"weight_bits": 3, "dropout": 0.2},
            "layers": [{"out": 8, "weight_bits": 2}, {"out": 10}],
        }
    )
    first, second = r.named_layers()
    assert (first.name, first.weight_bits, first.dropout) == ("fc1", 2, 0.2)
    assert (second.name, second.weight_bits) == ("fc2", 3)


@pytest.mark.parametrize("name", shipped_recipes())
def test_a_shipped_recipe_written_out_reads_back_as_the_same_recipe(name):
    r = load_recipe(name)
    assert r.name == name
    again = parse_recipe(tomllib.loads(r.to_toml()))
    assert again.named_layers() == r.named_layers()
    assert again.model_copy(update={"layers": r.layers}) == r


def test_overrides_reach_tables_and_layers_and_are_checked_like_the_file():
    r = load_recipe(
        "digits-mlp",
        {
            "train.epochs": "3",
            "layers.1.weight_bits": 4,
            "train.schedule": "cosine",
            "train.bn_reestimate": "false",
        },
    )
    assert (r.train.epochs, r.layers[1].weight_bits, r.train.schedule, r.train.bn_reestimate) == (
        3,
        4,
        "cosine",
        False,
    )
    with pytest.raises(ConfigError, match="did you mean 'epochs'"):
        load_recipe("digits-mlp", {"train.epoch": 3})
    with pytest.raises(ConfigError, match="'7' is not an index below 3"):
        load_recipe("digits-mlp", {"layers.7.out": 3})


def test_a_recipe_that_is_not_there_is_named_with_the_nearest_one(tmp_path):
    with pytest.raises(ConfigError, match=r"did you mean 'digits-mlp'\?"):
        load_recipe("digit-mlp")
    with pytest.raises(ConfigError, match="does not exist"):
        load_recipe(tmp_path / "none.toml")
    (tmp_path / "bad.toml").write_text("name = \n")
    with pytest.raises(ConfigError, match=r"bad\.toml: not valid TOML"):
        load_recipe(tmp_path / "bad.toml")


def test_the_hash_of_a_recipe_follows_every_value_but_the_float_baselines():
    r = load_recipe("digits-mlp")
    assert r.config_hash() == load_recipe("digits-mlp").config_hash()
    assert r.config_hash() != load_recipe("digits-mlp", {"train.seed": 2}).config_hash()
    assert r.config_hash() == load_recipe("digits-mlp", {"float.epochs": 3}).config_hash()


def test_the_name_of_a_shipped_recipe_is_that_recipe_whatever_the_folder_holds(tmp_path, monkeypatch):
    (tmp_path / "digits-mlp").mkdir()
    (tmp_path / "digits-mlp" / "recipe.toml").write_text(load_recipe("jsc-mlp-mixed").to_toml())
    monkeypatch.chdir(tmp_path)
    assert load_recipe("digits-mlp").name == "digits-mlp"
    assert load_recipe("./digits-mlp").name == load_recipe(tmp_path / "digits-mlp").name == "jsc-mlp-mixed"


def test_a_recipe_takes_from_its_base_what_it_does_not_set(tmp_path):
    base = load_recipe("cifar10-resnet8-mixed")
    (tmp_path / "mine.toml").write_text(
        'name = "mine"\nbase = "cifar10-resnet8-mixed"\ntrain.epochs = 3\nlayers = [{ name = "fc", weight_bits = 8 }]'
    )
    (tmp_path / "again.toml").write_text('name = "again"\nbase = "mine.toml"\nquant.weight_bits = 2\n')
    r = load_recipe(tmp_path / "again.toml")
    assert (r.name, r.quant.weight_bits, r.train.epochs, r.layers[-1].weight_bits) == ("again", 2, 3, 8)
    changed = {
        "name": base.name,
        "quant": base.quant,
        "train": r.train.model_copy(update={"epochs": base.train.epochs}),
        "layers": (*r.layers[:-1], base.layers[-1]),
    }
    assert r.model_copy(update=changed) == base


def test_a_layer_without_a_name_is_changed_by_the_one_it_gets(tmp_path):
    (tmp_path / "x.toml").write_text('name = "x"\nbase = "digits-mlp"\nlayers = [{ name = "fc2", act_bits = 1 }]')
    first, second, third = load_recipe("digits-mlp").layers
    second = second.model_copy(update={"name": "fc2", "act_bits": 1})
    assert load_recipe(tmp_path / "x.toml").layers == (first, second, third)


@pytest.mark.parametrize(
    ("text", "says"),
    [
        ('base = "digits-mlp"\nlayers = [{ name = "fc", out = 3 }]', "'fc' is not in the base; did you mean 'fc"),
        ('base = "digits-mlp"\nlayers = [{ out = 3 }]', "'None' is not in the base"),
        ('base = "digits-mlp"\nlayers = [3]', "layers, of it and of its base, must be tables [[layers]]"),
        ('base = "twice.toml"\nlayers = [{ name = "fc2", out = 3 }]', "two layers of its base are called 'fc2'"),
        ('base = "../{here}/mine.toml"', "is its own base"),
        ('base = "none.toml"', "none.toml does not exist"),
        ('base = "cifar10-resnet"', "no recipe"),
        ('base = 3', "base: a shipped recipe or the path of a .toml is needed, got 3"),
        ('base = "mine.toml"', "is its own base"),
    ],
)
def test_a_base_that_does_not_fit_is_refused(tmp_path, text, says):
    text = text.replace("{here}", tmp_path.name)
    (tmp_path / "mine.toml").write_text(f'name = "mine"\n{text}\n')
    twice = 'layers = [{ name = "fc2", out = 3 }, { out = 10 }]'
    (tmp_path / "twice.toml").write_text(f'name = "t"\ndata = "digits"\n{twice}\n')
    with pytest.raises(ConfigError) as e:
        load_recipe(tmp_path / "mine.toml")
    assert says in str(e.value)


def test_a_variant_needs_a_name_of_its_own(tmp_path):
    (tmp_path / "mine.toml").write_text('base = "digits-mlp"\ntrain.epochs = 3\n')
    with pytest.raises(ConfigError, match="name: this key is needed"):
        load_recipe(tmp_path / "mine.toml")


def test_lists_in_tables_of_a_variant_replace_those_of_the_base(tmp_path):
    (tmp_path / "base.toml").write_text('name = "b"\ndata = "digits"\nnet = "m:N"\nnet_args = { layers = [64, 64] }\n')
    (tmp_path / "mine.toml").write_text('name = "m"\nbase = "base.toml"\nnet_args.layers = [32]\n')
    assert load_recipe(tmp_path / "mine.toml").net_args == {"layers": [32]}
