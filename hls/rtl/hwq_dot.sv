// hwq_dot: PE dot products of SIMD terms from LUTs and carry chains, no multiplier and no `*` on signals.
//   Function    y[pe] = sum over i of w[pe][i] * x[i] modulo 2^Y_W; W_KIND 3: popcount(w xnor x).
//   Structure   Weights are cut into slices of 2 bits (the top one signed). A term is slice times x, a
//               table of at most 5 inputs (weight slice, x, and 3x or -x shared by all PE), so that it
//               fits into the LUT that also adds it: a carry chain costs one LUT per bit of the *term*.
//               Where weight and x are narrow, a term holds several products.
//               Terms are summed in chains of CHAIN terms (times slices), chains in an adder tree.
//               CONST = 1: w is constant after elaboration; a term is a table of x bits alone.
//   Offsets     Terms that can be negative are stored with their top bit flipped, so chains add unsigned
//               terms and need no sign extension; the sum of all offsets is the start of the first chain.
//   Latency     CUTS cycles; register c loads on en[c]. CUTS >= 1, spread evenly over the levels
//               (one addition each); with HOLD = 1 and CUTS > 1 the first register is on x and w.
//   Reset       none.
module hwq_dot #(
  parameter int unsigned PE       = 2,
  parameter int unsigned SIMD     = 4,
  parameter int unsigned W_BITS   = 4,
  parameter int unsigned W_KIND   = 0,      // 0 int, 1 bipolar, 2 ternary, 3 bipolar, XNOR-popcount
  parameter int unsigned X_BITS   = 4,
  parameter bit          X_SIGNED = 1'b0,
  parameter bit          CONST    = 1'b0,
  parameter int unsigned Y_W      = 10,
  parameter int unsigned CUTS     = 1,
  parameter bit          HOLD     = 1'b0,   // the first cut is on x and w (slow memory outputs)
  parameter int unsigned CHAIN    = 4
) (
  input  logic                                  clk,
  input  logic [CUTS-1:0]                       en,
  input  logic [SIMD-1:0][X_BITS-1:0]           x,
  input  logic [PE-1:0][SIMD-1:0][W_BITS-1:0]   w,
  output logic [PE-1:0][Y_W-1:0]                y
);
  if (PE < 1 || SIMD < 1 || CUTS < 1 || CHAIN < 1) begin : gen_bad_size
    $error("hwq_dot: PE=%0d, SIMD=%0d, CUTS=%0d, CHAIN=%0d must be at least 1",
           PE, SIMD, CUTS, CHAIN);
  end
  if (W_KIND > 3 || W_BITS > 8 || X_BITS > 16
      || (W_KIND == 2 && W_BITS != 2) || (W_KIND[0] && W_BITS != 1)
      || (W_KIND == 3 && (X_BITS != 1 || X_SIGNED))) begin : gen_bad_kind
    $error("hwq_dot: W_KIND=%0d does not go with W_BITS=%0d, X_BITS=%0d, X_SIGNED=%0d",
           W_KIND, W_BITS, X_BITS, X_SIGNED);
  end

  // ---- slices and terms ------------------------------------------------------------------------
  // Variable weights are sliced by weight bits (an odd width has one bit in the lowest slice),
  // constant ones by x bits.
  localparam int unsigned XS     = 4;   // bits per slice of x when w is constant and x is wide
  localparam int unsigned SLICES = CONST ? (X_BITS > 5 ? (X_BITS + XS - 1) / XS : 1)
                                         : (W_KIND == 0 ? (W_BITS + 1) / 2 : 1);
  localparam int unsigned ODD    = W_BITS % 2;

  function automatic int unsigned shift_of(input int unsigned slice);
    if (CONST) return slice * XS;
    return (slice == 0) ? 0 : 2 * slice - ODD;
  endfunction

  // x bits of a slice (constant weights only).
  function automatic int unsigned slice_x(input int unsigned slice);
    if (SLICES == 1 || !CONST) return X_BITS;
    return (slice == SLICES - 1) ? X_BITS - slice * XS : XS;
  endfunction

  // Constant weights that can be 0: their terms keep their sign, so that a zero leaves nothing behind.
  localparam bit SPARSE = CONST && !W_KIND[0];

  // Inputs of one product's table; several products share a term while its table has at most 5
  // inputs (6 in the first term of a chain, which has no running sum to be added to).
  localparam int unsigned INPUTS  = CONST ? (SLICES == 1 ? X_BITS : 5) : W_BITS + X_BITS;
  localparam bit          MANY    = SLICES == 1;
  localparam int unsigned M_FIRST = (MANY && INPUTS <= 6) ? 6 / INPUTS : 1;
  localparam int unsigned M_NEXT  = (MANY && INPUTS <= 5) ? 5 / INPUTS : 1;
  localparam bit          TABLE   = !CONST && MANY && INPUTS <= 6;

  // Groups (chains), as equal in length as SIMD allows.
  localparam int unsigned G_MAX  = M_FIRST + (CHAIN - 1) * M_NEXT;
  localparam int unsigned GROUPS = (SIMD + G_MAX - 1) / G_MAX;
  localparam int unsigned G_AIM  = (SIMD + GROUPS - 1) / GROUPS;
  localparam int unsigned LINKS  = (G_AIM <= M_FIRST) ? 1
                                 : 1 + (G_AIM - M_FIRST + M_NEXT - 1) / M_NEXT;
  localparam int unsigned G_SIZE = M_FIRST + (LINKS - 1) * M_NEXT;
  localparam int unsigned N_GROUPS = (SIMD + G_SIZE - 1) / G_SIZE;
  localparam int unsigned TERMS  = LINKS * SLICES;    // per chain

  // First product of term t of group g, and how many products it holds (0: none left).
  function automatic int unsigned first_of(input int unsigned g, input int unsigned t);
    int unsigned link = t / SLICES;
    return g * G_SIZE + ((link == 0) ? 0 : M_FIRST + (link - 1) * M_NEXT);
  endfunction
  function automatic int unsigned size_of(input int unsigned g, input int unsigned t);
    int unsigned first = first_of(g, t);
    int unsigned m = (t / SLICES == 0) ? M_FIRST : M_NEXT;
    if (first >= SIMD) return 0;
    return (first + m > SIMD) ? SIMD - first : m;
  endfunction

  // ---- ranges ----------------------------------------------------------------------------------
  // Lowest (sel 0) or highest (sel 1) value of one product of a slice, prior its shift.
  function automatic int product_range(input int unsigned slice, input bit sel);
    int wl, wh, xl, xh, best;
    int corner [4];
    int unsigned xb = slice_x(slice);
    bit top = slice == SLICES - 1;
    if (W_KIND == 3) return sel ? 1 : 0;
    xl = (X_SIGNED && (top || !CONST)) ? -(1 << (xb - 1)) : 0;
    xh = (X_SIGNED && (top || !CONST)) ? (1 << (xb - 1)) - 1 : (1 << xb) - 1;
    if (W_KIND != 0) begin
      wl = -1;
      wh = 1;
    end else if (CONST) begin
      wl = -(1 << (W_BITS - 1));
      wh = (1 << (W_BITS - 1)) - 1;
    end else if (W_BITS == 1) begin
      wl = -1;
      wh = 0;
    end else begin
      wl = top ? -2 : 0;
      wh = (top || (slice == 0 && ODD == 1)) ? 1 : 3;
    end
    corner = '{wl * xl, wl * xh, wh * xl, wh * xh};
    best = corner[0];
    for (int i = 1; i < 4; i++) begin
      if (sel ? corner[i] > best : corner[i] < best) best = corner[i];
    end
    return best;
  endfunction

  function automatic int unsigned bits(input int lo, input int hi);
    int unsigned n;
    if (lo < 0) n = 1 + ((-lo - 1 > hi) ? $clog2(-lo) : $clog2(hi + 1));
    else n = $clog2(hi + 1);
    return (n < 1) ? 1 : n;
  endfunction

  // Terms of variable weights are made non-negative by flipping their top bit.
  function automatic int unsigned term_w(input int unsigned slice, input int unsigned m);
    return bits(int'(m) * product_range(slice, 1'b0), int'(m) * product_range(slice, 1'b1));
  endfunction
  function automatic int offset(input int unsigned slice, input int unsigned m);
    if (SPARSE || m == 0 || product_range(slice, 1'b0) >= 0) return 0;
    return 1 << (term_w(slice, m) - 1);
  endfunction
  function automatic int term_range(input int unsigned g, input int unsigned t, input bit sel);
    int unsigned m = size_of(g, t);
    return int'(m) * product_range(t % SLICES, sel) + offset(t % SLICES, m);
  endfunction

  // Sums of constant terms are signed where a product can be negative.
  localparam bit SIGNED = SPARSE && product_range(SLICES - 1, 1'b0) < 0;

  // Range of chain g after its terms 0..t; the low side is 0 when terms are unsigned.
  function automatic int chain_range(input int unsigned g, input int unsigned t, input bit sel);
    int sum = 0;
    for (int unsigned i = 0; i <= t; i++) begin
      sum = sum + (term_range(g, i, sel) <<< shift_of(i % SLICES));
    end
    return (!sel && !SIGNED) ? 0 : sum;
  endfunction
  function automatic int offset_sum();
    int sum = 0;
    for (int unsigned g = 0; g < N_GROUPS; g++) begin
      for (int unsigned t = 0; t < TERMS; t++) begin
        sum = sum + (offset(t % SLICES, size_of(g, t)) << shift_of(t % SLICES));
      end
    end
    return sum;
  endfunction
  localparam int OFFSET = offset_sum();

  // ---- the table of a term of narrow variable products: bit [b][v] is bit b of the sum for inputs v -----
  typedef logic [7:0][63:0] table_t;
  function automatic table_t make_table(input int unsigned m);
    table_t r = '0;
    for (int unsigned v = 0; v < 64; v++) begin
      int sum = 0;
      for (int unsigned j = 0; j < m; j++) begin
        int unsigned code = v >> (j * INPUTS);
        int xv = int'(code) & ((1 << X_BITS) - 1);
        int wv = (int'(code) >> X_BITS) & ((1 << W_BITS) - 1);
        if (W_KIND == 3) begin
          sum = sum + ((xv == wv) ? 1 : 0);
        end else begin
          if (X_SIGNED && xv >= (1 << (X_BITS - 1))) xv = xv - (1 << X_BITS);
          if (W_KIND == 1) wv = 2 * wv - 1;
          else if (wv >= (1 << (W_BITS - 1))) wv = wv - (1 << W_BITS);
          if (W_KIND == 2 && wv == -2) wv = 0;
          sum = sum + wv * xv;
        end
      end
      for (int unsigned b = 0; b < 8; b++) r[b][v] = sum[b];
    end
    return r;
  endfunction
  localparam table_t [6:1] TABLES = {make_table(6), make_table(5), make_table(4),
                                     make_table(3), make_table(2), make_table(1)};

  // Multiples of an x of up to 5 bits, as tables of the same form.
  typedef logic [6:0][31:0] multiple_t;
  function automatic multiple_t make_multiple(input int factor);
    multiple_t r = '0;
    for (int v = 0; v < 32; v++) begin
      int product = factor * ((X_SIGNED && v >= (1 << (X_BITS - 1))) ? v - (1 << X_BITS) : v);
      for (int unsigned b = 0; b < 7; b++) r[b][v] = product[b];
    end
    return r;
  endfunction
  localparam multiple_t THREE = make_multiple(3);
  localparam multiple_t MINUS = make_multiple(-1);

  // ---- pipeline: where each level of the data path ends ------------------------------------------
  localparam int unsigned DEPTH  = N_GROUPS > 1 ? $clog2(N_GROUPS) : 0;
  localparam int unsigned CHAIN_LEVELS = (TERMS > 1) ? TERMS - 1 : 1;
  localparam int unsigned LEVELS = CHAIN_LEVELS + DEPTH;
  localparam int unsigned HOLD_CUTS = (HOLD && CUTS > 1) ? 1 : 0;
  function automatic int unsigned cut(input int unsigned level);
    return HOLD_CUTS + level * (CUTS - HOLD_CUTS) / LEVELS;
  endfunction

  logic [PE-1:0][N_GROUPS-1:0][Y_W-1:0] chain;

  for (genvar g = 0; g < N_GROUPS; g++) begin : gen_group
    for (genvar t = 0; t < TERMS; t++) begin : gen_term
      localparam int unsigned M     = size_of(g, t);
      localparam int unsigned FIRST = first_of(g, t);
      localparam int unsigned S     = t % SLICES;
      localparam int unsigned SH    = shift_of(S);
      // Term t is added in level t - 1 (term 0 with term 1); its operands wait for that level.
      localparam int unsigned LEVEL = (t == 0) ? 0 : t - 1;
      localparam int unsigned WAIT  = cut(LEVEL);
      localparam int unsigned REGS  = (t == 0 && TERMS > 1) ? 0 : cut(LEVEL + 1) - WAIT;

      logic [PE-1:0][Y_W-1:0] run;        // running sums after this term

      if (M == 0) begin : gen_none
        for (genvar pe = 0; pe < PE; pe++) begin : gen_pe
          hwq_delay #(.DATA_W(Y_W), .STAGES(REGS)) u_cut (
            .clk, .en(en[(REGS > 0 ? WAIT : 0) +: (REGS > 0 ? REGS : 1)]),
            .d(gen_term[t-1].run[pe]), .q(run[pe])
          );
        end
      end else begin : gen_some
        localparam int unsigned TW  = term_w(S, M);
        localparam bit          OFF = offset(S, M) != 0;
        localparam bit          FULL = g == 0 && OFFSET != 0;
        localparam int unsigned RW_TRUE = bits(chain_range(g, t, 1'b0), chain_range(g, t, 1'b1));
        localparam int unsigned RW  = (FULL || RW_TRUE > Y_W) ? Y_W : RW_TRUE;

        logic [M-1:0][X_BITS-1:0] xd;
        hwq_delay #(.DATA_W(M * X_BITS), .STAGES(WAIT)) u_x (
          .clk, .en(en[0 +: (WAIT > 0 ? WAIT : 1)]), .d(x[FIRST +: M]), .q(xd)
        );

        for (genvar pe = 0; pe < PE; pe++) begin : gen_pe
          logic [M-1:0][W_BITS-1:0] wd;
          logic [TW-1:0] raw, term;
          logic          unused_term;   // Y_W may be narrower than a term
          assign unused_term = &{1'b0, term};
          logic [RW-1:0] sum, sum_q;

          hwq_delay #(.DATA_W(M * W_BITS), .STAGES(CONST ? 0 : WAIT)) u_w (
            .clk, .en(en[0 +: ((!CONST && WAIT > 0) ? WAIT : 1)]), .d(w[pe][FIRST +: M]), .q(wd)
          );

          if (TABLE) begin : gen_table
            logic [5:0] index;
            always_comb begin
              index = '0;
              for (int unsigned j = 0; j < M; j++) index[j*INPUTS +: INPUTS] = {wd[j], xd[j]};
            end
            // A shift, not an index: Yosys makes a memory of an indexed constant and pulls the
            // registers of its address behind it.
            for (genvar b = 0; b < TW; b++) begin : gen_bit
              assign raw[b] = 1'(TABLES[M][b] >> index);
            end
          end else if (CONST) begin : gen_const
            // Entry e of v: that of v without its top bit, plus what that bit weighs.
            localparam int unsigned XB    = slice_x(S);
            logic [M*XB-1:0] index;
            for (genvar j = 0; j < M; j++) begin : gen_index
              assign index[j*XB +: XB] = xd[j][(SLICES > 1 ? S * XS : 0) +: XB];
            end
            for (genvar v = 0; v < (1 << (M * XB)); v++) begin : gen_entry
              logic [TW-1:0] e;
              if (v == 0) begin : gen_zero
                always_comb begin
                  e = '0;
                  for (int unsigned j = 0; j < M; j++) begin
                    if (W_KIND == 3 && !wd[j][0]) e = e + 1'b1;
                  end
                end
              end else begin : gen_bit
                localparam int unsigned P = $clog2(v + 1) - 1;
                localparam int unsigned J = P / XB;
                localparam int unsigned Q = P % XB;
                localparam bit NEG = X_SIGNED && S == SLICES - 1 && Q == XB - 1;
                logic [TW-1:0] weight;
                if (W_KIND[0]) begin : gen_bipolar
                  assign weight = wd[J][0] ? TW'(1) : '1;
                end else begin : gen_int
                  assign weight = TW'($signed(wd[J]));
                end
                if (NEG) begin : gen_minus
                  assign e = gen_entry[v - (1 << P)].e - (weight << Q);
                end else begin : gen_plus
                  assign e = gen_entry[v - (1 << P)].e + (weight << Q);
                end
              end
            end
            // Choose by one bit of the index after the other: equal constants fold at every step.
            for (genvar k = 0; k < M * XB; k++) begin : gen_choose
              for (genvar v = 0; v < (1 << (M * XB - 1 - k)); v++) begin : gen_pair
                logic [TW-1:0] e;
                if (k == 0) begin : gen_leaf
                  assign e = index[0] ? gen_entry[2*v+1].e : gen_entry[2*v].e;
                end else begin : gen_inner
                  assign e = index[k] ? gen_choose[k-1].gen_pair[2*v+1].e
                                      : gen_choose[k-1].gen_pair[2*v].e;
                end
              end
            end
            assign raw = gen_choose[M*XB-1].gen_pair[0].e;
          end else begin : gen_mux
            // Multiples of x that a slice can ask for, shared by all PE after common
            // subexpressions are merged.
            localparam int unsigned MW = X_BITS + 2;
            logic [MW-1:0] x1, x3, xn, value;
            logic unused;
            assign unused = &{1'b0, x3, xn, value};   // not every slice needs every multiple
            if (X_SIGNED) begin : gen_x_signed
              assign x1 = MW'($signed(xd[0]));
            end else begin : gen_x_unsigned
              assign x1 = MW'(xd[0]);
            end
            if (X_BITS <= 5) begin : gen_small
              for (genvar b = 0; b < MW; b++) begin : gen_bit
                assign x3[b] = 1'(THREE[b] >> xd[0]);
                assign xn[b] = 1'(MINUS[b] >> xd[0]);
              end
            end else begin : gen_wide
              assign x3 = x1 + {x1[MW-2:0], 1'b0};
              assign xn = MW'(0) - x1;
            end
            if (W_KIND == 1) begin : gen_bipolar
              assign value = wd[0][0] ? x1 : xn;
            end else if (W_KIND == 0 && W_BITS == 1) begin : gen_sign
              assign value = wd[0][0] ? xn : '0;
            end else if (S == 0 && ODD == 1) begin : gen_bit
              assign value = wd[0][0] ? x1 : '0;
            end else if (S == SLICES - 1) begin : gen_top
              always_comb begin
                unique case (wd[0][W_BITS-1 -: 2])
                  2'd0: value = '0;
                  2'd1: value = x1;
                  2'd2: value = (W_KIND == 2) ? '0 : {xn[MW-2:0], 1'b0};
                  2'd3: value = xn;
                endcase
              end
            end else begin : gen_middle
              always_comb begin
                unique case (wd[0][SH +: 2])
                  2'd0: value = '0;
                  2'd1: value = x1;
                  2'd2: value = {x1[MW-2:0], 1'b0};
                  2'd3: value = x3;
                endcase
              end
            end
            assign raw       = TW'(value);
          end
          assign term = OFF ? raw ^ (TW'(1) << (TW - 1)) : raw;

          // sum = prior + (term << SH), written as prior - ~term - 1: on the subtracted side of a
          // carry chain a table shares the LUT of the chain (an adder's sides may be swapped), and
          // the borrow bit below keeps Yosys from merging the chain into carry-save adders.
          if (t == 0 && !FULL) begin : gen_first
            assign sum = SIGNED ? RW'($signed(term)) : RW'(term);
          end else begin : gen_add
            localparam int unsigned UW = RW > SH ? RW - SH : 1;
            logic [RW-1:0] prior;
            logic [UW-1:0] addend, upper;
            logic          borrow, unused;
            if (t == 0) begin : gen_offset
              assign prior = RW'(-OFFSET);
            end else begin : gen_running
              assign prior = RW'(gen_term[t-1].run[pe]);
            end
            assign addend = SIGNED ? UW'($signed(term)) : UW'(term);
            if (SH >= RW) begin : gen_beyond   // Y_W has no bit that the term reaches
              assign {upper, borrow} = '0;
              assign sum = prior;
              assign unused = &{1'b0, borrow, upper, addend};
            end else begin : gen_within
              assign {upper, borrow} = {prior[RW-1:SH], 1'b0} - {~addend, 1'b1};
              if (SH == 0) begin : gen_whole
                assign sum = upper;
              end else begin : gen_shifted
                assign sum = {upper, prior[SH-1:0]};
              end
              assign unused = borrow;
            end
          end

          hwq_delay #(.DATA_W(RW), .STAGES(REGS)) u_cut (
            .clk, .en(en[(REGS > 0 ? WAIT : 0) +: (REGS > 0 ? REGS : 1)]), .d(sum), .q(sum_q)
          );
          assign run[pe] = SIGNED ? Y_W'($signed(sum_q)) : Y_W'(sum_q);
        end
      end
    end

    for (genvar pe = 0; pe < PE; pe++) begin : gen_out
      assign chain[pe][g] = gen_term[TERMS-1].run[pe];
    end
  end

  for (genvar pe = 0; pe < PE; pe++) begin : gen_tree
    hwq_tree #(
      .N(N_GROUPS),
      .LO(chain_range(0, TERMS - 1, 1'b0)),
      .HI(chain_range(0, TERMS - 1, 1'b1)),
      .FULL(OFFSET != 0),
      .Y_W(Y_W),
      .CUTS(CUTS),
      .HOLD(HOLD_CUTS),
      .LEVELS(LEVELS),
      .FROM(CHAIN_LEVELS)
    ) u_tree (.clk, .en, .d(chain[pe]), .y(y[pe]));
  end
endmodule
