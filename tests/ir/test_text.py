"""Graphs print, save and come back the same; damage is noticed."""

from __future__ import annotations

from contextlib import suppress
from pathlib import Path

import numpy as np
import pytest
from hypothesis import given, settings

from hwq.errors import ModelError, UnsupportedOp
from hwq.frontend import read_qonnx
from hwq.ir.text import graph_files, load_graph, save_graph, to_json, to_text
from hwq.passes import lower
from tests.qonnx_nets import Net, dense_nets


def example() -> Net:
    net = Net((3,))
    net.x = net.quant(net.x, 0.5, bits=2)
    net.then("MatMul", net.quant(net.const([[1.0, -1], [0, 1], [1, 1]]), 1.0, bits=2, narrow=1))
    net.then(
        "BatchNormalization",
        *(net.const([a, b]) for a, b in ((1, -1), (0, 0.5), (0, 1), (2, 3))),
        epsilon=0.0,
    )
    net.x = net.quant(net.x, 1.0, bits=2, narrow=1)
    return net


def test_a_graph_prints_one_line_a_node() -> None:
    assert (
        to_text(lower(read_qonnx(example().bytes(), "example")))
        == """\
graph example (int)
  in  x[3] -2..1 (0.5 * i + 0)  host T=b190ec95 offset=-2
  fc0 = MatVec[weight=9380885b, code=Ternary(bits=2), xnor=False](x) -> fc0_acc[2] -5..4 (0.5 * i + 0)
  fc0_act = Step[thresholds=57ad614b, offset=-1, falling=08e0b5ec](fc0_acc) -> fc0_out[2] -1..1 (1 * i + 0)
  out fc0_out
"""
    )


@settings(max_examples=25, deadline=None)
@given(dense_nets())
def test_saving_and_loading_changes_nothing(
    tmp_path_factory: pytest.TempPathFactory, case: tuple[Net, np.ndarray]
) -> None:
    real = read_qonnx(case[0].bytes())
    graphs = [real]
    with suppress(UnsupportedOp):
        graphs.append(lower(real))
    for graph in graphs:
        folder = tmp_path_factory.mktemp("graph")
        save_graph(folder, graph)
        again = load_graph(folder)
        assert to_json(again) == to_json(graph) and to_text(again) == to_text(graph)
        assert graph_files(again) == graph_files(graph)
        assert all(np.array_equal(again.blobs[k], graph.blobs[k]) for k in again.blobs)


@pytest.mark.parametrize("name", ["graph.json", "graph.npz"])
def test_a_damaged_graph_file_is_refused(tmp_path: Path, name: str) -> None:
    save_graph(tmp_path, lower(read_qonnx(example().bytes())))
    path = tmp_path / name
    path.write_bytes(path.read_bytes()[:-30])
    with pytest.raises(ModelError, match="export the model again"):
        load_graph(tmp_path)


def test_a_blob_of_other_content_than_its_key_is_refused(tmp_path: Path) -> None:
    save_graph(tmp_path, lower(read_qonnx(example().bytes())))
    with np.load(tmp_path / "graph.npz") as z:
        arrays = {k: z[k] for k in z.files}
    key = next(k for k, v in arrays.items() if v.dtype == np.int64)
    arrays[key] = arrays[key] + 1
    np.savez(tmp_path / "graph.npz", **arrays)
    with pytest.raises(ModelError, match="has changed"):
        load_graph(tmp_path)
