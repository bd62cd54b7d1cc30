// hwq_fifo: first in, first out, exactly DEPTH beats.
//   Function    the m_axis sequence equals the s_axis sequence.
//   Latency     1 cycle.   Throughput  1 beat/cycle, also right after a stall.
//   Handshake   s_axis_tready and m_axis_tvalid come from the occupancy register (early).
//               Class fifo(DEPTH).
//   Reset       clears pointers and occupancy; payload is never reset.
//   STYLE       of the memory, as hwq_ram.
module hwq_fifo #(
  parameter int unsigned DATA_W = 8,
  parameter int unsigned DEPTH  = 16,
  parameter int unsigned STYLE  = 0
) (
  input  logic              clk,
  input  logic              rst_n,          // synchronous, active low
  input  logic [DATA_W-1:0] s_axis_tdata,
  input  logic              s_axis_tvalid,
  output logic              s_axis_tready,
  output logic [DATA_W-1:0] m_axis_tdata,
  output logic              m_axis_tvalid,
  input  logic              m_axis_tready
);

  localparam int unsigned ADDR_W  = (DEPTH > 1) ? $clog2(DEPTH) : 1;
  localparam int unsigned COUNT_W = $clog2(DEPTH + 1);

  if (DEPTH < 2) begin : gen_bad_depth
    $error("hwq_fifo: DEPTH=%0d, must be at least 2", DEPTH);
  end

  // A ring of 2**ADDR_W slots wraps by itself.
  function automatic logic [ADDR_W-1:0] next(input logic [ADDR_W-1:0] addr);
    return (DEPTH != 2 ** ADDR_W && addr == ADDR_W'(DEPTH - 1)) ? '0 : addr + 1'b1;
  endfunction

  logic [ADDR_W-1:0] waddr_q, raddr_q, raddr_d;
  logic [COUNT_W-1:0] count_q;  // occupancy in beats
  logic push, pop;

  assign s_axis_tready = count_q != COUNT_W'(DEPTH);
  assign m_axis_tvalid = count_q != '0;
  assign push = s_axis_tvalid && s_axis_tready;
  assign pop  = m_axis_tvalid && m_axis_tready;

  assign raddr_d = pop ? next(raddr_q) : raddr_q;

  always_ff @(posedge clk) begin
    if (!rst_n) begin
      waddr_q <= '0;
      raddr_q <= '0;
      count_q <= '0;
    end else begin
      if (push) waddr_q <= next(waddr_q);
      raddr_q <= raddr_d;
      // One adder serves both directions: +1 or all ones (-1).
      if (push != pop) count_q <= count_q + COUNT_W'($signed({pop, 1'b1}));
    end
  end

  hwq_ram #(
    .DATA_W(DATA_W),
    .DEPTH (DEPTH),
    .STYLE (STYLE)
  ) u_ram (
    .clk,
    .we(push),
    .waddr(waddr_q),
    .wdata(s_axis_tdata),
    .raddr_d,
    .raddr_q,
    .rdata(m_axis_tdata)
  );

endmodule
