// hwq_scale: per-channel affine function of every lane.
//   Function    y = m * x + b, modulo 2^Y_W. channel = cf * PE + lane; cf counts the beats of a frame.
//   Memory      MB_FILE, row cf, lanes from bit 0 on.
//               RESOURCE 1: D = ceil(M_W / 2) digits of 3 bits from the lowest on, then the bias of
//               max(B_W, M_W + 1) + 1 bits. A digit {neg, two, one} adds 0, x or 2x at 4^digit, or the
//               complement of that; the bias holds b plus the sum of 4^digit over complemented digits.
//               RESOURCE 2: m of M_W bits, then b of B_W bits. All two's complement.
//   Latency     PIPE cycles, 1 beat per cycle. Class pipe(PIPE). The D additions (RESOURCE 2: product
//               and sum) are spread over the stages: addition l sits before register floor(l*PIPE/D).
//   Handshake   s_axis_tready is combinational in m_axis_tready; m_axis_tvalid is early.
//   Reset       valid bits and the beat counter.
module hwq_scale #(
  parameter int unsigned PE       = 1,
  parameter int unsigned CF       = 1,
  parameter int unsigned X_W      = 8,
  parameter bit          X_SIGNED = 1'b1,
  parameter int unsigned M_W      = 4,
  parameter int unsigned B_W      = 8,
  parameter int unsigned Y_W      = 13,
  parameter int unsigned PIPE     = 1,
  parameter int unsigned RESOURCE = 1,      // 1 LUT, 2 DSP
  parameter string       MB_FILE  = "mb.hex"
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
  localparam int unsigned DIGITS  = (M_W + 1) / 2;
  localparam int unsigned OPS     = RESOURCE == 1 ? DIGITS : 2;
  localparam int unsigned M_BITS  = RESOURCE == 1 ? 3 * DIGITS : M_W;
  localparam int unsigned B_BITS  = RESOURCE == 1 ? (B_W > M_W ? B_W : M_W + 1) + 1 : B_W;
  localparam int unsigned ROW_W   = M_BITS + B_BITS;
  localparam int unsigned INDEX_W = CF > 1 ? $clog2(CF) : 1;

  if (PE < 1 || CF < 1 || X_W < 1 || M_W < 1 || B_W < 1 || Y_W < 1) begin : gen_bad_size
    $error("hwq_scale: PE=%0d, CF=%0d, X_W=%0d, M_W=%0d, B_W=%0d, Y_W=%0d must be at least 1",
           PE, CF, X_W, M_W, B_W, Y_W);
  end
  if (PIPE < 1) begin : gen_bad_pipe
    $error("hwq_scale: PIPE=%0d, must be at least 1", PIPE);
  end
  if (RESOURCE < 1 || RESOURCE > 2) begin : gen_bad_resource
    $error("hwq_scale: RESOURCE=%0d, must be 1 (LUT) or 2 (DSP)", RESOURCE);
  end

  typedef logic [Y_W-1:0] y_t;

  // Register stages before operation l.
  function automatic int unsigned stage(input int unsigned l);
    return l * PIPE / OPS;
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
  logic [PE-1:0][ROW_W-1:0] rows   [CF];
  logic [PE-1:0][ROW_W-1:0] row_of [CF];
  initial $readmemh(MB_FILE, rows);
  assign row_of = rows;

  for (genvar l = 0; l < OPS; l++) begin : gen_op
    logic [INDEX_W-1:0]       cf_l;
    logic [PE-1:0][X_W-1:0]   x_l;
    logic [PE-1:0][Y_W-1:0]   sum_l, sum_d;
    logic [PE-1:0][ROW_W-1:0] row;

    assign row = row_of[cf_l];
    if (l == 0) begin : gen_first
      assign cf_l = cf;
      assign x_l  = s_axis_tdata;
      for (genvar p = 0; p < PE; p++) begin : gen_bias
        assign sum_l[p] = y_t'($signed(row[p][M_BITS +: B_BITS]));
      end
    end else begin : gen_next
      localparam int unsigned FROM = stage(l - 1);
      localparam int unsigned REGS = stage(l) - FROM;
      hwq_delay #(.DATA_W(INDEX_W + PE * X_W + PE * Y_W), .STAGES(REGS)) u_cut (
        .clk, .en(en[(REGS > 0 ? FROM : 0) +: (REGS > 0 ? REGS : 1)]),
        .d({gen_op[l-1].cf_l, gen_op[l-1].x_l, gen_op[l-1].sum_d}), .q({cf_l, x_l, sum_l})
      );
    end

    for (genvar p = 0; p < PE; p++) begin : gen_lane
      logic [X_W:0] x;                       // signed
      logic         unused;
      assign x      = {X_SIGNED && x_l[p][X_W-1], x_l[p]};
      assign unused = &{1'b0, row[p], cf_l};

      if (RESOURCE == 2) begin : gen_dsp
        if (l == 0) begin : gen_product
          logic signed [X_W:0]   a;
          logic signed [M_W-1:0] m;
          logic unused_bias;
          assign a           = $signed(x);
          assign m           = $signed(row[p][M_W-1:0]);
          assign sum_d[p]    = Y_W'(a * m);
          assign unused_bias = ^sum_l[p];
        end else begin : gen_sum
          logic unused_x;
          assign sum_d[p] = sum_l[p] + y_t'($signed(row[p][M_BITS +: B_BITS]));
          assign unused_x = ^x;
        end
      end else if (2 * l >= Y_W) begin : gen_beyond
        logic unused_x;
        assign sum_d[p] = sum_l[p];
        assign unused_x = ^x;
      end else begin : gen_digit
        localparam int unsigned HIGH_W = Y_W - 2 * l;
        logic                neg, two, one, guard;
        logic [X_W+1:0]      part;
        logic [HIGH_W-1:0]   high;
        assign {neg, two, one} = row[p][3*l +: 3];
        assign part = ({(X_W+2){one}} & {x[X_W], x} | {(X_W+2){two}} & {x, 1'b0}) ^ {(X_W+2){neg}};
        // The zero below keeps Yosys from merging the additions into carry-save adders.
        assign {high, guard} = {sum_l[p][Y_W-1:2*l], 1'b0} + {HIGH_W'($signed(part)), 1'b0};
        if (l == 0) begin : gen_low
          assign sum_d[p] = high;
        end else begin : gen_high
          assign sum_d[p] = {high, sum_l[p][(l > 0 ? 2*l : 1)-1:0]};
        end
        logic unused_guard;
        assign unused_guard = ^{part, guard};
      end
    end
  end

  localparam int unsigned LAST = stage(OPS - 1);
  hwq_delay #(.DATA_W(PE * Y_W), .STAGES(PIPE - LAST)) u_out (
    .clk, .en(en[PIPE-1:LAST]), .d(gen_op[OPS-1].sum_d), .q(m_axis_tdata)
  );
endmodule
