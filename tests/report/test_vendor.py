import json

import pytest

from hwq.errors import ConfigError
from hwq.report.vendor import read_report

HEAD = """| Tool Version : Vivado v.2023.2 (lin64) Build 4029153 Fri Oct 13 20:13:54 MDT 2023
| Command      : report_utilization -file u.rpt
| Design       : tfc
| Device       : xc7z020clg400-1
| Design State : Fully Placed
"""
FLAT = (
    HEAD
    + """
Utilization Design Information

1. Slice Logic
+----------------------------+-------+-------+------------+-----------+-------+
|          Site Type         |  Used | Fixed | Prohibited | Available | Util% |
+----------------------------+-------+-------+------------+-----------+-------+
| Slice LUTs*                | 31046 |     0 |          0 |     53200 | 58.36 |
|   LUT as Logic             | 28056 |     0 |          0 |     53200 | 52.74 |
| Slice Registers            | 33435 |     0 |          0 |    106400 | 31.42 |
+----------------------------+-------+-------+------------+-----------+-------+

1.1 Summary of Registers by Type
| Total | Clock Enable | Synchronous | Asynchronous |
| 12    |            _ |           - |            - |

+-------------------+-------+-------+------------+-----------+-------+
|     Site Type     |  Used | Fixed | Prohibited | Available | Util% |
+-------------------+-------+-------+------------+-----------+-------+
| Block RAM Tile    | 112.5 |     0 |          0 |       140 | 80.36 |
|   RAMB36/FIFO*    |     6 |     0 |          0 |       140 |  4.29 |
|   RAMB18          |   213 |     0 |          0 |       280 | 76.07 |
| DSPs              |     4 |     0 |          0 |       220 |  1.82 |
+-------------------+-------+-------+------------+-----------+-------+
"""
)
HIERARCHICAL = (
    HEAD
    + """
+------------------+---------+------------+------------+---------+------------+--------+--------+------------+
|    Instance      |  Module | Total LUTs | Logic LUTs | LUTRAMs |    FFs     | RAMB36 | RAMB18 | DSP Blocks |
+------------------+---------+------------+------------+---------+------------+--------+--------+------------+
| tfc              |   (top) | 900(1.69%) |        800 |      60 | 1200(1.1%) |      2 |      3 |          5 |
|   (tfc)          |   (top) |         10 |         10 |       0 |          0 |      0 |      0 |          0 |
|   fc1_mvu        | hwq_mvu |        600 |        500 |      60 |        700 |      2 |      1 |          5 |
|     store        | hwq_rom |         20 |         20 |       0 |          0 |      0 |      0 |          0 |
|   fc1_threshold  | hwq_thr |        290 |        290 |       0 |        500 |      0 |      2 |          0 |
+------------------+---------+------------+------------+---------+------------+--------+--------+------------+
"""
)
TIMING = """| Tool Version      : Vivado v.2021.2 (lin64) Build 3367213
Timing Summary Report

------------------------------------------------------------------------------------------------
| Design Timing Summary
| ---------------------
------------------------------------------------------------------------------------------------

    WNS(ns)      TNS(ns)  TNS Failing Endpoints  TNS Total Endpoints
    -------      -------  ---------------------  -------------------
     -0.500       -3.000                      7               100934

------------------------------------------------------------------------------------------------
| Clock Summary
| -------------
------------------------------------------------------------------------------------------------

Clock       Waveform(ns)       Period(ns)      Frequency(MHz)
-----       ------------       ----------      --------------
clk_fpga_0  {0.000 5.000}      10.000          100.000
clk_fast    {0.000 2.000}      4.000           250.000


------------------------------------------------------------------------------------------------
| Intra Clock Table
| -----------------
------------------------------------------------------------------------------------------------

Clock             WNS(ns)      TNS(ns)  TNS Failing Endpoints  TNS Total Endpoints
-----             -------      -------  ---------------------  -------------------
clk_fpga_0          2.000        0.000                      0               100934
clk_fast           -0.500       -3.000                      7                  934


------------------------------------------------------------------------------------------------
"""
CSYNTH = """<profile><ReportVersion><Version>2022.2</Version></ReportVersion>
<PerformanceEstimates>
<SummaryOfTimingAnalysis><unit>ns</unit><EstimatedClockPeriod>3.650</EstimatedClockPeriod></SummaryOfTimingAnalysis>
<SummaryOfOverallLatency><Best-caseLatency>26</Best-caseLatency><Worst-caseLatency>28</Worst-caseLatency>
<Interval-min>1</Interval-min><Interval-max>2</Interval-max></SummaryOfOverallLatency></PerformanceEstimates>
<AreaEstimates><Resources><BRAM_18K>4</BRAM_18K><DSP>5</DSP><FF>600</FF><LUT>7000</LUT><URAM>0</URAM></Resources>
<AvailableResources><BRAM_18K>280</BRAM_18K></AvailableResources></AreaEstimates></profile>
"""


