// hwq_dot_dsp: dot products of LANES rows that share one multiplier a column (DSP blocks).
//   Function    y[lane] = sum over i of w[lane][i] * x[i] modulo 2^Y_W.
//   Structure   The weights of all lanes of a column, plus 2^(W_BITS-1) to make them unsigned, are packed
//               S bits apart into one operand: a column is one product. CASCADE columns are added behind
//               their multipliers, each one cycle after the other, starting from
//               2^(S-1) - 2^(W_BITS-1) * (sum of their x) in every lane. So a lane ends as 2^(S-1) plus
//               its sum, no lane borrows from the next, and its field is cut out as it is.
//               The cascades are added in a tree of LUTs.
//   Latency     CUTS cycles; register c loads on en[c]. CUTS >= CASCADE + 2: operands, product, the cascade,
//               and the tree in what is left.
//   Reset       none.
module hwq_dot_dsp #(
  parameter int unsigned LANES    = 3,
  parameter int unsigned SIMD     = 4,
  parameter int unsigned W_BITS   = 4,
  parameter int unsigned X_BITS   = 4,
  parameter bit          X_SIGNED = 1'b0,
  parameter int unsigned CASCADE  = 4,
  parameter int unsigned S        = 10,     // lane distance
  parameter int unsigned Y_W      = 10,
  parameter int unsigned CUTS     = 6
) (
  input  logic                                     clk,
  input  logic [CUTS-1:0]                          en,
  input  logic [SIMD-1:0][X_BITS-1:0]              x,
  input  logic [LANES-1:0][SIMD-1:0][W_BITS-1:0]   w,
  output logic [LANES-1:0][Y_W-1:0]                y
);
  localparam int unsigned A_W    = (LANES - 1) * S + W_BITS + 1;   // signed operands, a is positive
  localparam int unsigned B_W    = X_BITS + 1;
  localparam int unsigned P_W    = LANES * S + 1;
  localparam int unsigned GROUPS = (SIMD + CASCADE - 1) / CASCADE;
  localparam int unsigned DEPTH  = GROUPS > 1 ? $clog2(GROUPS) : 0;
  localparam int unsigned LEVELS = DEPTH > 0 ? DEPTH : 1;
  localparam int unsigned DONE   = CASCADE + 2;   // registers up to the end of a cascade

  if (CUTS < DONE) begin : gen_bad_cuts
    $error("hwq_dot_dsp: CUTS=%0d, must be at least CASCADE + 2 = %0d", CUTS, DONE);
  end

  logic [LANES-1:0][GROUPS-1:0][Y_W-1:0] part;

  for (genvar g = 0; g < GROUPS; g++) begin : gen_group
    localparam int unsigned COLUMNS = (g + 1) * CASCADE <= SIMD ? CASCADE : SIMD - g * CASCADE;

    // Start value of a lane, in step with the product of the first column.
    logic [S-1:0] start, start_q;
    always_comb begin
      logic signed [S-1:0] x_sum;
      x_sum = '0;
      for (int unsigned c = 0; c < COLUMNS; c++) begin
        x_sum = x_sum + (X_SIGNED ? S'($signed(x[g * CASCADE + c])) : S'(x[g * CASCADE + c]));
      end
      start = (S'(1) << (S - 1)) - (x_sum << (W_BITS - 1));
    end
    hwq_delay #(.DATA_W(S), .STAGES(2)) u_start (.clk, .en(en[1:0]), .d(start), .q(start_q));

    for (genvar c = 0; c < CASCADE; c++) begin : gen_column
      logic signed [P_W-1:0] p_q;           // sum of columns 0..c, in register c + 2

      if (c < COLUMNS) begin : gen_multiply
        localparam int unsigned I = g * CASCADE + c;
        logic signed [A_W-1:0] a, a_q;
        logic signed [B_W-1:0] b, b_q;
        logic signed [P_W-1:0] product_q, prior;

        always_comb begin
          a = '0;
          for (int unsigned l = 0; l < LANES; l++) begin
            a[l*S +: W_BITS] = w[l][I] ^ (W_BITS'(1) << (W_BITS - 1));
          end
        end
        assign b = X_SIGNED ? B_W'($signed(x[I])) : B_W'(x[I]);
        hwq_delay #(.DATA_W(A_W + B_W), .STAGES(c + 1)) u_operands (
          .clk, .en(en[0 +: c + 1]), .d({a, b}), .q({a_q, b_q})
        );
        if (c == 0) begin : gen_start
          assign prior = P_W'({LANES{start_q}});
        end else begin : gen_prior
          assign prior = gen_column[c-1].p_q;
        end
        always_ff @(posedge clk) begin
          if (en[c+1]) product_q <= P_W'(a_q * b_q);
          if (en[c+2]) p_q <= prior + product_q;
        end
      end else begin : gen_pass
        always_ff @(posedge clk) if (en[c+2]) p_q <= gen_column[c-1].p_q;
      end
    end

    for (genvar l = 0; l < LANES; l++) begin : gen_lane
      logic [S-1:0] field;
      assign field = gen_column[CASCADE-1].p_q[l*S +: S];
      assign part[l][g] = Y_W'($signed({~field[S-1], field[S-2:0]}));
    end
    logic unused;
    assign unused = gen_column[CASCADE-1].p_q[P_W-1];
  end

  for (genvar l = 0; l < LANES; l++) begin : gen_tree
    hwq_tree #(
      .N(GROUPS),
      .LO(-(1 << (S - 1))),
      .HI((1 << (S - 1)) - 1),
      .Y_W(Y_W),
      .CUTS(CUTS - DONE),
      .LEVELS(LEVELS)
    ) u_tree (
      .clk, .en(en[(CUTS > DONE ? DONE : 0) +: (CUTS > DONE ? CUTS - DONE : 1)]),
      .d(part[l]), .y(y[l])
    );
  end
endmodule
