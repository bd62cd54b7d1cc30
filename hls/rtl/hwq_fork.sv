// hwq_fork: one stream to two consumers; chain it for more.
//   Function    every beat of s_axis goes to m0_axis and to m1_axis.
//   Latency     0 cycles.   Throughput  1 beat/cycle.
//   Handshake   no register: a beat moves on all three in the cycle in which s_axis offers it and both
//               consumers take it. So each m_axis_tvalid depends on the other's m_axis_tready, and holds
//               only if that does: a FIFO or relay stands on every branch. Class wire.
//   Reset       nothing to reset.
module hwq_fork #(
  parameter int unsigned DATA_W = 8
) (
  input  logic              clk,
  input  logic              rst_n,          // synchronous, active low
  input  logic [DATA_W-1:0] s_axis_tdata,
  input  logic              s_axis_tvalid,
  output logic              s_axis_tready,
  output logic [DATA_W-1:0] m0_axis_tdata,
  output logic              m0_axis_tvalid,
  input  logic              m0_axis_tready,
  output logic [DATA_W-1:0] m1_axis_tdata,
  output logic              m1_axis_tvalid,
  input  logic              m1_axis_tready
);
  if (DATA_W < 1) begin : gen_bad_width
    $error("hwq_fork: DATA_W=%0d, must be at least 1", DATA_W);
  end

  assign s_axis_tready  = m0_axis_tready && m1_axis_tready;
  assign m0_axis_tvalid = s_axis_tvalid && m1_axis_tready;
  assign m1_axis_tvalid = s_axis_tvalid && m0_axis_tready;
  assign m0_axis_tdata  = s_axis_tdata;
  assign m1_axis_tdata  = s_axis_tdata;

  logic unused;
  assign unused = &{1'b0, clk, rst_n};
endmodule
