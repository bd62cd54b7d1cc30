"""The drawing of a design, read back from its SVG: boxes, stubs, lines and labels as rectangles and segments."""

from __future__ import annotations

import re
from itertools import pairwise

import hypothesis.strategies as st
import pytest
from hypothesis import given, settings

from hwq.report.dataflow import Arrow, Box, dataflow
from hwq.report.svg import width

NUMBER = r"(-?[\d.]+)"


def drawn(boxes, arrows):
    """(boxes by name, stubs with their text, corners of lines, labels); rectangles are (left, top, right, bottom)."""
    svg = dataflow("t", boxes, arrows)
    rectangle = rf'<rect x="{NUMBER}" y="{NUMBER}" width="{NUMBER}" height="{NUMBER}" rx="(?:4|10)"'
    rects = [tuple(map(float, r)) for r in re.findall(rectangle, svg)]
    areas = [(x, y, x + w, y + h) for x, y, w, h in rects]
    order = re.findall(r'<g id="box-([^"]*)">|>((?:to|from) [^<]*)</text>', svg)
    boxes = {box: area for (box, _), area in zip(order, areas, strict=True) if box}
    stubs = [(stub, area) for (_, stub), area in zip(order, areas, strict=True) if stub]
    lines = [
        [tuple(map(float, p.split(","))) for p in path.split(" L")]
        for path in re.findall(r'<path d="M([^"]*)" fill="none"', svg)
    ]
    centred = re.findall(rf'<text x="{NUMBER}" y="{NUMBER}" text-anchor="middle" font-size="10"[^>]*>([^<]*)<', svg)
    labels = [
        (float(x) - width(t, 10) / 2, float(y) - 8, float(x) + width(t, 10) / 2, float(y) + 1) for x, y, t in centred
    ]
    return boxes, stubs, lines, labels


def meet(a, b):
    """Two rectangles share an area; a segment is a rectangle without one."""
    return min(a[2], b[2]) - max(a[0], b[0]) > 0.2 and min(a[3], b[3]) - max(a[1], b[1]) > 0.2


def segments(line):
    """Rectangles of half a pixel around every piece of a line, less its very ends."""
    for (x0, y0), (x1, y1) in pairwise(line):
        assert x0 == x1 or y0 == y1, "a line is not orthogonal"
        yield min(x0, x1) - 0.3, min(y0, y1) - 0.3, max(x0, x1) + 0.3, max(y0, y1) + 0.3


def arrow(src, dst, *, text=("4 x 4 b", "1 024")):
    return Arrow(f"{src}_o" if src else "s_axis", src, dst, text)


def chain(*names):
    return [arrow(a, b) for a, b in pairwise(names)]


FORKED = (  # a fork inside a layer; its short branch goes to the next layer, its long one past it
    [
        Box(n, ("fifo, depth 2203", "high-water 17"), g)
        for n, g in [
            ("a_in", "a"),
            ("a_fork", "a"),
            ("a_branch0", "a"),
            ("a_branch1", "a"),
            ("b_mvu", "b"),
            ("c_relay0", "c"),
            ("c_relay1", "c"),
            ("c_join", "c"),
        ]
    ],
    [
        *chain("", "a_in", "a_fork", "a_branch0", "b_mvu", "c_relay0", "c_join", ""),
        *chain("a_fork", "a_branch1"),
        *chain("a_branch1", "c_relay1", "c_join"),
    ],
)


def test_branches_stand_one_below_the_other_and_no_line_joins_them():
    boxes, _, lines, _ = drawn(*FORKED)
    a, b = boxes["a_branch0"], boxes["a_branch1"]
    assert a[0] == b[0] and a[3] < b[1]
    inside = [p for p in lines if p[0][0] >= a[2] and p[-1][0] <= b[0]]
    assert not [p for p in inside if a[1] <= p[0][1] <= a[3] and b[1] <= p[-1][1] <= b[3]]


def test_a_stream_past_a_layer_is_a_stub_at_both_ends_and_one_to_the_next_is_drawn():
    boxes, stubs, lines, _ = drawn(*FORKED)
    stubs = dict(stubs)
    assert set(stubs) == {"from s_axis", "to c_relay1", "from a_branch1", "to c_join_o"}
    assert stubs["to c_relay1"][0] > boxes["a_branch1"][2] and stubs["from a_branch1"][2] < boxes["c_relay1"][0]
    ends = boxes["a_branch0"][2], boxes["b_mvu"][0]
    assert [(p[0][0], p[-1][0]) for p in lines].count(pytest.approx(ends, abs=0.2)) == 1


