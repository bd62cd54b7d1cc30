// hwq_concat: the channels of two streams one after the other, pixel by pixel; chain it for more.
//   Function    over and over again, A beats of s0_axis, then B beats of s1_axis.
//   Latency     1 cycle.   Throughput  1 beat/cycle out, also where the input changes.
//   Handshake   s0_axis_tready, s1_axis_tready and m_axis_tvalid come from registers (early); an input
//               is ready in its turn only. Class concat(A, B).
//   Reset       the turn and the valid bits.
module hwq_concat #(
  parameter int unsigned DATA_W = 8,
  parameter int unsigned A      = 2,
  parameter int unsigned B      = 1
) (
  input  logic              clk,
  input  logic              rst_n,          // synchronous, active low
  input  logic [DATA_W-1:0] s0_axis_tdata,
  input  logic              s0_axis_tvalid,
  output logic              s0_axis_tready,
  input  logic [DATA_W-1:0] s1_axis_tdata,
  input  logic              s1_axis_tvalid,
  output logic              s1_axis_tready,
  output logic [DATA_W-1:0] m_axis_tdata,
  output logic              m_axis_tvalid,
  input  logic              m_axis_tready
);
  if (DATA_W < 1 || A < 1 || B < 1) begin : gen_bad_size
    $error("hwq_concat: DATA_W=%0d, A=%0d, B=%0d must be at least 1", DATA_W, A, B);
  end

  logic turn_q, last0, last1, valid, ready;

  assign valid          = turn_q ? s1_axis_tvalid : s0_axis_tvalid;
  assign s0_axis_tready = ready && !turn_q;
  assign s1_axis_tready = ready && turn_q;

  hwq_last #(.COUNT(A)) u_last0 (.clk, .rst_n, .advance(s0_axis_tvalid && s0_axis_tready), .last(last0));
  hwq_last #(.COUNT(B)) u_last1 (.clk, .rst_n, .advance(s1_axis_tvalid && s1_axis_tready), .last(last1));
  always_ff @(posedge clk) begin
    if (!rst_n) turn_q <= 1'b0;
    else if (valid && ready && (turn_q ? last1 : last0)) turn_q <= !turn_q;
  end

  hwq_relay #(.DATA_W(DATA_W)) u_slice (
    .clk, .rst_n, .s_axis_tdata(turn_q ? s1_axis_tdata : s0_axis_tdata), .s_axis_tvalid(valid),
    .s_axis_tready(ready), .m_axis_tdata, .m_axis_tvalid, .m_axis_tready
  );
endmodule
