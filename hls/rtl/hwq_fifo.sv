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

  // Slots may be used in any order, as long as both pointers follow the same one. A de Bruijn
  // sequence (shift register, maximal-length feedback with the all-zero word spliced in) walks all
  // 2**ADDR_W addresses with one LUT instead of an incrementer, up to 6 address bits.
  localparam bit SHIFTED = STYLE <= 1 && ADDR_W >= 2 && ADDR_W <= 6;
  localparam int unsigned TAP = (ADDR_W <= 2) ? 0 : (ADDR_W == 3) ? 1 : (ADDR_W <= 5) ? 2 : 4;
  localparam int unsigned SLOTS = SHIFTED ? 2 ** ADDR_W : DEPTH;

  if (DEPTH < 2) begin : gen_bad_depth
    $error("hwq_fifo: DEPTH=%0d, must be at least 2", DEPTH);
  end

  function automatic logic [ADDR_W-1:0] next(input logic [ADDR_W-1:0] p);
    logic feedback;
    feedback = p[ADDR_W-1] ^ p[TAP] ^ (ADDR_W'({p, 1'b0}) == '0);
    if (SHIFTED) return ADDR_W'({p, feedback});
    return (DEPTH != 2 ** ADDR_W && p == ADDR_W'(DEPTH - 1)) ? '0 : p + 1'b1;
  endfunction

  // The slot of a pointer: for the sequence its successor, whose one new bit is there anyway. With
  // plain registers as address, Yosys takes the pointer for a registered read port and builds it twice.
  function automatic logic [ADDR_W-1:0] slot(input logic [ADDR_W-1:0] p);
    return SHIFTED ? next(p) : p;
  endfunction

  logic [ADDR_W-1:0] wptr_q, rptr_q, rptr_d;
  logic [COUNT_W-1:0] count_q;  // occupancy in beats
  logic push, pop;

  assign s_axis_tready = count_q != COUNT_W'(DEPTH);
  assign m_axis_tvalid = count_q != '0;
  assign push = s_axis_tvalid && s_axis_tready;
  assign pop  = m_axis_tvalid && m_axis_tready;

  assign rptr_d = pop ? next(rptr_q) : rptr_q;

  always_ff @(posedge clk) begin
    if (!rst_n) begin
      wptr_q  <= '0;
      rptr_q  <= '0;
      count_q <= '0;
    end else begin
      if (push) wptr_q <= next(wptr_q);
      rptr_q  <= rptr_d;
      // One adder serves both directions: +1 or all ones (-1).
      if (push != pop) count_q <= count_q + COUNT_W'($signed({pop, 1'b1}));
    end
  end

  hwq_ram #(
    .DATA_W(DATA_W),
    .DEPTH (SLOTS),
    .STYLE (STYLE)
  ) u_ram (
    .clk,
    .we(push),
    .waddr(slot(wptr_q)),
    .wdata(s_axis_tdata),
    .raddr_d(slot(rptr_d)),
    .raddr_q(slot(rptr_q)),
    .rdata(m_axis_tdata)
  );

endmodule