@pytest.fixture
def figures(tmp_path):
    def read(text, scope="top"):
        path = tmp_path / "report"
        path.write_text(text)
        return {r.metric: r.value for r in read_report(path) if r.scope == scope}

    return read


def test_a_flat_vivado_report_gives_used_cells_and_block_memory_in_halves(figures):
    assert figures(FLAT) == {"lut": 31046, "ff": 33435, "bram18": 225, "dsp": 4}


def test_the_lut_of_vivado_is_not_called_a_yosys_lut(tmp_path):
    (tmp_path / "u.rpt").write_text(FLAT)
    record = read_report(tmp_path / "u.rpt")[0]
    assert (record.unit, record.source, record.tool) == (
        "Vivado LUT",
        "vendor",
        "Vivado 2023.2 (Fully Placed)",
    )


def test_a_hierarchical_vivado_report_gives_the_top_and_its_instances(figures):
    assert figures(HIERARCHICAL) == {"lut": 900, "ff": 1200, "bram18": 7, "dsp": 5}
    assert figures(HIERARCHICAL, "fc1_threshold") == {"lut": 290, "ff": 500, "bram18": 2, "dsp": 0}
    assert figures(HIERARCHICAL, "store") == {}


def test_a_timing_summary_gives_the_clock_of_the_slowest_domain_reached(figures):
    assert figures(TIMING) == {"fmax_mhz": 125.0}  # min of 1/(10 - 2) and 1/(4 + 0.5) GHz


def test_a_csynth_report_gives_resources_latency_interval_and_clock(figures):
    assert figures(CSYNTH) == {
        "lut": 7000,
        "ff": 600,
        "bram18": 4,
        "dsp": 5,
        "latency_cycles": 28,
        "ii_cycles": 2,
        "fmax_mhz": 273.973,
    }


def test_finn_estimates_synthesis_and_performance_are_read(figures):
    estimate = {
        "MVAU_0": {"BRAM_18K": 3, "LUT": 100, "DSP": 0},
        "total": {"BRAM_18K": 5.0, "LUT": 210.0, "DSP": 1.0},
    }
    assert figures(json.dumps(estimate)) == {"lut": 210, "bram18": 5, "dsp": 1}
    synthesis = {"(top)": {"LUT": 8667, "SRL": 9, "FF": 11000, "BRAM_36K": 10, "BRAM_18K": 2, "DSP48": 0}}
    assert figures(json.dumps(synthesis)) == {"lut": 8667, "ff": 11000, "bram18": 22, "dsp": 0}
    performance = {"critical_path_cycles": 252, "max_cycles": 64, "estimated_throughput_fps": 1562500.0}
    assert figures(json.dumps(performance)) == {"latency_cycles": 252, "ii_cycles": 64, "fps": 1562500}


def test_an_hls4ml_report_prefers_synthesis_over_its_estimate(figures):
    body = {
        "CSynthesisReport": {
            "LUT": "9000",
            "FF": "800",
            "BRAM_18K": "4",
            "DSP": "7",
            "WorstLatency": "12",
            "IntervalMax": "1",
            "EstimatedClockPeriod": "4.0",
        },
        "VivadoSynthReport": {"LUT": "5000", "FF": "700", "BRAM_18K": "2.5", "DSP48E": "6"},
    }
    assert figures(json.dumps(body)) == {
        "lut": 5000,
        "ff": 700,
        "bram18": 2.5,
        "dsp": 6,
        "latency_cycles": 12,
        "ii_cycles": 1,
        "fmax_mhz": 250.0,
    }


@pytest.mark.parametrize(
    ("text", "message"),
    [
        ("nothing of the kind", "not a report hwq can read; it reads a build directory"),
        ("| Site Type | Used |\n| Mystery cells | 4 |\n", "holds no figure hwq knows"),
        (
            "<profile><AreaEstimates><Resources><LUT>3</LUT>",
            "looks like a Vitis HLS synthesis report but can't be read",
        ),
        ('{"total": {"LUT": "many"}}', "looks like a FINN report but can't be read"),
        ("Timing Summary Report\nno tables\n", "looks like a Vivado timing summary but can't be read"),
    ],
)
def test_an_unreadable_report_says_what_it_looks_like(figures, text, message):
    with pytest.raises(ConfigError, match=message):
        figures(text)


def test_a_report_that_does_not_exist_is_named(tmp_path):
    with pytest.raises(ConfigError, match=r"gone\.rpt does not exist"):
        read_report(tmp_path / "gone.rpt")