def test_several_streams_between_two_layers_are_stubs():
    boxes = [Box(n, (), n[0]) for n in ("a1", "a2", "b1", "b2")]
    _, stubs, lines, _ = drawn(boxes, [*chain("", "a1", "b1", ""), *chain("", "a2", "b2", "")])
    assert {"to b1", "from a1", "to b2", "from a2"} <= {text for text, _ in stubs} and len(lines) == 8


def test_a_line_enters_the_box_it_belongs_to_from_the_left():
    boxes, _, lines, _ = drawn(*FORKED)
    ends = [p[-1] for p in lines]
    left, top, _, bottom = boxes["c_join"]
    at_join = [y for x, y in ends if x == left and top < y < bottom]
    assert len(at_join) == len(set(at_join)) == 2  # one point for each of its inputs


def test_boxes_are_named_without_their_layer_and_stubs_lead_to_their_boxes():
    svg = dataflow("t", *FORKED)
    assert ">branch1</text>" in svg and "<title>a_branch1</title>" in svg
    assert '<a href="#box-c_relay1">' in svg and 'id="box-c_relay1"' in svg


@st.composite
def designs(draw):
    """Boxes with one or two inputs each from boxes before them, every box feeding at most two; groups are runs."""
    count = draw(st.integers(1, 14))
    groups, group = [], 0
    for _ in range(count):
        group += draw(st.booleans())
        groups.append(group)
    names = [f"g{g}_{'m' * draw(st.integers(1, 12))}{i}" for i, g in enumerate(groups)]
    boxes = [Box(n, ("x" * draw(st.integers(1, 20)),), f"g{g}") for n, g in zip(names, groups, strict=True)]
    arrows, fan = [], dict.fromkeys(names, 0)
    for i, name in enumerate(names):
        for _ in range(draw(st.integers(1, 2))):
            free = [n for n in names[:i] if fan[n] < 2]
            src = draw(st.sampled_from(free)) if free and draw(st.integers(0, 5)) else ""
            if src:
                fan[src] += 1
            arrows.append(Arrow(f"s{len(arrows)}", src, name, ("16 x 4 b", "36 864")))
    arrows += [Arrow(f"out_{n}", n, "", ("1 x 4 b", "1")) for n in names if not fan[n]]
    return boxes, arrows


@settings(max_examples=150, deadline=None)
@given(designs())
def test_whatever_the_design_nothing_covers_a_box_a_stub_or_a_label(design):
    boxes, stubs, lines, labels = drawn(*design)
    things = [*boxes.items(), *stubs, *((f"label {i}", b) for i, b in enumerate(labels))]
    for i, (name, area) in enumerate(things):
        for other, place in things[i + 1 :]:
            assert not meet(area, place), f"{name} and {other}"
    for line in lines:
        (x, y), (end, _) = line[0], line[-1]
        assert end > x or len(line) > 4, "a line within a layer goes from left to right"
        for piece in segments([(x + 1, y), *line[1:-1], (end - 1, line[-1][1])]):
            for name, area in things:
                assert not meet(piece, area), f"a line runs through {name}"


@settings(max_examples=100, deadline=None)
@given(designs())
def test_no_line_runs_along_another(design):
    pieces = [(i, s) for i, line in enumerate(drawn(*design)[2]) for s in segments(line)]
    for n, (i, a) in enumerate(pieces):
        for j, b in pieces[n + 1 :]:
            both = min(a[2], b[2]) - max(a[0], b[0]), min(a[3], b[3]) - max(a[1], b[1])
            assert i == j or min(both) < 0.2 or max(both) < 1, "two lines lie on each other"


def test_a_design_of_one_box_is_drawn():
    boxes, stubs, lines, _ = drawn([Box("only", (), "edge")], [*chain("", "only", "")])
    assert len(boxes) == 1 and len(stubs) == len(lines) == 2


@pytest.mark.parametrize("text", ["<b>", 'a"b', "a&b"])
def test_names_are_escaped(text):
    svg = dataflow("t", [Box(text, (text,), text)], [Arrow(text, "", text, (text,)), Arrow(text, text, "", (text,))])
    assert f">{text}<" not in svg and f'"box-{text}"' not in svg and f'"#box-{text}"' not in svg
