import json

import pytest
from hypothesis import given
from hypothesis import strategies as st

from hwq import record
from hwq.errors import ConfigError
from hwq.record import make
from hwq.report.build import SCHEMA_VERSION
from hwq.report.compare import Column, check, compare, parse_limit


def build(folder, **top):
    """A build directory whose records are given as metric=(value, source)."""
    folder.mkdir()
    manifest = {"schema_version": SCHEMA_VERSION, "name": folder.name, "instances": []}
    (folder / "manifest.json").write_text(json.dumps(manifest))
    record.save(folder / "record.json", [make(m, v, s) for m, (v, s) in top.items()])
    return folder


def test_measured_values_win_over_estimates(tmp_path):
    a = build(tmp_path / "a", ii_cycles=(64, "analytic"), lut=(900, "analytic"))
    record.update(
        a / "record.json",
        [make("ii_cycles", 65, "verilator"), make("lut", 950, "yosys"), make("lut", 4, "yosys", scope="fc1")],
    )
    column = compare([a]).columns[0]
    assert (column.get("ii_cycles").value, column.get("lut").value) == (65, 950)


def test_the_gate_fails_only_past_its_bound(tmp_path):
    a, b = build(tmp_path / "a", lut=(1000, "yosys")), build(tmp_path / "b", lut=(1020, "yosys"))
    assert compare([a, b], fail_on="lut+2%").failures == ()
    failures = compare([a, b], fail_on=["lut+1.9%"]).failures
    assert failures == ("lut of b is 1020, +2.0 % against 1000 of a; the gate lut+1.9% allows 1019",)


def test_a_gate_on_a_metric_where_more_is_better_looks_down(tmp_path):
    a = build(tmp_path / "a", accuracy=(97.0, "train"), mismatches=(0, "verilator"))
    b = build(tmp_path / "b", accuracy=(96.4, "train"), mismatches=(1, "verilator"))
    assert len(compare([a, b], fail_on=["accuracy-0.5", "mismatches+0"]).failures) == 2
    assert compare([a, b], fail_on="accuracy-1%").failures == ()


@pytest.mark.parametrize(
    ("gate", "message"),
    [
        ("lut", "not of the form METRIC"),
        ("lutt+2%", "unknown metric 'lutt'; known: accuracy"),
        ("lut-2%", r"less lut is better, so this can't be worse; write lut\+2%"),
        ("accuracy+1", "more accuracy is better, so this can't be worse; write accuracy-1"),
    ],
)
def test_a_gate_that_makes_no_sense_says_why(gate, message):
    with pytest.raises(ConfigError, match=message):
        parse_limit(gate)


def test_a_gate_never_passes_for_want_of_a_measurement(tmp_path):
    a, b = build(tmp_path / "a", lut=(1000, "yosys")), build(tmp_path / "b", lut=(10, "analytic"))
    c = build(tmp_path / "c")
    with pytest.raises(ConfigError, match="b holds only an estimate of lut"):
        compare([a, b], fail_on="lut+2%")
    with pytest.raises(ConfigError, match="c has no lut; run hwq synth"):
        compare([a, c], fail_on="lut+2%")
    with pytest.raises(ConfigError, match="at least two"):
        compare([a], fail_on="lut+2%")


def test_a_folder_that_is_neither_build_nor_model_is_refused(tmp_path):
    with pytest.raises(ConfigError, match=r"no manifest\.json and no record\.json"):
        compare([tmp_path])


def test_equal_folder_names_are_told_apart_by_their_parents(tmp_path):
    (tmp_path / "x").mkdir()
    (tmp_path / "y").mkdir()
    paths = [build(tmp_path / "x" / "n", lut=(1, "yosys")), build(tmp_path / "y" / "n", lut=(2, "yosys"))]
    assert [c.name for c in compare(paths).columns] == ["x/n", "y/n"]


def test_the_json_form_names_source_and_unit(tmp_path):
    body = compare([build(tmp_path / "a", lut=(7, "yosys"))]).as_dict()
    assert body["columns"][0]["metrics"]["lut"] == {
        "value": 7,
        "unit": "Yosys LUT",
        "source": "yosys",
        "tool": "",
    }


@given(st.integers(1, 10**6), st.integers(0, 10**6), st.integers(0, 50))
def test_a_gate_fails_exactly_when_the_bound_is_passed(base, other, percent):
    a, b = (Column(n, (make("lut", v, "yosys"),)) for n, v in (("a", base), ("b", other)))
    failed = check(parse_limit(f"lut+{percent}%"), a, b) is not None
    assert failed == (100 * other > base * (100 + percent)) or abs(100 * other - base * (100 + percent)) < 1e-6 * base
