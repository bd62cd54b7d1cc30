// hwq_tree: balanced adder tree over N operands of one range, with registers spread over its levels.
//   Function    y = sum over i of operand i, modulo 2^Y_W. Operands are Y_W wide but hold values in
//               LO..HI only (sign extended), so every node is as wide as its true range and no wider.
//               FULL = 1: operand 0 may hold any value modulo 2^Y_W.
//   Latency     The tree is levels FROM .. FROM + clog2(N) - 1 of a data path of LEVELS levels with CUTS
//               registers, HOLD of them before level 0, the others spread evenly: level l ends at
//               register stop(l + 1) = HOLD + floor((l + 1) * (CUTS - HOLD) / LEVELS).
//   Reset       none.
module hwq_tree #(
  parameter int unsigned N      = 4,
  parameter int          LO     = 0,
  parameter int          HI     = 7,
  parameter bit          FULL   = 1'b0,
  parameter int unsigned Y_W    = 8,
  parameter int unsigned CUTS   = 1,
  parameter int unsigned HOLD   = 0,
  parameter int unsigned LEVELS = 2,
  parameter int unsigned FROM   = 0,
  localparam int unsigned EN_W  = CUTS > 0 ? CUTS : 1
) (
  input  logic                  clk,
  input  logic [EN_W-1:0]       en,         // of the whole data path; register c loads on en[c]
  input  logic [N-1:0][Y_W-1:0] d,
  output logic [Y_W-1:0]        y
);
  localparam int unsigned DEPTH = N > 1 ? $clog2(N) : 0;

  if (FROM + DEPTH > LEVELS) begin : gen_bad_levels
    $error("hwq_tree: N=%0d from level %0d does not fit into LEVELS=%0d", N, FROM, LEVELS);
  end

  function automatic int unsigned stop(input int unsigned level);
    return HOLD + level * (CUTS - HOLD) / LEVELS;
  endfunction

  // Bits of a node that sums `count` operands.
  function automatic int unsigned width(input int unsigned count, input bit full);
    longint lo = longint'(LO) * longint'(count);   // beyond 32 bits before the cut to Y_W
    longint hi = longint'(HI) * longint'(count);
    int unsigned need = (lo < 0) ? 1 : 0;
    int unsigned magnitude = (-lo - 1 > hi) ? $clog2(-lo) : $clog2(hi + 1);
    need = need + magnitude;
    if (need < 1) need = 1;
    return (full || need > Y_W) ? Y_W : need;
  endfunction

  for (genvar k = 0; k <= DEPTH; k++) begin : gen_level
    localparam int unsigned NODES = (N + (1 << k) - 1) >> k;
    logic [NODES-1:0][Y_W-1:0] node;

    if (k == 0) begin : gen_leaves
      assign node = d;
    end else begin : gen_sums
      localparam int unsigned PREV = stop(FROM + k - 1);
      localparam int unsigned REGS = stop(FROM + k) - PREV;
      for (genvar i = 0; i < NODES; i++) begin : gen_node
        localparam int unsigned COUNT = ((i + 1) << k) < N ? (1 << k) : N - (i << k);
        localparam int unsigned W = width(COUNT, FULL && i == 0);
        logic [W-1:0] sum, sum_q;

        if ((i << k) + (1 << (k - 1)) < N) begin : gen_add
          // The zero below the operands keeps Yosys from merging levels into carry-save adders,
          // which take more LUTs than carry chains do.
          logic guard;
          assign {sum, guard} = {W'(gen_level[k-1].node[2*i]), 1'b0}
                              + {W'(gen_level[k-1].node[2*i+1]), 1'b0};
          logic unused;
          assign unused = guard;
        end else begin : gen_pass
          assign sum = W'(gen_level[k-1].node[2*i]);
        end

        hwq_delay #(.DATA_W(W), .STAGES(REGS)) u_cut (
          .clk, .en(en[(REGS > 0 ? PREV : 0) +: (REGS > 0 ? REGS : 1)]), .d(sum), .q(sum_q)
        );
        if (LO < 0) begin : gen_signed
          assign node[i] = Y_W'($signed(sum_q));
        end else begin : gen_unsigned
          assign node[i] = Y_W'(sum_q);
        end
      end
    end
  end

  logic unused_en;
  assign unused_en = &{1'b0, clk, en};   // a stage before the tree has its own

  // Registers that are left over when the levels before and in the tree are fewer than the cuts.
  localparam int unsigned END  = stop(FROM + DEPTH);
  localparam int unsigned REST = CUTS - END;
  hwq_delay #(.DATA_W(Y_W), .STAGES(REST)) u_rest (
    .clk, .en(en[(REST > 0 ? END : 0) +: (REST > 0 ? REST : 1)]), .d(gen_level[DEPTH].node[0]), .q(y)
  );
endmodule
