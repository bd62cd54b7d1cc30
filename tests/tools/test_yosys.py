import hwq_hls
import pytest
from hypothesis import given
from hypothesis import strategies as st

from hwq.errors import ConfigError, ToolFailed
from hwq.tools import yosys
from hwq.tools.yosys import SynthJob

ROM = """
module rom #(parameter int unsigned W = 8, parameter W_FILE = "") (
  input logic clk, input logic [3:0] a, input logic [W-1:0] d, input logic we, output logic [W-1:0] q
);
  logic [W-1:0] mem [16];
  logic [W-1:0] other [16];
  initial $readmemh(W_FILE, mem);
  always_ff @(posedge clk) begin
    if (we) other[a] <= d;
    q <= mem[a] ^ other[a];
  end
endmodule
"""
NO_ROM = 'module rom #(parameter W_FILE = "") (input logic a, output logic q); assign q = ~a; endmodule\n'


@pytest.fixture
def folder(tmp_path):
    (tmp_path / "rom.sv").write_text(ROM)
    (tmp_path / "a.mem").write_text("".join(f"{i * 37 % 256:02x}\n" for i in range(16)))
    (tmp_path / "b.mem").write_text("".join(f"{i * 91 % 256:02x}\n" for i in range(16)))
    return tmp_path


def job(mem="a.mem", **changes):
    return SynthJob(("rom.sv",), "rom", (("W", 8), ("W_FILE", mem)), (mem,), **changes)


def test_lut_counts_tables_shift_registers_and_lut_memory():
    cells = {
        "LUT1": 1,
        "LUT6": 10,
        "LUT6_2": 3,
        "SRL16E": 2,
        "SRLC32E": 5,
        "RAM32M": 2,
        "RAM64M": 1,
        "RAM32X1S": 4,
        "RAM64X1S": 1,
        "RAM32X1D": 3,
        "RAM128X1S": 1,
    }
    assert yosys.count(cells).lut == 1 + 10 + 3 + 2 + 5 + 4 * 3 + 4 + 1 + 2 * 3 + 2


def test_registers_block_memory_and_arithmetic_are_counted_apart_from_lut():
    counts = yosys.count(
        {
            "FDRE": 5,
            "FDSE": 2,
            "FDCE": 1,
            "RAMB18E1": 3,
            "RAMB36E1": 2,
            "DSP48E1": 7,
            "CARRY4": 9,
            "MUXF7": 4,
            "MUXF8": 1,
            "INV": 6,
            "BUFG": 1,
        }
    )
    assert (counts.lut, counts.ff, counts.bram18, counts.dsp, counts.carry4, counts.muxf) == (
        0,
        8,
        7,
        7,
        9,
        5,
    )


def test_a_cell_type_without_a_known_cost_is_refused_by_name():
    with pytest.raises(ConfigError, match="RAM512X1S"):
        yosys.count({"RAM512X1S": 1})
    with pytest.raises(ConfigError, match=r"\$mem_v2"):
        yosys.count({"$mem_v2": 1})


def test_ecp5_and_ice40_cells_are_counted():
    assert (
        yosys.count({"LUT4": 3, "CCU2C": 2, "TRELLIS_FF": 4, "DP16KD": 1, "MULT18X18D": 2}, "ecp5").lut == 7
    )
    ice = yosys.count({"SB_LUT4": 3, "SB_DFFE": 2, "SB_DFFSR": 1, "SB_RAM40_4K": 1}, "ice40")
    assert (ice.lut, ice.ff, ice.bram18) == (3, 3, 1)


@given(
    st.lists(
        st.dictionaries(
            st.sampled_from(["LUT4", "LUT6", "RAM32M", "FDRE", "RAMB36E1", "CARRY4"]), st.integers(0, 1000)
        ),
        min_size=1,
        max_size=4,
    )
)
def test_the_total_of_netlists_is_the_sum_of_every_column(parts):
    counts = [yosys.count(p) for p in parts]
    whole = yosys.total(counts)
    for column in ("lut", "ff", "bram18", "dsp", "carry4", "muxf"):
        assert getattr(whole, column) == sum(getattr(c, column) for c in counts)


def test_an_unknown_family_is_refused_with_the_known_ones():
    with pytest.raises(ConfigError, match="xc7, xcup, ecp5, ice40"):
        job(family="stratix")


