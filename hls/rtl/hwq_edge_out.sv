// hwq_edge_out: exit of a design; pads TDATA to whole bytes with zeros and makes TLAST.
//   Function    m_axis_tdata = s_axis_tdata, zero above; m_axis_tlast on every BEATS-th beat.
//   Latency     0 cycles.   Throughput  1 beat/cycle.
//   Handshake   wires: s_axis_tready combinational from m_axis_tready.
//   Reset       clears the beat counter.
module hwq_edge_out #(
  parameter int unsigned DATA_W = 8,
  parameter int unsigned BEATS  = 1,
  localparam int unsigned TDATA_W = (DATA_W + 7) / 8 * 8
) (
  input  logic               clk,
  input  logic               rst_n,         // synchronous, active low
  input  logic [DATA_W-1:0]  s_axis_tdata,
  input  logic               s_axis_tvalid,
  output logic               s_axis_tready,
  output logic [TDATA_W-1:0] m_axis_tdata,
  output logic               m_axis_tvalid,
  input  logic               m_axis_tready,
  output logic               m_axis_tlast
);

  localparam int unsigned BEAT_W = (BEATS > 1) ? $clog2(BEATS) : 1;

  if (DATA_W < 1 || BEATS < 1) begin : gen_bad_size
    $error("hwq_edge_out: DATA_W=%0d, BEATS=%0d, both must be at least 1", DATA_W, BEATS);
  end

  logic [BEAT_W-1:0] beat_q;

  assign m_axis_tdata  = TDATA_W'(s_axis_tdata);
  assign m_axis_tvalid = s_axis_tvalid;
  assign s_axis_tready = m_axis_tready;
  assign m_axis_tlast  = beat_q == BEAT_W'(BEATS - 1);

  always_ff @(posedge clk) begin
    if (!rst_n) beat_q <= '0;
    else if (s_axis_tvalid && m_axis_tready) beat_q <= m_axis_tlast ? '0 : beat_q + 1'b1;
  end

endmodule
