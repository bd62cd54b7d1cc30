import re

from hwq.emit import streams_h, tap
from hwq.hw.design import Fold
from hwq.hw.map import build
from hwq.targets import load
from tests.hw.graphs import mlp

GRAPH = mlp([12, 8, 4], [2, 4], [3, 2], seed=1, name="small")
DESIGN = build(GRAPH, {"fc0": Fold(4, 6), "fc1": Fold(2, 4)}, load("pynq-z2"))


def test_every_inner_stream_has_its_three_signals_on_ports_of_its_width():
    text = tap.tap(DESIGN)
    for t in tap.taps(DESIGN):
        if not t.boundary:
            assert f"output logic [{t.stream.width - 1}:0] {t.prefix}_tdata," in text
            for signal in ("tdata", "tvalid", "tready"):
                assert f"assign {t.prefix}_{signal} = dut.{t.stream.name}_{signal};" in text


def test_the_boundary_keeps_the_names_of_the_top():
    text = tap.tap(DESIGN)
    for name in (*DESIGN.inputs, *DESIGN.outputs):
        assert all(f".{name}_{s}({name}_{s})" in text for s in ("tdata", "tvalid", "tready", "tlast"))


def test_the_stream_table_has_one_row_per_stream_in_dataflow_order():
    table = streams_h.streams_h(DESIGN).split("#define HWQ_STREAMS(ROW)")[1].split("#define")[0]
    rows = re.findall(r'ROW\((\d+), "(\w+)", \w+, \w+, \w+, (\d+), (\d+), (\d+), (\d+), (\d+), (\d+)\)', table)
    expected = [(str(i), s.name, str(-(-s.width // 32)), *map(str, (s.lanes, s.bits, s.beats, s.repeat, s.sequence)))
                for i, s in enumerate(DESIGN.streams)]
    assert rows == expected


def test_a_model_named_as_a_keyword_gets_another_module_name():
    assert DESIGN.name == "small_top"
