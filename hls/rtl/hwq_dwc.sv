// hwq_dwc: width converter; one of IN_LANES and OUT_LANES divides the other.
//   Function    the lane sequence (lane 0 first) of m_axis equals that of s_axis.
//   Latency     up: the word is visible the cycle after its last piece came in; down: the first
//               piece is visible the cycle after its word came in.
//   Throughput  1 beat/cycle on the narrow side.
//   Handshake   m_axis_tvalid early; s_axis_tready combinational from m_axis_tready.
//               Class up(OUT_LANES / IN_LANES) or down(IN_LANES / OUT_LANES).
//   Reset       clears the counters only.
module hwq_dwc #(
  parameter int unsigned LANE_W    = 8,
  parameter int unsigned IN_LANES  = 2,
  parameter int unsigned OUT_LANES = 4
) (
  input  logic                        clk,
  input  logic                        rst_n,          // synchronous, active low
  input  logic [IN_LANES*LANE_W-1:0]  s_axis_tdata,
  input  logic                        s_axis_tvalid,
  output logic                        s_axis_tready,
  output logic [OUT_LANES*LANE_W-1:0] m_axis_tdata,
  output logic                        m_axis_tvalid,
  input  logic                        m_axis_tready
);

  if (LANE_W < 1) begin : gen_bad_width
    $error("hwq_dwc: LANE_W=%0d, must be at least 1", LANE_W);
  end

  if (OUT_LANES > IN_LANES && OUT_LANES % IN_LANES == 0) begin : gen_up
    localparam int unsigned RATIO = OUT_LANES / IN_LANES;
    localparam int unsigned IN_W = IN_LANES * LANE_W;
    localparam int unsigned CNT_W = $clog2(RATIO);

    // A shift register with one enable needs no data multiplexer: after RATIO pieces the first one
    // has arrived in the low lanes.
    logic [RATIO*IN_W-1:0] word_q;
    logic [CNT_W-1:0] cnt_q;  // pieces of the word being collected
    logic full_q;
    logic take, last;

    assign s_axis_tready = !full_q || m_axis_tready;
    assign m_axis_tvalid = full_q;
    assign m_axis_tdata  = word_q;
    assign take = s_axis_tvalid && s_axis_tready;
    assign last = cnt_q == CNT_W'(RATIO - 1);

    always_ff @(posedge clk) begin
      if (take) word_q <= {s_axis_tdata, word_q[RATIO*IN_W-1:IN_W]};
    end

    always_ff @(posedge clk) begin
      if (!rst_n) begin
        cnt_q  <= '0;
        full_q <= 1'b0;
      end else begin
        if (take) cnt_q <= last ? '0 : cnt_q + 1'b1;
        if (s_axis_tready) full_q <= s_axis_tvalid && last;
      end
    end
  end else if (IN_LANES > OUT_LANES && IN_LANES % OUT_LANES == 0) begin : gen_down
    localparam int unsigned RATIO = IN_LANES / OUT_LANES;
    localparam int unsigned OUT_W = OUT_LANES * LANE_W;
    localparam int unsigned CNT_W = $clog2(RATIO);

    // Holding the word and selecting a piece costs a RATIO:1 multiplexer per output bit, less than
    // the load-or-shift multiplexer on every bit of a shift register.
    logic [RATIO-1:0][OUT_W-1:0] word_q;
    logic [CNT_W-1:0] cnt_q;  // piece being sent
    logic full_q;
    logic last;

    assign last = cnt_q == CNT_W'(RATIO - 1);
    assign s_axis_tready = !full_q || (m_axis_tready && last);
    assign m_axis_tvalid = full_q;
    assign m_axis_tdata  = word_q[cnt_q];

    always_ff @(posedge clk) begin
      if (s_axis_tready) word_q <= s_axis_tdata;
    end

    always_ff @(posedge clk) begin
      if (!rst_n) begin
        cnt_q  <= '0;
        full_q <= 1'b0;
      end else begin
        if (s_axis_tready) full_q <= s_axis_tvalid;
        if (full_q && m_axis_tready) cnt_q <= last ? '0 : cnt_q + 1'b1;
      end
    end
  end else begin : gen_bad_ratio
    $error("hwq_dwc: IN_LANES=%0d, OUT_LANES=%0d: one must divide the other, and they must differ",
           IN_LANES, OUT_LANES);
  end

endmodule
