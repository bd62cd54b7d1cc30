// hwq_add: weighted sum of two tensors, channel by channel (residual additions of unequal scales).
//   Function    y = m0 * x0 + m1 * x1 + b, modulo 2^Y_W, per channel; channel = cf * PE + lane, cf counts
//               the beats of a pixel. In: {PE lanes of x1, PE lanes of x0}, as hwq_join makes it.
//   Memory      MB_FILE, row cf, lanes from bit 0 on: the digits of m0 that USE0 names from the lowest on,
//               3 bits each, those of m1 that USE1 names, then B_W bits of bias. Digit l {neg, two, one} adds
//               0, x or 2x at 4^l, or the complement of that; the bias holds b plus the sum of 4^l over
//               complemented digits. USE = 0: the multiplier is 1 in every channel and nothing is stored;
//               B_W = 0: the bias is 0 in every channel. Nothing stored at all: MB_FILE is not read.
//   Latency     PIPE cycles, 1 beat per cycle. Class pipe(PIPE). One term per named digit (or unit
//               multiplier); term l sits before register floor(l*PIPE/terms). Without bias the first is no
//               addition: x0 + x1 is one adder.
//   Handshake   s_axis_tready is combinational in m_axis_tready; m_axis_tvalid is early.
//   Reset       valid bits and the beat counter.
module hwq_add #(
  parameter int unsigned PE        = 1,
  parameter int unsigned CF        = 1,
  parameter int unsigned X0_W      = 8,
  parameter bit          X0_SIGNED = 1'b1,
  parameter int unsigned X1_W      = 8,
  parameter bit          X1_SIGNED = 1'b1,
  parameter int unsigned USE0      = 0,     // bit l: digit l of m0 is stored
  parameter int unsigned USE1      = 0,
  parameter int unsigned B_W       = 0,
  parameter int unsigned Y_W       = 9,
  parameter int unsigned PIPE      = 1,
  parameter string       MB_FILE   = "mb.hex"
) (
  input  logic                      clk,
  input  logic                      rst_n,  // synchronous, active low
  input  logic [PE*(X0_W+X1_W)-1:0] s_axis_tdata,
  input  logic                      s_axis_tvalid,
  output logic                      s_axis_tready,
  output logic [PE*Y_W-1:0]         m_axis_tdata,
  output logic                      m_axis_tvalid,
  input  logic                      m_axis_tready
);
  localparam int unsigned N0      = USE0 == 0 ? 1 : $countones(USE0);
  localparam int unsigned N1      = USE1 == 0 ? 1 : $countones(USE1);
  localparam int unsigned TERMS   = N0 + N1;
  localparam int unsigned M_BITS  = 3 * ($countones(USE0) + $countones(USE1));
  localparam int unsigned STORED  = M_BITS + B_W;
  localparam int unsigned ROW_W   = STORED > 0 ? STORED : 1;
  localparam int unsigned INDEX_W = CF > 1 ? $clog2(CF) : 1;

  if (PE < 1 || CF < 1 || X0_W < 1 || X1_W < 1 || Y_W < 1) begin : gen_bad_size
    $error("hwq_add: PE=%0d, CF=%0d, X0_W=%0d, X1_W=%0d, Y_W=%0d must be at least 1",
           PE, CF, X0_W, X1_W, Y_W);
  end
  if (PIPE < 1) begin : gen_bad_pipe
    $error("hwq_add: PIPE=%0d, must be at least 1", PIPE);
  end

  typedef logic [Y_W-1:0] y_t;

  // Register stages before term l.
  function automatic int unsigned stage(input int unsigned l);
    return l * PIPE / TERMS;
  endfunction
  // The l-th digit that a mask names.
  function automatic int unsigned digit(input int unsigned mask, input int unsigned l);
    int unsigned seen = 0;
    for (int unsigned i = 0; i < 32; i++) begin
      if (mask[i]) begin
        if (seen == l) return i;
        seen = seen + 1;
      end
    end
    return 0;
  endfunction

  logic [PIPE-1:0]    en;
  logic [INDEX_W-1:0] cf;

  hwq_pipe #(.STAGES(PIPE)) u_pipe (
    .clk, .rst_n, .s_valid(s_axis_tvalid), .s_ready(s_axis_tready),
    .m_valid(m_axis_tvalid), .m_ready(m_axis_tready), .en
  );
  hwq_count #(.COUNT(CF)) u_cf (
    .clk, .rst_n, .advance(s_axis_tvalid && s_axis_tready), .index(cf)
  );

  // Copied as a whole, so that rows are constants of the netlist and no memory cell.
  logic [PE-1:0][ROW_W-1:0] row_of [CF];
  if (STORED > 0) begin : gen_rows
    logic [PE-1:0][ROW_W-1:0] rows [CF];
    initial $readmemh(MB_FILE, rows);
    assign row_of = rows;
  end else begin : gen_no_rows
    for (genvar c = 0; c < CF; c++) begin : gen_row
      assign row_of[c] = '0;
    end
  end

  for (genvar l = 0; l < TERMS; l++) begin : gen_term
    localparam bit          SECOND = l >= N0;
    localparam int unsigned USE    = SECOND ? USE1 : USE0;
    localparam int unsigned X_W    = SECOND ? X1_W : X0_W;
    localparam bit          X_SIGN = SECOND ? X1_SIGNED : X0_SIGNED;
    localparam int unsigned AT     = SECOND ? PE * X0_W : 0;
    localparam int unsigned SHIFT  = 2 * digit(USE, SECOND ? l - N0 : l);
    localparam int unsigned FIELD  = 3 * (SECOND ? l - N0 + $countones(USE0) : l);

    logic [INDEX_W-1:0]        cf_l;
    logic [PE*(X0_W+X1_W)-1:0] x_l;
    logic [PE-1:0][Y_W-1:0]    sum_l, sum_d;
    logic [PE-1:0][ROW_W-1:0]  row;

    assign row = row_of[cf_l];
    if (l == 0) begin : gen_first
      assign cf_l = cf;
      assign x_l  = s_axis_tdata;
      for (genvar p = 0; p < PE; p++) begin : gen_bias
        if (B_W > 0) begin : gen_stored
          assign sum_l[p] = y_t'($signed(row[p][M_BITS +: (B_W > 0 ? B_W : 1)]));
        end else begin : gen_zero
          assign sum_l[p] = '0;
        end
      end
    end else begin : gen_next
      localparam int unsigned FROM = stage(l - 1);
      localparam int unsigned REGS = stage(l) - FROM;
      hwq_delay #(.DATA_W(INDEX_W + PE * (X0_W + X1_W + Y_W)), .STAGES(REGS)) u_cut (
        .clk, .en(en[(REGS > 0 ? FROM : 0) +: (REGS > 0 ? REGS : 1)]),
        .d({gen_term[l-1].cf_l, gen_term[l-1].x_l, gen_term[l-1].sum_d}), .q({cf_l, x_l, sum_l})
      );
    end

    for (genvar p = 0; p < PE; p++) begin : gen_lane
      logic [X_W:0]   x;                     // signed
      logic [X_W+1:0] part;
      logic           unused;
      assign x      = {X_SIGN && x_l[AT + p*X_W + X_W-1], x_l[AT + p*X_W +: X_W]};
      assign unused = &{1'b0, row[p], cf_l, x_l, part, sum_l[p]};
      if (USE == 0) begin : gen_unit
        assign part = {x[X_W], x};
      end else begin : gen_digit
        logic neg, two, one;
        assign {neg, two, one} = row[p][FIELD +: 3];
        assign part = ({(X_W+2){one}} & {x[X_W], x} | {(X_W+2){two}} & {x, 1'b0}) ^ {(X_W+2){neg}};
      end
      if (SHIFT >= Y_W) begin : gen_beyond
        assign sum_d[p] = sum_l[p];
      end else if (l == 0 && B_W == 0) begin : gen_start
        assign sum_d[p] = y_t'($signed(part)) << SHIFT;
      end else begin : gen_add
        localparam int unsigned HIGH_W = Y_W - SHIFT;
        logic [HIGH_W-1:0] high;
        logic              guard, unused_guard;
        // The zero below keeps Yosys from merging the additions into carry-save adders.
        assign {high, guard} = {sum_l[p][Y_W-1:SHIFT], 1'b0} + {HIGH_W'($signed(part)), 1'b0};
        assign unused_guard  = guard;
        if (SHIFT == 0) begin : gen_low
          assign sum_d[p] = high;
        end else begin : gen_high
          assign sum_d[p] = {high, sum_l[p][(SHIFT > 0 ? SHIFT : 1)-1:0]};
        end
      end
    end
  end

  localparam int unsigned LAST = stage(TERMS - 1);
  hwq_delay #(.DATA_W(PE * Y_W), .STAGES(PIPE - LAST)) u_out (
    .clk, .en(en[PIPE-1:LAST]), .d(gen_term[TERMS-1].sum_d), .q(m_axis_tdata)
  );
endmodule
