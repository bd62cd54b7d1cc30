// hwq_threshold: step function per channel, by a pipelined binary search over its thresholds.
//   Function    y = OFFSET + count(T <= x); on falling channels y = OFFSET + N - count(T <= x).
//               y is the low Y_W bits. channel = cf * PE + lane; cf counts the beats of a frame.
//   Search      K = clog2(N + 1) levels. Level l finds bit K-1-l of the count by one comparison with
//               the threshold that the channel and the l bits found so far select.
//   Memory      T_FILE, row cf * 2^K + h, lane p at bit p * (X_W + 1). h >= 1: heap node h of the
//               search tree, T - lo(X) as a number of X_W + 1 bits (2^X_W never counts; that top bit
//               vanishes in synthesis where it is not used). The tree has 2^K - 1 nodes: rising
//               channels are padded with thresholds 0 in front, falling ones with 2^X_W behind.
//               h = 0, bit 0: the channel is falling.
//   Latency     PIPE cycles, 1 beat per cycle. Class pipe(PIPE); level l sits before register
//               floor(l * PIPE / K). PIPE = K takes the fewest LUTs.
//   Handshake   s_axis_tready is combinational in m_axis_tready; m_axis_tvalid is early.
//   Reset       valid bits and the beat counter.
module hwq_threshold #(
  parameter int unsigned PE       = 1,
  parameter int unsigned CF       = 1,
  parameter int unsigned X_W      = 8,
  parameter bit          X_SIGNED = 1'b1,
  parameter int unsigned N        = 3,
  parameter int unsigned Y_W      = 2,
  parameter int          OFFSET   = 0,
  parameter bit          FALLING  = 1'b0,   // some channels are falling
  parameter int unsigned PIPE     = 2,
  parameter string       T_FILE   = "t.hex"
) (
  input  logic              clk,
  input  logic              rst_n,          // synchronous, active low
  input  logic [PE*X_W-1:0] s_axis_tdata,
  input  logic              s_axis_tvalid,
  output logic              s_axis_tready,
  output logic [PE*Y_W-1:0] m_axis_tdata,
  output logic              m_axis_tvalid,
  input  logic              m_axis_tready
);
  localparam int unsigned K      = $clog2(N + 1);
  localparam int unsigned NODES  = 1 << K;
  localparam int unsigned ROWS   = CF * NODES;
  localparam int unsigned CF_W   = CF > 1 ? $clog2(CF) : 0;
  localparam int unsigned INDEX_W = CF > 1 ? CF_W : 1;
  localparam int unsigned T_W    = X_W + 1;
  localparam int unsigned SUM_W  = Y_W > K ? Y_W : K;
  // y = BASE + found, or BASE + ~found on falling channels
  localparam int          BASE   = OFFSET + int'(N) + 1 - int'(NODES);

  if (PE < 1 || CF < 1 || X_W < 1 || Y_W < 1) begin : gen_bad_size
    $error("hwq_threshold: PE=%0d, CF=%0d, X_W=%0d, Y_W=%0d must be at least 1", PE, CF, X_W, Y_W);
  end
  if (N < 1 || N > 255) begin : gen_bad_n
    $error("hwq_threshold: N=%0d, must be 1 .. 255", N);
  end
  if (PIPE < 1) begin : gen_bad_pipe
    $error("hwq_threshold: PIPE=%0d, must be at least 1", PIPE);
  end

  typedef logic [X_W-1:0]   x_t;
  typedef logic [T_W-1:0]   t_t;
  typedef logic [K-1:0]     found_t;
  typedef logic [SUM_W-1:0] sum_t;

  // Register stages before level l.
  function automatic int unsigned stage(input int unsigned l);
    return l * PIPE / K;
  endfunction

  // x >= t, from the lowest bit up: LUTs that take the select bits of t along with x.
  function automatic logic ge_logic(input x_t x, input t_t t);
    logic c;
    c = 1'b1;
    for (int unsigned i = 0; i < X_W; i++) c = (x[i] && !t[i]) || ((x[i] || !t[i]) && c);
    return c && !t[X_W];
  endfunction

  // x >= t, as the carry of x - t: one LUT6 per bit holds x and a table of up to 5 select bits.
  function automatic logic ge_carry(input x_t x, input t_t t);
    t_t d;
    d = {1'b0, x} + {1'b0, ~t[X_W-1:0]} + T_W'(1);
    return d[X_W] && !t[X_W];
  endfunction

  // v + BASE without a carry chain: at most 8 bits are not constant.
  function automatic sum_t add_base(input sum_t v);
    sum_t b, y;
    logic c;
    b = sum_t'(BASE);
    c = 1'b0;
    for (int unsigned i = 0; i < SUM_W; i++) begin
      y[i] = v[i] ^ b[i] ^ c;
      c    = (v[i] && b[i]) || (c && (v[i] || b[i]));
    end
    return y;
  endfunction

  // ---- control ---------------------------------------------------------------------------------
  logic [PIPE-1:0]    en;
  logic [INDEX_W-1:0] cf;

  hwq_pipe #(.STAGES(PIPE)) u_pipe (
    .clk, .rst_n, .s_valid(s_axis_tvalid), .s_ready(s_axis_tready),
    .m_valid(m_axis_tvalid), .m_ready(m_axis_tready), .en
  );
  hwq_count #(.COUNT(CF)) u_cf (
    .clk, .rst_n, .advance(s_axis_tvalid && s_axis_tready), .index(cf)
  );

  // ---- thresholds: constants of the netlist, not a memory --------------------------------------
  // Rows are read at constant addresses only; a memory cell would pull the address registers into
  // itself and grow one register per threshold bit.
  logic [PE*T_W-1:0] rows [ROWS];
  initial $readmemh(T_FILE, rows);

  // ---- search ----------------------------------------------------------------------------------
  for (genvar l = 0; l < K; l++) begin : gen_level
    localparam int unsigned S = CF_W + l;    // select bits of this level's thresholds
    localparam int unsigned FROM = stage(l);

    logic [INDEX_W-1:0]     cf_l;
    logic [PE-1:0][X_W-1:0] x_l;
    logic [PE-1:0][K-1:0]   found_l, found_d;

    if (l == 0) begin : gen_first
      assign cf_l    = cf;
      assign x_l     = s_axis_tdata;
      assign found_l = '0;
    end else begin : gen_next
      localparam int unsigned REGS_IN = FROM - stage(l - 1);
      localparam int unsigned EN_IN = REGS_IN > 0 ? stage(l - 1) : 0;
      hwq_delay #(.DATA_W(INDEX_W + PE * X_W + PE * K), .STAGES(REGS_IN)) u_cut (
        .clk, .en(en[EN_IN +: (REGS_IN > 0 ? REGS_IN : 1)]),
        .d({gen_level[l-1].cf_l, gen_level[l-1].x_l, gen_level[l-1].found_d}),
        .q({cf_l, x_l, found_l})
      );
    end

    for (genvar p = 0; p < PE; p++) begin : gen_lane
      t_t   t_of [CF << l];                  // by channel group and bits found
      t_t   t;
      x_t   x;
      logic ge;

      for (genvar a = 0; a < (CF << l); a++) begin : gen_t
        assign t_of[a] = rows[(a >> l) * NODES + (1 << l) + a % (1 << l)][p*T_W +: T_W];
      end
      if (S == 0) begin : gen_constant
        logic unused;
        assign t      = t_of[0];
        assign unused = &{1'b0, cf_l, found_l[p]};
      end else begin : gen_select
        logic [S-1:0] select;
        // cf above the l bits found so far
        assign select = S'((32'(cf_l) << l) | 32'(found_l[p]));
        assign t      = t_of[select];
      end

      // Offset binary: signed and unsigned x compare alike.
      assign x = x_l[p] ^ (x_t'(X_SIGNED) << (X_W - 1));
      if (S == 4 || S == 5) begin : gen_carry
        assign ge = ge_carry(x, t);
      end else begin : gen_logic
        assign ge = ge_logic(x, t);
      end
      assign found_d[p] = found_t'({found_l[p], ge});
    end
  end

  // ---- output register -------------------------------------------------------------------------
  localparam int unsigned LAST = stage(K - 1);
  logic [PE-1:0][Y_W-1:0] y;

  for (genvar p = 0; p < PE; p++) begin : gen_out
    found_t found;
    if (FALLING) begin : gen_falling
      logic falling_of [CF];
      for (genvar c = 0; c < CF; c++) begin : gen_f
        assign falling_of[c] = rows[c*NODES][p*T_W];
      end
      assign found = gen_level[K-1].found_d[p] ^ {K{falling_of[gen_level[K-1].cf_l]}};
    end else begin : gen_rising
      assign found = gen_level[K-1].found_d[p];
    end
    assign y[p] = Y_W'(add_base(sum_t'(found)));
  end
  hwq_delay #(.DATA_W(PE * Y_W), .STAGES(PIPE - LAST)) u_out (
    .clk, .en(en[PIPE-1:LAST]), .d(y), .q(m_axis_tdata)
  );
endmodule
