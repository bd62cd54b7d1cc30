// hwq_total: sum over all positions of a frame, channel by channel (global average pooling).
//   Function    A frame is POSITIONS times CHUNKS beats; y[chunk][lane] = sum over positions of
//               x[position][chunk][lane] modulo 2^Y_W. CHUNKS beats out, while the last position comes in.
//   Latency     1 cycle from a beat of the last position to that of its sums; 1 beat in per cycle.
//               Class reduce(1, POSITIONS * CHUNKS, CHUNKS).
//   Handshake   s_axis_tready is combinational in m_axis_tready; m_axis_tvalid is early.
//   Memory      CHUNKS words of accumulators, STYLE as hwq_ram (1 LUT or 3 registers).
//   Reset       the valid bit and the counters; a frame's first position does not read the accumulators.
module hwq_total #(
  parameter int unsigned LANES     = 2,
  parameter int unsigned CHUNKS    = 2,
  parameter int unsigned POSITIONS = 16,
  parameter int unsigned X_W       = 4,
  parameter bit          X_SIGNED  = 1'b0,
  parameter int unsigned Y_W       = 8,
  parameter int unsigned STYLE     = 1
) (
  input  logic                 clk,
  input  logic                 rst_n,       // synchronous, active low
  input  logic [LANES*X_W-1:0] s_axis_tdata,
  input  logic                 s_axis_tvalid,
  output logic                 s_axis_tready,
  output logic [LANES*Y_W-1:0] m_axis_tdata,
  output logic                 m_axis_tvalid,
  input  logic                 m_axis_tready
);
  localparam int unsigned ADDR_W = CHUNKS > 1 ? $clog2(CHUNKS) : 1;

  if (LANES < 1 || CHUNKS < 1 || POSITIONS < 1 || X_W < 1 || Y_W < 1) begin : gen_bad_size
    $error("hwq_total: LANES=%0d, CHUNKS=%0d, POSITIONS=%0d, X_W=%0d, Y_W=%0d must be at least 1",
           LANES, CHUNKS, POSITIONS, X_W, Y_W);
  end
  if (STYLE != 1 && STYLE != 3) begin : gen_bad_style
    $error("hwq_total: STYLE=%0d, must be 1 (LUT memory) or 3 (registers)", STYLE);
  end

  typedef logic [Y_W-1:0] y_t;
  logic              take, first_q, last_position, last_chunk, out_load, out_valid_q;
  logic [ADDR_W-1:0] chunk_q, chunk_d;
  y_t   [LANES-1:0]  acc, sum, out_q;

  // Only beats of the last position need the output register.
  assign out_load      = !out_valid_q || m_axis_tready;
  assign s_axis_tready = !last_position || out_load;
  assign take          = s_axis_tvalid && s_axis_tready;
  assign m_axis_tvalid = out_valid_q;
  assign m_axis_tdata  = out_q;

  assign last_chunk = CHUNKS == 1 || chunk_q == ADDR_W'(CHUNKS - 1);
  assign chunk_d    = !take ? chunk_q : last_chunk ? '0 : chunk_q + 1'b1;
  hwq_last #(.COUNT(POSITIONS)) u_position (
    .clk, .rst_n, .advance(take && last_chunk), .last(last_position)
  );

  for (genvar i = 0; i < LANES; i++) begin : gen_lane
    y_t x, prior;
    if (X_SIGNED) begin : gen_signed
      assign x = y_t'($signed(s_axis_tdata[i*X_W +: X_W]));
    end else begin : gen_unsigned
      assign x = y_t'(s_axis_tdata[i*X_W +: X_W]);
    end
    assign prior  = first_q ? '0 : acc[i];
    assign sum[i] = x + prior;
  end

  hwq_ram #(.DATA_W(LANES * Y_W), .DEPTH(CHUNKS), .STYLE(STYLE)) u_acc (
    .clk, .we(take), .waddr(chunk_q), .wdata(sum), .raddr_d(chunk_d), .raddr_q(chunk_q), .rdata(acc)
  );

  always_ff @(posedge clk) begin
    if (!rst_n) begin
      chunk_q     <= '0;
      first_q     <= 1'b1;
      out_valid_q <= 1'b0;
    end else begin
      chunk_q <= chunk_d;
      if (take && last_chunk) first_q <= last_position;
      if (out_load) out_valid_q <= s_axis_tvalid && last_position;
    end
  end
  always_ff @(posedge clk) if (out_load) out_q <= sum;
endmodule
