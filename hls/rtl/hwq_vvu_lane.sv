// hwq_vvu_lane: one lane of hwq_vvu: its dot product and, if SUM = 1, its accumulator and output register.
//   Function    SUM 0: y = sum over i < SIMD of w[i] * x[i] (W_KIND 3: w[i] xnor x[i]) modulo 2^Y_W;
//               SUM 1: y = sum of these since the last load with `last`, loaded with it.
//   Latency     CUTS cycles for the product (register c loads on en[c]); SUM 1: y loads on out_load, the
//               accumulator on leave.
//   Handshake   none; the enables are those of the caller's stages.
//   Reset       the accumulator.
module hwq_vvu_lane #(
  parameter int unsigned SIMD     = 1,
  parameter int unsigned W_BITS   = 4,
  parameter int unsigned W_KIND   = 0,      // as hwq_dot
  parameter int unsigned X_BITS   = 4,
  parameter bit          X_SIGNED = 1'b0,
  parameter bit          CONST    = 1'b0,
  parameter int unsigned Y_W      = 10,
  parameter int unsigned CUTS     = 1,
  parameter bit          HOLD     = 1'b0,
  parameter bit          SUM      = 1'b1
) (
  input  logic                        clk,
  input  logic                        rst_n, // synchronous, active low
  input  logic [CUTS-1:0]             en,
  input  logic [SIMD-1:0][X_BITS-1:0] x,
  input  logic [SIMD-1:0][W_BITS-1:0] w,
  input  logic                        leave, // the product is accumulated
  input  logic                        last,  // it is the last one of its sum
  input  logic                        out_load,
  output logic [Y_W-1:0]              y
);
  logic [Y_W-1:0] product;

  hwq_dot #(
    .PE(1), .SIMD(SIMD), .W_BITS(W_BITS), .W_KIND(W_KIND), .X_BITS(X_BITS), .X_SIGNED(X_SIGNED),
    .CONST(CONST), .Y_W(Y_W), .CUTS(CUTS), .HOLD(HOLD)
  ) u_dot (
    .clk, .en, .x, .w, .y(product)
  );

  if (SUM) begin : gen_sum
    logic [Y_W-1:0] acc_q, sum, out_q;
    assign sum = acc_q + product;
    assign y   = out_q;
    // The next sum starts by the reset input of the registers: no LUT in front of them.
    always_ff @(posedge clk) begin
      if (!rst_n || (leave && last)) acc_q <= '0;
      else if (leave) acc_q <= sum;
    end
    always_ff @(posedge clk) if (out_load) out_q <= sum;
  end else begin : gen_product
    logic unused;
    assign y      = product;
    assign unused = &{1'b0, rst_n, leave, last, out_load};
  end
endmodule