def test_the_key_follows_contents_and_not_names(folder):
    first = yosys.job_key(job(), folder)
    (folder / "copy.mem").write_text((folder / "a.mem").read_text())
    assert yosys.job_key(job("copy.mem"), folder) == first
    assert yosys.job_key(job("b.mem"), folder) != first
    assert yosys.job_key(job(family="ecp5"), folder) != first
    (folder / "rom.sv").write_text(ROM + "// changed\n")
    assert yosys.job_key(job(), folder) != first


def test_a_missing_memory_file_is_named(folder):
    with pytest.raises(ConfigError, match=r"rom needs gone\.mem, which is not there"):
        yosys.synth(job("gone.mem"), folder)


def test_memory_rows_allow_comments():
    assert yosys.memory_rows("// rows\n0f\n/* x */ A0 1_0\n") == [15, 160, 16]


@pytest.mark.synth
def test_a_memory_is_synthesized_with_its_contents(folder):
    result = yosys.synth(job(), folder)
    assert result.counts.lut > 0 and result.counts.ff == 8 and result.counts.dsp == 0
    assert ("RAM32M", 2) in result.counts.cells or any(c.startswith("RAM") for c, _ in result.counts.cells)
    assert result.logic_delay_ns > 0 and not result.cached


@pytest.mark.synth
def test_a_memory_that_fits_one_decimal_number_is_found_too(tmp_path):
    (tmp_path / "hwq_rom.sv").write_text((hwq_hls.root() / "rtl" / "hwq_rom.sv").read_text())
    (tmp_path / "small.mem").write_text("2\n1\n0\n3\n0\n1\n2\n")
    params = (("DATA_W", 2), ("DEPTH", 7), ("STYLE", 1), ("INIT_FILE", "small.mem"))
    result = yosys.synth(SynthJob(("hwq_rom.sv",), "hwq_rom", params, ("small.mem",)), tmp_path)
    assert 1 <= result.counts.lut <= 2


@pytest.mark.synth
def test_long_generate_loops_are_read(tmp_path):
    (tmp_path / "long.sv").write_text(
        "module long (output logic y);\n  for (genvar i = 0; i < 200000; i++) begin : gen_empty\n  end\n"
        "  assign y = 1'b0;\nendmodule\n"
    )
    assert yosys.synth(SynthJob(("long.sv",), "long"), tmp_path).counts.lut == 0


@pytest.mark.synth
def test_contents_that_do_not_reach_the_netlist_are_an_error(folder):
    (folder / "rom.sv").write_text(NO_ROM)
    with pytest.raises(ToolFailed, match=r"module rom: the contents of a\.mem are not in the netlist"):
        yosys.synth(SynthJob(("rom.sv",), "rom", (("W_FILE", "a.mem"),), ("a.mem",)), folder)


@pytest.mark.synth
def test_a_syntax_error_carries_the_message_of_the_frontend(folder):
    (folder / "rom.sv").write_text("module rom (input logic a; endmodule\n")
    with pytest.raises(ToolFailed, match=r"rom\.sv:1"):
        yosys.synth(SynthJob(("rom.sv",), "rom"), folder)


@pytest.mark.synth
def test_equal_jobs_run_once_and_results_are_cached(folder, tmp_path):
    cache, ran = tmp_path / "cache", []
    jobs = [job(name="x"), job("b.mem", name="y"), job(name="z")]
    results = yosys.synth_all(jobs, folder, cache, workers=2, progress=ran.append)
    assert len(ran) == 2 and [r.job.name for r in results] == ["x", "y", "z"]
    assert results[0].counts == results[2].counts
    again = yosys.synth_all(jobs, folder, cache)
    assert all(r.cached for r in again) and [r.counts for r in again] == [r.counts for r in results]


@pytest.mark.synth
def test_xc7_counts_of_a_module_are_one_call(folder):
    assert yosys.synth_xc7(["rom.sv"], "rom", {"W": 8, "W_FILE": "a.mem"}, folder, ["a.mem"]).ff == 8


@pytest.mark.synth
def test_ecp5_is_routed_and_reports_a_clock(folder):
    from hwq.tools import nextpnr

    (folder / "acc.sv").write_text(
        "module acc (input logic clk, input logic [7:0] d, output logic [15:0] q);\n"
        "  always_ff @(posedge clk) q <= q + d;\nendmodule\n"
    )
    result = yosys.synth(SynthJob(("acc.sv",), "acc", family="ecp5"), folder, need_netlist=True)
    routed = nextpnr.place_ecp5(result.netlist, folder)
    assert 50 < routed.fmax_mhz < 2000
    assert dict(routed.used)["TRELLIS_FF"] == 16
