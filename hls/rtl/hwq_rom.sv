// hwq_rom: read-only memory with a registered read, the weight store.
//   Function    data = row[addr], rows from INIT_FILE (hex, one row a line, row 0 first).
//   Latency     1 cycle when en = 1; data holds while en = 0. DEPTH = 1: data is a constant.
//   Handshake   none; en is the load enable of the reader's first stage.
//   Reset       none.
//   STYLE 1 is spelt "logic" for Yosys; define HWQ_ROM_LUT as "distributed" for Vivado.
`ifndef HWQ_ROM_LUT
`define HWQ_ROM_LUT "logic"
`endif
module hwq_rom #(
  parameter int unsigned DATA_W    = 8,
  parameter int unsigned DEPTH     = 4,
  parameter int unsigned STYLE     = 0,      // 0 tool's choice, 1 LUT, 2 block memory
  parameter string       INIT_FILE = "rom.hex",
  localparam int unsigned ADDR_W   = DEPTH > 1 ? $clog2(DEPTH) : 1
) (
  input  logic              clk,
  input  logic              en,
  input  logic [ADDR_W-1:0] addr,
  output logic [DATA_W-1:0] data
);
  if (DATA_W < 1 || DEPTH < 1) begin : gen_bad_size
    $error("hwq_rom: DATA_W=%0d and DEPTH=%0d must be at least 1", DATA_W, DEPTH);
  end
  if (STYLE > 2) begin : gen_bad_style
    $error("hwq_rom: STYLE=%0d, must be 0 (auto), 1 (LUT) or 2 (block)", STYLE);
  end

  if (DEPTH == 1) begin : gen_constant
    // Copying the array as a whole keeps it from becoming a memory cell, so that the row is a
    // constant before any arithmetic on it is mapped.
    logic [DATA_W-1:0] rows [1];
    logic [DATA_W-1:0] row  [1];
    logic              unused;
    initial $readmemh(INIT_FILE, rows);
    assign row    = rows;
    assign data   = row[0];
    assign unused = &{1'b0, clk, en, addr};
  end else if (STYLE == 1) begin : gen_lut
    (* rom_style = `HWQ_ROM_LUT *) logic [DATA_W-1:0] rows [DEPTH];
    initial $readmemh(INIT_FILE, rows);
    always_ff @(posedge clk) if (en) data <= rows[addr];
  end else if (STYLE == 2) begin : gen_block
    (* rom_style = "block" *) logic [DATA_W-1:0] rows [DEPTH];
    initial $readmemh(INIT_FILE, rows);
    always_ff @(posedge clk) if (en) data <= rows[addr];
  end else begin : gen_auto
    logic [DATA_W-1:0] rows [DEPTH];
    initial $readmemh(INIT_FILE, rows);
    always_ff @(posedge clk) if (en) data <= rows[addr];
  end
endmodule
