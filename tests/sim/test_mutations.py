"""A wrong bit anywhere must fail `hwq sim`; one that no input can show is shown to be harmless."""

from __future__ import annotations

import itertools
import shutil

import numpy as np
import pytest

from hwq.errors import CheckFailed, MismatchError
from hwq.flow.simulate import simulate
from hwq.flow.vectors import frame_ends
from hwq.golden import execute
from hwq.hw.library import figures
from tests.hw.graphs import mlp
from tests.sim.designs import folds, write_build
from tests.sim.mutations import memory_mutation, names_place_and_values, rtl_mutations

MEMORY, RTL = 24, 8
DESIGNS = {
    "int": (mlp([6, 8, 6, 4], [3, 2, 4], [2, 3, 2], seed=3, name="mut_int"), (4, 3, 2), (3, 4, 3)),
    "xnor": (mlp([10, 8, 6, 4], [1, 1, 1], [1, 1, 1], seed=5, name="mut_xnor"), (2, 3, 4), (5, 4, 2)),
}


def every_input(graph):
    """All frames the input can hold, int64 [frames, n]."""
    t = graph.tensor(graph.inputs[0])
    values = range(min(t.lo), max(t.hi) + 1)
    frames = np.array(list(itertools.product(values, repeat=t.size)), dtype=np.int64)
    return np.random.default_rng(0).permutation(frames)


@pytest.fixture(scope="module", params=DESIGNS)
def built(request, tmp_path_factory):
    graph, pe, simd = DESIGNS[request.param]
    folding = folds(graph, pe, simd)
    root = tmp_path_factory.mktemp(f"mutations-{request.param}")
    design = write_build(root / "build", graph, folding)
    frames = every_input(graph)
    np.save(root / "all.npy", frames)
    return graph, folding, design, root, frames


@pytest.fixture(scope="module")
def cache(tmp_path_factory):
    return tmp_path_factory.mktemp("models")


def run(root, build, cache, stall="none"):
    return simulate(build, input=root / "all.npy", stall=stall, cache_dir=cache, jobs=1)


@pytest.mark.sim
def test_the_unchanged_design_passes_on_every_possible_input(built, cache):
    _, _, _, root, frames = built
    for stall in ("none", "random"):
        assert run(root, root / "build", cache, stall).frames == len(frames)


@pytest.mark.sim
def test_memory_mutations_fail_exactly_when_some_input_shows_them(built, cache):
    graph, folding, design, root, frames = built
    rng = np.random.default_rng(11)
    right = execute(graph, [frames], keep="all")
    caught, harmless, wrong = 0, [], []
    while caught < MEMORY:
        m = memory_mutation(graph, design, folding, rng)
        changed = execute(m.graph, [frames], keep="all")
        shows = any(np.any(right[t] != changed[t]) for t in right)
        saved = {name: (root / "build" / name).read_text() for name in m.files}
        for name, text in m.files.items():
            (root / "build" / name).write_text(text)
        try:
            run(root, root / "build", cache)
            if shows:
                wrong.append(f"{m.what}: not caught")
            harmless.append(m.what)
        except MismatchError as e:
            caught += 1
            if not shows:
                wrong.append(f"{m.what}: caught, but no input shows it: {e}")
            if not names_place_and_values(str(e)):
                wrong.append(f"{m.what}: no place or values in: {e}")
        finally:
            for name, text in saved.items():
                (root / "build" / name).write_text(text)
        assert len(harmless) < 200, "the draw finds next to nothing that shows"
    print(f"{design.name}: {caught} caught; {len(harmless)} harmless on all {len(frames)} inputs")
    assert not wrong, "\n".join(wrong)


def promised(design):
    """Everything the token model says and the simulator checks: equal means that a depth does not matter."""
    fig = figures(design)
    ends = {s.name: frame_ends(design, fig, s) for s in design.streams}
    return fig.latency_cycles, fig.ii_cycles, ends


@pytest.mark.sim
def test_rtl_mutations_fail_unless_the_token_model_shows_that_a_depth_does_not_matter(built, cache):
    _, _, design, root, _ = built
    rng = np.random.default_rng(12)
    possible = rtl_mutations(root / "build", design)
    assert len(possible) >= RTL
    wrong = []
    for k in rng.permutation(len(possible))[:RTL]:
        m = possible[k]
        path = root / "mutant"
        shutil.rmtree(path, ignore_errors=True)
        shutil.copytree(root / "build", path)
        for name, text in m.files.items():
            (path / name).write_text(text)
        message = ""
        for stall in ("none", "random"):
            try:
                run(root, path, cache, stall)
            except CheckFailed as e:
                message = str(e)
                break
        if not message and (m.design is None or promised(m.design) != promised(design)):
            wrong.append(f"{m.what}: not caught")
        elif message and not names_place_and_values(message):
            wrong.append(f"{m.what}: no place or values in: {message}")
    assert not wrong, "\n".join(wrong)
