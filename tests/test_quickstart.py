import os
import re
import subprocess
import sysconfig
from pathlib import Path

import numpy as np
import pytest

from hwq.nn.recipe import load_recipe

ROOT = Path(__file__).parents[1]


def commands(page="quickstart"):
    """Every line of the `sh` blocks of a page of docs."""
    blocks = re.findall(r"```sh\n(.*?)```", (ROOT / "docs" / f"{page}.md").read_text(), re.S)
    return [line for block in blocks for line in block.strip().splitlines()]


def test_the_quickstart_walks_the_whole_road():
    verbs = [line.split()[1] for line in commands() if line.startswith("hwq ")]
    assert verbs == ["doctor", "train", "export", "sim", "run", "synth", "report", "compare"]


def test_every_link_of_the_readme_leads_somewhere():
    for link in re.findall(r"\]\(([^)#:]+)\)", (ROOT / "README.md").read_text()):
        assert (ROOT / link).exists(), link


@pytest.mark.slow
@pytest.mark.train
@pytest.mark.sim
@pytest.mark.synth
def test_every_command_of_the_quickstart_works(tmp_path):
    run(commands("quickstart"), tmp_path)
    assert np.load(tmp_path / "classes.npy").shape == (100, 1)
    assert "No mismatch" in (tmp_path / "report.html").read_text()


@pytest.mark.slow
@pytest.mark.sim
def test_every_command_for_convolutional_networks_works(tmp_path):
    run(commands("convolutions"), tmp_path)
    assert "No mismatch" in (tmp_path / "lenet.html").read_text()


@pytest.mark.slow
@pytest.mark.train
@pytest.mark.sim
def test_the_recipe_of_the_page_on_recipes_goes_all_the_way(tmp_path):
    recipe, variant = re.findall(r"```toml\n(.*?)```", (ROOT / "docs" / "recipes.md").read_text(), re.S)
    (tmp_path / "shapes-small.toml").write_text(recipe)
    (tmp_path / "resnet8-small.toml").write_text(variant)
    assert load_recipe(tmp_path / "resnet8-small.toml").name == "resnet8-small"
    lines = [
        "hwq train shapes-small.toml",
        "hwq export runs/shapes-small --target pynq-z2 -o build",
        "hwq sim build --frames 3",
    ]
    run(lines, tmp_path)


def run(lines, tmp_path):
    env = os.environ | {"PATH": f"{sysconfig.get_path('scripts')}{os.pathsep}{os.environ['PATH']}"}
    for line in lines:
        done = subprocess.run(
            line, shell=True, cwd=tmp_path, env=env, capture_output=True, text=True, timeout=600
        )
        assert done.returncode == 0, f"{line}\n{done.stdout}\n{done.stderr}"
