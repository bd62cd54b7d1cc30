// hwq_argmax: index of the largest value of a frame, the lowest index on ties.
//   Function    y = argmax over CF * LANES values; index = cf * LANES + lane. One beat out per frame.
//   Latency     PIPE cycles from the last beat of a frame; 1 beat in per cycle. Class reduce(PIPE, CF).
//               A tree of clog2(LANES) levels over the lanes, spread over PIPE - 1 registers, then the
//               running maximum; CF = 1: the tree is spread over PIPE registers.
//   Handshake   s_axis_tready is combinational in m_axis_tready; m_axis_tvalid is early.
//   Reset       valid bits and the beat counter.
module hwq_argmax #(
  parameter int unsigned LANES    = 2,
  parameter int unsigned CF       = 2,
  parameter int unsigned X_W      = 8,
  parameter bit          X_SIGNED = 1'b1,
  parameter int unsigned Y_W      = 2,
  parameter int unsigned PIPE     = 2
) (
  input  logic                 clk,
  input  logic                 rst_n,       // synchronous, active low
  input  logic [LANES*X_W-1:0] s_axis_tdata,
  input  logic                 s_axis_tvalid,
  output logic                 s_axis_tready,
  output logic [Y_W-1:0]       m_axis_tdata,
  output logic                 m_axis_tvalid,
  input  logic                 m_axis_tready
);
  localparam int unsigned LEVELS = $clog2(LANES);
  localparam int unsigned INDEX_W = CF * LANES > 1 ? $clog2(CF * LANES) : 1;
  localparam int unsigned CUTS   = CF > 1 ? PIPE - 1 : PIPE;

  if (LANES < 1 || CF < 1 || X_W < 1 || Y_W < INDEX_W) begin : gen_bad_size
    $error("hwq_argmax: LANES=%0d, CF=%0d, X_W=%0d must be at least 1, Y_W=%0d at least %0d",
           LANES, CF, X_W, Y_W, INDEX_W);
  end
  if (PIPE < 2) begin : gen_bad_pipe
    $error("hwq_argmax: PIPE=%0d, must be at least 2", PIPE);
  end

  typedef struct packed {
    logic [INDEX_W-1:0] index;
    logic [X_W-1:0]     value;              // offset binary
  } item_t;

  // Register stages before level l of the tree.
  function automatic int unsigned stage(input int unsigned l);
    return LEVELS > 0 ? l * CUTS / LEVELS : 0;
  endfunction

  logic [CUTS-1:0] en;
  logic            best_valid, best_ready;
  item_t           best;                    // of the lanes of one beat

  hwq_pipe #(.STAGES(CUTS)) u_pipe (
    .clk, .rst_n, .s_valid(s_axis_tvalid), .s_ready(s_axis_tready),
    .m_valid(best_valid), .m_ready(best_ready), .en
  );

  for (genvar l = 0; l <= LEVELS; l++) begin : gen_level
    localparam int unsigned NODES = (LANES + (1 << l) - 1) >> l;
    item_t [NODES-1:0] node;

    for (genvar i = 0; i < NODES; i++) begin : gen_node
      if (l == 0) begin : gen_leaf
        assign node[i].index = INDEX_W'(i);
        assign node[i].value = s_axis_tdata[i*X_W +: X_W] ^ (X_W'(X_SIGNED) << (X_W - 1));
      end else begin : gen_winner
        localparam int unsigned FROM = stage(l > 0 ? l - 1 : 0);
        localparam int unsigned REGS = stage(l) - FROM;
        item_t low, winner;
        assign low = gen_level[l > 0 ? l-1 : 0].node[2*i];
        if (((2 * i + 1) << (l - 1)) < LANES) begin : gen_compare
          item_t high;
          assign high   = gen_level[l > 0 ? l-1 : 0].node[2*i+1];
          assign winner = high.value > low.value ? high : low;
        end else begin : gen_pass
          assign winner = low;
        end
        hwq_delay #(.DATA_W($bits(item_t)), .STAGES(REGS)) u_cut (
          .clk, .en(en[(REGS > 0 ? FROM : 0) +: (REGS > 0 ? REGS : 1)]), .d(winner), .q(node[i])
        );
      end
    end
  end

  localparam int unsigned REST = CUTS - stage(LEVELS);    // LANES = 1: all of them
  hwq_delay #(.DATA_W($bits(item_t)), .STAGES(REST)) u_rest (
    .clk, .en(en[(REST > 0 ? CUTS - REST : 0) +: (REST > 0 ? REST : 1)]),
    .d(gen_level[LEVELS].node[0]), .q(best)
  );

  if (CF == 1) begin : gen_single
    logic unused;
    assign best_ready    = m_axis_tready;
    assign m_axis_tvalid = best_valid;
    assign m_axis_tdata  = Y_W'(best.index);
    assign unused        = ^best.value;
  end else begin : gen_running
    logic [INDEX_W-1:0] base_q;             // cf * LANES
    logic               first, last, out_valid_q, out_load;
    item_t              held_q, winner;
    logic [INDEX_W-1:0] out_q;

    assign first    = base_q == '0;
    assign last     = base_q == INDEX_W'((CF - 1) * LANES);
    assign out_load = !out_valid_q || m_axis_tready;
    // Only the last beat of a frame needs the output register.
    assign best_ready    = !last || out_load;
    assign m_axis_tvalid = out_valid_q;
    assign m_axis_tdata  = Y_W'(out_q);

    always_comb begin
      winner = held_q;
      if (first || best.value > held_q.value) begin
        winner.value = best.value;
        winner.index = base_q + best.index;
      end
    end

    always_ff @(posedge clk) begin
      if (!rst_n) begin
        base_q      <= '0;
        out_valid_q <= 1'b0;
      end else begin
        if (best_valid && best_ready) base_q <= last ? '0 : base_q + INDEX_W'(LANES);
        if (out_load) out_valid_q <= best_valid && last;
      end
    end
    always_ff @(posedge clk) begin
      if (best_valid && best_ready) held_q <= winner;
      if (out_load) out_q <= winner.index;
    end
  end
endmodule
