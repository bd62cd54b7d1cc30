// hwq_pool: reduces every N beats to one, lane by lane: their maximum or their sum.
//   Function    KIND 0: y[lane] = max over N beats of x[lane] (signed if X_SIGNED; Y_W = X_W);
//               KIND 1: y[lane] = their sum modulo 2^Y_W.
//               Behind hwq_window with ORDER 1 and N = KH * KW this is pooling.
//   Latency     1 cycle from the last beat of a group; 1 beat in per cycle. Class reduce(1, N).
//   Handshake   s_axis_tready is combinational in m_axis_tready; m_axis_tvalid is early.
//   Reset       the valid bit, the counter and the accumulator.
module hwq_pool #(
  parameter int unsigned LANES    = 2,
  parameter int unsigned N        = 4,
  parameter int unsigned X_W      = 4,
  parameter bit          X_SIGNED = 1'b0,
  parameter int unsigned KIND     = 0,      // 0 maximum, 1 sum
  parameter int unsigned Y_W      = 4
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
  if (LANES < 1 || N < 1 || X_W < 1 || Y_W < 1) begin : gen_bad_size
    $error("hwq_pool: LANES=%0d, N=%0d, X_W=%0d, Y_W=%0d must be at least 1", LANES, N, X_W, Y_W);
  end
  if (KIND > 1) begin : gen_bad_kind
    $error("hwq_pool: KIND=%0d, must be 0 (maximum) or 1 (sum)", KIND);
  end
  if (KIND == 0 && X_W != Y_W) begin : gen_bad_width
    $error("hwq_pool: X_W=%0d and Y_W=%0d must be equal for a maximum", X_W, Y_W);
  end

  typedef logic [Y_W-1:0] y_t;
  logic             take, last, out_load, out_valid_q;
  y_t   [LANES-1:0] acc_q, acc_d, out_q;

  // Only the last beat of a group needs the output register.
  assign out_load      = !out_valid_q || m_axis_tready;
  assign s_axis_tready = !last || out_load;
  assign take          = s_axis_tvalid && s_axis_tready;
  assign m_axis_tvalid = out_valid_q;

  hwq_last #(.COUNT(N)) u_last (.clk, .rst_n, .advance(take), .last);

  // A maximum is kept in offset binary, so that 0 is the lowest value and starts every group.
  localparam bit FLIP = KIND == 0 && X_SIGNED;
  for (genvar i = 0; i < LANES; i++) begin : gen_lane
    y_t x;
    if (X_SIGNED) begin : gen_signed
      assign x = y_t'($signed(s_axis_tdata[i*X_W +: X_W])) ^ (y_t'(FLIP) << (Y_W - 1));
    end else begin : gen_unsigned
      assign x = y_t'(s_axis_tdata[i*X_W +: X_W]);
    end
    if (KIND == 0) begin : gen_max
      assign acc_d[i] = x > acc_q[i] ? x : acc_q[i];
    end else begin : gen_sum
      assign acc_d[i] = acc_q[i] + x;
    end
    assign m_axis_tdata[i*Y_W +: Y_W] = out_q[i] ^ (y_t'(FLIP) << (Y_W - 1));
  end

  always_ff @(posedge clk) begin
    if (!rst_n) out_valid_q <= 1'b0;
    else if (out_load) out_valid_q <= s_axis_tvalid && last;
  end
  // The next group starts by the reset input of the registers: no LUT in front of them.
  always_ff @(posedge clk) begin
    if (!rst_n || (take && last)) acc_q <= '0;
    else if (take) acc_q <= acc_d;
  end
  always_ff @(posedge clk) if (out_load) out_q <= acc_d;
endmodule
