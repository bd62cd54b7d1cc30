// hwq_join: two streams beat by beat side by side; chain it for more.
//   Function    m_axis_tdata = {s1_axis_tdata, s0_axis_tdata}.
//   Latency     0 cycles.   Throughput  1 beat/cycle.
//   Handshake   no register: a beat moves on all three in the cycle in which both inputs offer one and
//               the consumer takes it. So each s_axis_tready depends on the other's s_axis_tvalid: a FIFO or
//               relay stands on every input. Class wire.
//   Reset       nothing to reset.
module hwq_join #(
  parameter int unsigned S0_W = 8,
  parameter int unsigned S1_W = 8
) (
  input  logic                 clk,
  input  logic                 rst_n,       // synchronous, active low
  input  logic [S0_W-1:0]      s0_axis_tdata,
  input  logic                 s0_axis_tvalid,
  output logic                 s0_axis_tready,
  input  logic [S1_W-1:0]      s1_axis_tdata,
  input  logic                 s1_axis_tvalid,
  output logic                 s1_axis_tready,
  output logic [S1_W+S0_W-1:0] m_axis_tdata,
  output logic                 m_axis_tvalid,
  input  logic                 m_axis_tready
);
  if (S0_W < 1 || S1_W < 1) begin : gen_bad_width
    $error("hwq_join: S0_W=%0d, S1_W=%0d must be at least 1", S0_W, S1_W);
  end

  assign m_axis_tvalid  = s0_axis_tvalid && s1_axis_tvalid;
  assign s0_axis_tready = m_axis_tready && s1_axis_tvalid;
  assign s1_axis_tready = m_axis_tready && s0_axis_tvalid;
  assign m_axis_tdata   = {s1_axis_tdata, s0_axis_tdata};

  logic unused;
  assign unused = &{1'b0, clk, rst_n};
endmodule
