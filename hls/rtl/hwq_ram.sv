// hwq_ram: the memory of buffers, one write and one read port. Every RAM style attribute is here.
//   Function    rdata = mem[raddr_q], where a write of the previous cycle is already visible.
//   Contract    raddr_q is a register loaded with raddr_d in every cycle; the caller keeps it, for
//               a LUT memory reads by the registered address and a block memory by the coming one.
//   Latency     data written in cycle c can be read in cycle c + 1, in every style.
//   Handshake   none.
//   Reset       none; the content is never reset.
//   STYLE       0 auto (block from 8 Kibit up if deeper than 64), 1 LUT memory, 2 block memory,
//               3 registers
module hwq_ram #(
  parameter int unsigned DATA_W = 8,
  parameter int unsigned DEPTH  = 16,
  parameter int unsigned STYLE  = 0,
  localparam int unsigned ADDR_W = (DEPTH > 1) ? $clog2(DEPTH) : 1
) (
  input  logic              clk,
  input  logic              we,
  input  logic [DATA_W-1:0] wdata,
  // verilator lint_off UNUSEDSIGNAL
  input  logic [ADDR_W-1:0] waddr,          // a single word has no address
  input  logic [ADDR_W-1:0] raddr_d,        // each style reads by one of the two
  input  logic [ADDR_W-1:0] raddr_q,
  // verilator lint_on UNUSEDSIGNAL
  output logic [DATA_W-1:0] rdata
);

  localparam int unsigned KIND =
      (STYLE != 0) ? STYLE : (DEPTH > 64 && DATA_W * DEPTH >= 8192) ? 2 : 1;

  if (DATA_W < 1 || DEPTH < 1) begin : gen_bad_size
    $error("hwq_ram: DATA_W=%0d, DEPTH=%0d, both must be at least 1", DATA_W, DEPTH);
  end
  if (STYLE > 3) begin : gen_bad_style
    $error("hwq_ram: STYLE=%0d, must be 0 auto, 1 LUT, 2 block or 3 registers", STYLE);
  end

  if (DEPTH == 1) begin : gen_single
    logic [DATA_W-1:0] mem;
    assign rdata = mem;
    always_ff @(posedge clk) begin
      if (we) mem <= wdata;
    end
  end else if (KIND == 2) begin : gen_block
    (* ram_style = "block" *) logic [DATA_W-1:0] mem [DEPTH];
    logic [DATA_W-1:0] read_q, fresh_q;
    logic use_fresh_q;

    // A block memory returns the old word when it is read and written at once; the new one is kept
    // beside it for that one cycle.
    assign rdata = use_fresh_q ? fresh_q : read_q;

    always_ff @(posedge clk) begin
      if (we) mem[waddr] <= wdata;
      read_q <= mem[raddr_d];
    end
    always_ff @(posedge clk) begin
      fresh_q     <= wdata;
      use_fresh_q <= we && (waddr == raddr_d);
    end
  end else if (KIND == 3) begin : gen_registers
    (* ram_style = "registers" *) logic [DATA_W-1:0] mem [DEPTH];
    assign rdata = mem[raddr_q];
    always_ff @(posedge clk) begin
      if (we) mem[waddr] <= wdata;
    end
  end else begin : gen_lut
    (* ram_style = "distributed" *) logic [DATA_W-1:0] mem [DEPTH];
    assign rdata = mem[raddr_q];
    always_ff @(posedge clk) begin
      if (we) mem[waddr] <= wdata;
    end
  end

endmodule
