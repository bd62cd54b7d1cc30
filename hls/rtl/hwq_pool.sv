// hwq_pool: reduces every N beats of TAPS values a lane to one value a lane: their maximum or their sum.
//   Function    KIND 0: y[lane] = max over N beats and TAPS of x[tap][lane] (signed if X_SIGNED; Y_W = X_W);
//               KIND 1: y[lane] = their sum modulo 2^Y_W.
//               This is pooling behind hwq_window with GROUPS = CHUNKS, N = KH * KW and TAPS = 1, or behind
//               hwq_slide of the same TAPS, N = KH * KW / TAPS.
//   Latency     PIPE cycles from the last beat of a group; 1 beat in per cycle. Class reduce(PIPE, N).
//   Handshake   s_axis_tready is combinational in m_axis_tready through the stages; m_axis_tvalid is early.
//   Stages      1 .. PIPE-1 the taps of a beat, a tree; PIPE accumulate into the output.
//   Reset       valid bits, the counter and the accumulator.
module hwq_pool #(
  parameter int unsigned LANES    = 2,
  parameter int unsigned TAPS     = 1,
  parameter int unsigned N        = 4,
  parameter int unsigned X_W      = 4,
  parameter bit          X_SIGNED = 1'b0,
  parameter int unsigned KIND     = 0,      // 0 maximum, 1 sum
  parameter int unsigned Y_W      = 4,
  parameter int unsigned PIPE     = 1
) (
  input  logic                      clk,
  input  logic                      rst_n,  // synchronous, active low
  input  logic [TAPS*LANES*X_W-1:0] s_axis_tdata,
  input  logic                      s_axis_tvalid,
  output logic                      s_axis_tready,
  output logic [LANES*Y_W-1:0]      m_axis_tdata,
  output logic                      m_axis_tvalid,
  input  logic                      m_axis_tready
);
  if (LANES < 1 || TAPS < 1 || N < 1 || X_W < 1 || Y_W < 1 || PIPE < 1) begin : gen_bad_size
    $error("hwq_pool: LANES=%0d, TAPS=%0d, N=%0d, X_W=%0d, Y_W=%0d, PIPE=%0d must be at least 1",
           LANES, TAPS, N, X_W, Y_W, PIPE);
  end
  if (KIND == 1 && X_W > 30) begin : gen_bad_sum
    $error("hwq_pool: X_W=%0d, a sum takes at most 30", X_W);
  end
  if (KIND > 1) begin : gen_bad_kind
    $error("hwq_pool: KIND=%0d, must be 0 (maximum) or 1 (sum)", KIND);
  end
  if (KIND == 0 && X_W != Y_W) begin : gen_bad_width
    $error("hwq_pool: X_W=%0d and Y_W=%0d must be equal for a maximum", X_W, Y_W);
  end

  localparam int unsigned CUTS   = PIPE - 1;
  localparam int unsigned EN_W   = CUTS > 0 ? CUTS : 1;
  localparam int unsigned DEPTH  = TAPS > 1 ? $clog2(TAPS) : 0;
  localparam int unsigned LEVELS = DEPTH > 0 ? DEPTH : 1;

  typedef logic [Y_W-1:0] y_t;
  logic             beat_valid, beat_ready, take, last, out_load, out_valid_q;
  logic [EN_W-1:0]  en;
  y_t   [LANES-1:0] acc_q, acc_d, out_q;

  hwq_pipe #(.STAGES(CUTS)) u_pipe (
    .clk, .rst_n, .s_valid(s_axis_tvalid), .s_ready(s_axis_tready),
    .m_valid(beat_valid), .m_ready(beat_ready), .en
  );

  // Only the last beat of a group needs the output register.
  assign out_load      = !out_valid_q || m_axis_tready;
  assign beat_ready    = !last || out_load;
  assign take          = beat_valid && beat_ready;
  assign m_axis_tvalid = out_valid_q;

  hwq_last #(.COUNT(N)) u_last (.clk, .rst_n, .advance(take), .last);

  // A maximum is kept in offset binary, so that 0 is the lowest value and starts every group.
  localparam bit FLIP = KIND == 0 && X_SIGNED;
  for (genvar i = 0; i < LANES; i++) begin : gen_lane
    y_t [TAPS-1:0] x;
    y_t            beat;                    // what the taps of a beat come to
    for (genvar t = 0; t < TAPS; t++) begin : gen_tap
      if (X_SIGNED) begin : gen_signed
        assign x[t] = y_t'($signed(s_axis_tdata[(t*LANES+i)*X_W +: X_W])) ^ (y_t'(FLIP) << (Y_W - 1));
      end else begin : gen_unsigned
        assign x[t] = y_t'(s_axis_tdata[(t*LANES+i)*X_W +: X_W]);
      end
    end
    if (KIND == 0) begin : gen_max
      for (genvar k = 0; k <= DEPTH; k++) begin : gen_level
        localparam int unsigned NODES = (TAPS + (1 << k) - 1) >> k;
        y_t [NODES-1:0] node;
        if (k == 0) begin : gen_leaves
          assign node = x;
        end else begin : gen_nodes
          localparam int unsigned PREV = (k - 1) * CUTS / LEVELS;
          localparam int unsigned REGS = k * CUTS / LEVELS - PREV;
          for (genvar j = 0; j < NODES; j++) begin : gen_node
            y_t best;
            if ((j << k) + (1 << (k - 1)) < TAPS) begin : gen_two
              y_t a, b;
              assign a    = gen_level[k-1].node[2*j];
              assign b    = gen_level[k-1].node[2*j+1];
              assign best = a > b ? a : b;
            end else begin : gen_one
              assign best = gen_level[k-1].node[2*j];
            end
            hwq_delay #(.DATA_W(Y_W), .STAGES(REGS)) u_cut (
              .clk, .en(en[(REGS > 0 ? PREV : 0) +: (REGS > 0 ? REGS : 1)]), .d(best), .q(node[j])
            );
          end
        end
      end
      localparam int unsigned REST = DEPTH > 0 ? 0 : CUTS;   // one tap: no tree to cut
      hwq_delay #(.DATA_W(Y_W), .STAGES(REST)) u_rest (
        .clk, .en(en[0 +: (REST > 0 ? REST : 1)]), .d(gen_level[DEPTH].node[0]), .q(beat)
      );
      assign acc_d[i] = beat > acc_q[i] ? beat : acc_q[i];
    end else begin : gen_sum
      hwq_tree #(
        .N(TAPS), .LO(X_SIGNED ? -(1 << (X_W - 1)) : 0), .HI((1 << (X_SIGNED ? X_W - 1 : X_W)) - 1),
        .FULL(1'b0), .Y_W(Y_W), .CUTS(CUTS), .HOLD(0), .LEVELS(LEVELS), .FROM(0)
      ) u_tree (.clk, .en, .d(x), .y(beat));
      assign acc_d[i] = acc_q[i] + beat;
    end
    assign m_axis_tdata[i*Y_W +: Y_W] = out_q[i] ^ (y_t'(FLIP) << (Y_W - 1));
  end

  always_ff @(posedge clk) begin
    if (!rst_n) out_valid_q <= 1'b0;
    else if (out_load) out_valid_q <= beat_valid && last;
  end
  // The next group starts by the reset input of the registers: no LUT in front of them.
  always_ff @(posedge clk) begin
    if (!rst_n || (take && last)) acc_q <= '0;
    else if (take) acc_q <= acc_d;
  end
  always_ff @(posedge clk) if (out_load) out_q <= acc_d;

  logic unused;
  assign unused = &{1'b0, en};
endmodule
