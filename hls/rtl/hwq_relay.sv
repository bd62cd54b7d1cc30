// hwq_relay: two-entry register slice that cuts every TREADY path.
//   Function    the m_axis sequence equals the s_axis sequence.
//   Latency     1 cycle.   Throughput  1 beat/cycle, also right after a stall.
//   Handshake   s_axis_tready and m_axis_tvalid come from registers (early). Class fifo(2).
//   Reset       clears valid bits only; payload is never reset.
module hwq_relay #(
  parameter int unsigned DATA_W = 8
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

  if (DATA_W < 1) begin : gen_bad_width
    $error("hwq_relay: DATA_W=%0d, must be at least 1", DATA_W);
  end

  // spare_q holds the younger beat when both entries are full; spare_full_q implies out_full_q.
  logic [DATA_W-1:0] out_q, spare_q;
  logic out_full_q, spare_full_q;
  logic out_moves;

  assign out_moves     = !out_full_q || m_axis_tready;
  assign s_axis_tready = !spare_full_q;
  assign m_axis_tvalid = out_full_q;
  assign m_axis_tdata  = out_q;

  always_ff @(posedge clk) begin
    if (out_moves) out_q <= spare_full_q ? spare_q : s_axis_tdata;
    if (s_axis_tready) spare_q <= s_axis_tdata;
  end

  always_ff @(posedge clk) begin
    if (!rst_n) begin
      out_full_q   <= 1'b0;
      spare_full_q <= 1'b0;
    end else begin
      if (out_moves) out_full_q <= spare_full_q || s_axis_tvalid;
      // A beat stays in the spare entry exactly while the output is stalled.
      spare_full_q <= !out_moves && (spare_full_q || s_axis_tvalid);
    end
  end

endmodule
