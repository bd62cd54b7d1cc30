// hwq_spread: pulls the pixels of an image apart and fills the gaps (transposed convolution).
//   Function    [IN_H, IN_W] pixels of CHUNKS beats in, [(IN_H-1)*FH+1, (IN_W-1)*FW+1] out, row by row:
//               y[oy, ox] = x[oy/FH, ox/FW] where both divide evenly, else VALUE in every lane.
//   Latency     1 cycle.   Throughput  1 beat/cycle out.
//   Handshake   s_axis_tready and m_axis_tvalid come from registers (early); the input is ready only
//               where a pixel of it is due. Class spread(CHUNKS, IN_H, IN_W, FH, FW).
//   Reset       counters and valid bits.
module hwq_spread #(
  parameter int unsigned LANES  = 4,
  parameter int unsigned BITS   = 4,
  parameter int unsigned CHUNKS = 2,
  parameter int unsigned IN_H   = 4,
  parameter int unsigned IN_W   = 4,
  parameter int unsigned FH     = 2,
  parameter int unsigned FW     = 2,
  parameter int          VALUE  = 0
) (
  input  logic                  clk,
  input  logic                  rst_n,      // synchronous, active low
  input  logic [LANES*BITS-1:0] s_axis_tdata,
  input  logic                  s_axis_tvalid,
  output logic                  s_axis_tready,
  output logic [LANES*BITS-1:0] m_axis_tdata,
  output logic                  m_axis_tvalid,
  input  logic                  m_axis_tready
);
  if (LANES < 1 || BITS < 1 || CHUNKS < 1 || IN_H < 1 || IN_W < 1 || FH < 1 || FW < 1) begin : gen_bad_size
    $error("hwq_spread: LANES, BITS, CHUNKS, IN_H, IN_W, FH, FW must be at least 1");
  end

  localparam int unsigned GAP_X_W = FW > 1 ? $clog2(FW) : 1;
  localparam int unsigned GAP_Y_W = FH > 1 ? $clog2(FH) : 1;

  logic               move, ready, real_x, real_y, last_chunk, last_x, last_y, row_end;
  logic [GAP_X_W-1:0] gap_x;                // columns since the last one that came in
  logic [GAP_Y_W-1:0] gap_y;

  assign real_x        = gap_x == '0;
  assign real_y        = gap_y == '0;
  assign s_axis_tready = ready && real_x && real_y;
  assign move          = ready && (s_axis_tvalid || !real_x || !real_y);

  // A row ends with a column that came in, the frame with such a row: there the gap counters rest.
  logic pixel, row, step_x, step_y;
  assign pixel   = move && last_chunk;
  assign row_end = last_x && real_x;
  assign row     = pixel && row_end;
  assign step_x  = row_end || gap_x == GAP_X_W'(FW - 1);
  assign step_y  = (last_y && real_y) || gap_y == GAP_Y_W'(FH - 1);

  hwq_last #(.COUNT(CHUNKS)) u_chunk (.clk, .rst_n, .advance(move), .last(last_chunk));
  hwq_count #(.COUNT(FW)) u_gap_x (.clk, .rst_n, .advance(pixel && !row_end), .index(gap_x));
  hwq_last #(.COUNT(IN_W)) u_x (.clk, .rst_n, .advance(pixel && step_x), .last(last_x));
  hwq_count #(.COUNT(FH)) u_gap_y (.clk, .rst_n, .advance(row && !(last_y && real_y)), .index(gap_y));
  hwq_last #(.COUNT(IN_H)) u_y (.clk, .rst_n, .advance(row && step_y), .last(last_y));

  hwq_relay #(.DATA_W(LANES * BITS)) u_slice (
    .clk, .rst_n, .s_axis_tdata(real_x && real_y ? s_axis_tdata : {LANES{BITS'(VALUE)}}),
    .s_axis_tvalid(s_axis_tvalid || !real_x || !real_y), .s_axis_tready(ready),
    .m_axis_tdata, .m_axis_tvalid, .m_axis_tready
  );
endmodule
