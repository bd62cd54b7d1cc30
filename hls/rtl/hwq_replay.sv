// hwq_replay: sends every sequence of BEATS beats PASSES times.
//   Function    m_axis = for each frame: PASSES times its BEATS beats in order.
//   Latency     1 cycle.   Throughput  1 beat/cycle out, across frames too if the input keeps up.
//   Handshake   s_axis_tready and m_axis_tvalid come from registers (early).
//               Class replay(BEATS, PASSES, DEPTH).
//   Reset       clears pointers and the pass counter; payload is never reset.
//   Memory      ring of DEPTH >= BEATS beats. A slot is free again after its beat went out in the
//               last pass, so the next frame streams in behind it. STYLE as hwq_ram.
module hwq_replay #(
  parameter int unsigned DATA_W = 8,
  parameter int unsigned BEATS  = 4,
  parameter int unsigned PASSES = 2,
  parameter int unsigned DEPTH  = 4,
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

  localparam int unsigned ADDR_W = (DEPTH > 1) ? $clog2(DEPTH) : 1;
  localparam int unsigned PASS_W = (PASSES > 1) ? $clog2(PASSES) : 1;

  if (BEATS < 1 || PASSES < 2) begin : gen_bad_sequence
    $error("hwq_replay: BEATS=%0d, PASSES=%0d, must be at least 1 and 2", BEATS, PASSES);
  end
  if (DEPTH < BEATS) begin : gen_bad_depth
    $error("hwq_replay: DEPTH=%0d does not hold BEATS=%0d", DEPTH, BEATS);
  end

  // A pointer is {lap, address}; the lap bit toggles at the end of the ring, so that equal addresses
  // tell a full ring from an empty one. A ring of 2**ADDR_W slots wraps by itself.
  typedef logic [ADDR_W:0] pointer_t;

  function automatic pointer_t next(input pointer_t p);
    return (DEPTH != 2 ** ADDR_W && p[ADDR_W-1:0] == ADDR_W'(DEPTH - 1))
        ? {!p[ADDR_W], ADDR_W'(0)} : p + 1'b1;
  endfunction

  pointer_t wptr_q;             // next slot to write
  pointer_t rptr_q, rptr_d;     // next slot to send
  pointer_t base;               // first slot of the frame being sent
  logic [PASS_W-1:0] pass_q;
  logic push, pop, last_beat, last_pass;

  assign push = s_axis_tvalid && s_axis_tready;
  assign pop  = m_axis_tvalid && m_axis_tready;
  assign last_pass = pass_q == PASS_W'(PASSES - 1);
  assign rptr_d = !pop ? rptr_q : (last_beat && !last_pass) ? base : next(rptr_q);

  always_ff @(posedge clk) begin
    if (!rst_n) begin
      wptr_q <= '0;
      rptr_q <= '0;
      pass_q <= '0;
    end else begin
      rptr_q <= rptr_d;
      if (push) wptr_q <= next(wptr_q);
      if (pop && last_beat) pass_q <= last_pass ? '0 : pass_q + 1'b1;
    end
  end

  if (DEPTH == BEATS) begin : gen_one_frame
    // Every frame starts in slot 0. While the laps agree, the writer is ahead of the reader in the
    // same frame; once they differ, that frame is complete and the writer may only follow the reader
    // through the last pass.
    logic same_slot, same_lap;
    assign same_slot = wptr_q[ADDR_W-1:0] == rptr_q[ADDR_W-1:0];
    assign same_lap  = wptr_q[ADDR_W] == rptr_q[ADDR_W];
    assign base      = {rptr_q[ADDR_W], ADDR_W'(0)};
    assign last_beat = rptr_q[ADDR_W-1:0] == ADDR_W'(BEATS - 1);
    assign m_axis_tvalid = !(same_slot && same_lap);
    assign s_axis_tready = same_lap || (last_pass && !same_slot);
  end else begin : gen_ring
    localparam int unsigned BEAT_W = (BEATS > 1) ? $clog2(BEATS) : 1;
    pointer_t base_q, oldest;   // oldest slot that is still needed
    logic [BEAT_W-1:0] beat_q;
    assign base      = base_q;
    assign oldest    = last_pass ? rptr_q : base_q;
    assign last_beat = beat_q == BEAT_W'(BEATS - 1);
    assign m_axis_tvalid = wptr_q != rptr_q;
    assign s_axis_tready = wptr_q != {!oldest[ADDR_W], oldest[ADDR_W-1:0]};
    always_ff @(posedge clk) begin
      if (!rst_n) begin
        base_q <= '0;
        beat_q <= '0;
      end else if (pop) begin
        beat_q <= last_beat ? '0 : beat_q + 1'b1;
        if (last_beat && last_pass) base_q <= next(rptr_q);
      end
    end
  end

  hwq_ram #(
    .DATA_W(DATA_W),
    .DEPTH (DEPTH),
    .STYLE (STYLE)
  ) u_ram (
    .clk,
    .we(push),
    .waddr(wptr_q[ADDR_W-1:0]),
    .wdata(s_axis_tdata),
    .raddr_d(rptr_d[ADDR_W-1:0]),
    .raddr_q(rptr_q[ADDR_W-1:0]),
    .rdata(m_axis_tdata)
  );

endmodule
