// hwq_edge_in: entrance of a design; drops the pad bits of TDATA and checks TLAST.
//   Function    m_axis_tdata = the DATA_W low bits of s_axis_tdata, in the same cycle.
//   Latency     0 cycles.   Throughput  1 beat/cycle.
//   Handshake   wires: s_axis_tready combinational from m_axis_tready.
//   Errors      tlast_error rises after a beat whose TLAST is not (its number % BEATS == BEATS - 1)
//               and stays until reset.
//   Reset       clears the beat counter and tlast_error.
module hwq_edge_in #(
  parameter int unsigned DATA_W = 8,
  parameter int unsigned BEATS  = 1,
  localparam int unsigned TDATA_W = (DATA_W + 7) / 8 * 8
) (
  input  logic               clk,
  input  logic               rst_n,         // synchronous, active low
  // verilator lint_off UNUSEDSIGNAL
  input  logic [TDATA_W-1:0] s_axis_tdata,  // pad bits are ignored
  // verilator lint_on UNUSEDSIGNAL
  input  logic               s_axis_tvalid,
  output logic               s_axis_tready,
  input  logic               s_axis_tlast,
  output logic [DATA_W-1:0]  m_axis_tdata,
  output logic               m_axis_tvalid,
  input  logic               m_axis_tready,
  output logic               tlast_error
);

  localparam int unsigned BEAT_W = (BEATS > 1) ? $clog2(BEATS) : 1;

  if (DATA_W < 1 || BEATS < 1) begin : gen_bad_size
    $error("hwq_edge_in: DATA_W=%0d, BEATS=%0d, both must be at least 1", DATA_W, BEATS);
  end

  logic [BEAT_W-1:0] beat_q;
  logic last, take;

  assign m_axis_tdata  = s_axis_tdata[DATA_W-1:0];
  assign m_axis_tvalid = s_axis_tvalid;
  assign s_axis_tready = m_axis_tready;
  assign take = s_axis_tvalid && m_axis_tready;
  assign last = beat_q == BEAT_W'(BEATS - 1);

  always_ff @(posedge clk) begin
    if (!rst_n) begin
      beat_q      <= '0;
      tlast_error <= 1'b0;
    end else if (take) begin
      beat_q <= last ? '0 : beat_q + 1'b1;
      if (s_axis_tlast != last) tlast_error <= 1'b1;
    end
  end

endmodule
