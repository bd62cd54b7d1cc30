// hwq_replay: sends every sequence of BEATS beats PASSES times.
//   Function    m_axis = for each frame: PASSES times its BEATS beats in order.
//   Latency     1 cycle.   Throughput  1 beat/cycle out, across frames too if the input keeps up.
//   Handshake   s_axis_tready and m_axis_tvalid come from registers (early).
//               Class replay(BEATS, PASSES, DEPTH).
//   Reset       clears counters and pointers; payload is never reset.
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

  localparam int unsigned ADDR_W  = (DEPTH > 1) ? $clog2(DEPTH) : 1;
  localparam int unsigned COUNT_W = $clog2(DEPTH + 1);
  localparam int unsigned PASS_W  = (PASSES > 1) ? $clog2(PASSES) : 1;

  if (BEATS < 1 || PASSES < 2) begin : gen_bad_sequence
    $error("hwq_replay: BEATS=%0d, PASSES=%0d, must be at least 1 and 2", BEATS, PASSES);
  end
  if (DEPTH < BEATS) begin : gen_bad_depth
    $error("hwq_replay: DEPTH=%0d does not hold BEATS=%0d", DEPTH, BEATS);
  end

  // A ring of 2**ADDR_W slots wraps by itself.
  function automatic logic [ADDR_W-1:0] next(input logic [ADDR_W-1:0] addr);
    return (DEPTH != 2 ** ADDR_W && addr == ADDR_W'(DEPTH - 1)) ? '0 : addr + 1'b1;
  endfunction

  logic [ADDR_W-1:0] waddr_q, raddr_q, raddr_d, base;
  logic [PASS_W-1:0] pass_q;
  logic first_q;                // pass_q is the first pass: beats may not have arrived yet
  logic [COUNT_W-1:0] used_q;   // slots in use
  logic [COUNT_W-1:0] fresh_q;  // beats stored and never sent
  logic push, pop, last_beat, last_pass, frees, opens;

  assign s_axis_tready = used_q != COUNT_W'(DEPTH);
  assign m_axis_tvalid = !first_q || fresh_q != '0;
  assign push = s_axis_tvalid && s_axis_tready;
  assign pop  = m_axis_tvalid && m_axis_tready;

  assign last_pass = pass_q == PASS_W'(PASSES - 1);
  assign frees = pop && last_pass;
  assign opens = pop && first_q;

  always_comb begin
    raddr_d = raddr_q;
    if (pop) raddr_d = (last_beat && !last_pass) ? base : next(raddr_q);
  end

  always_ff @(posedge clk) begin
    if (!rst_n) begin
      waddr_q <= '0;
      raddr_q <= '0;
      pass_q  <= '0;
      first_q <= 1'b1;
      used_q  <= '0;
      fresh_q <= '0;
    end else begin
      raddr_q <= raddr_d;
      if (push) waddr_q <= next(waddr_q);
      if (pop && last_beat) begin
        pass_q  <= last_pass ? '0 : pass_q + 1'b1;
        first_q <= last_pass;
      end
      // One adder serves both directions: +1 or all ones (-1).
      if (push != frees) used_q <= used_q + COUNT_W'($signed({frees, 1'b1}));
      if (push != opens) fresh_q <= fresh_q + COUNT_W'($signed({opens, 1'b1}));
    end
  end

  if (DEPTH == BEATS) begin : gen_fixed_base
    assign base = '0;  // every frame starts in slot 0, so the address is the beat number
    assign last_beat = raddr_q == ADDR_W'(BEATS - 1);
  end else begin : gen_moving_base
    localparam int unsigned BEAT_W = (BEATS > 1) ? $clog2(BEATS) : 1;
    logic [ADDR_W-1:0] base_q;
    logic [BEAT_W-1:0] beat_q;
    assign base = base_q;
    assign last_beat = beat_q == BEAT_W'(BEATS - 1);
    always_ff @(posedge clk) begin
      if (!rst_n) begin
        base_q <= '0;
        beat_q <= '0;
      end else if (pop) begin
        beat_q <= last_beat ? '0 : beat_q + 1'b1;
        if (last_beat && last_pass) base_q <= next(raddr_q);
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
    .waddr(waddr_q),
    .wdata(s_axis_tdata),
    .raddr_d,
    .raddr_q,
    .rdata(m_axis_tdata)
  );

endmodule
