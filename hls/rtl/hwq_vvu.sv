// hwq_vvu: depthwise matrix unit with its weight store: every lane has its own input and kernel.
//   Function    for each nf: y[pe] = sum over sf, simd of W[nf*PE+pe, sf*SIMD+simd] * x[sf][simd][pe],
//               modulo 2^ACC_W (W_KIND 3: popcount of XNOR); columns of W are the KH * KW = SF * SIMD
//               kernel positions. Beats in: for nf, for sf, of SIMD pixels of PE channels: hwq_window with
//               GROUPS = CHUNKS = NF where SIMD = 1; hwq_slide with TAPS = SIMD and NF = 1 otherwise.
//               One beat of PE accumulators per nf.
//   Memory      W_FILE, row nf*SF + sf; W[nf*PE+pe, sf*SIMD+simd] at bit (pe*SIMD + simd) * W_BITS.
//               W_KIND 0: two's complement; 1 and 3: 1 is +1, 0 is -1; 2: two's complement, no -2.
//   Latency     PIPE cycles from the last beat of a kernel; 1 beat in per cycle. Class reduce(PIPE, SF).
//   Handshake   s_axis_tready is combinational in m_axis_tready through the stages; m_axis_tvalid is early.
//   Stages      1 read (x and weights); 2 .. PIPE-1 product; PIPE accumulate into the output.
//               SF = 1: no accumulator, the product ends in stage PIPE.
//   Reset       valid bits, counters and the accumulator.
module hwq_vvu #(
  parameter int unsigned PE       = 2,
  parameter int unsigned SIMD     = 1,
  parameter int unsigned SF       = 9,
  parameter int unsigned NF       = 2,
  parameter int unsigned W_BITS   = 4,
  parameter int unsigned W_KIND   = 0,      // 0 int, 1 bipolar, 2 ternary, 3 bipolar, XNOR-popcount
  parameter int unsigned X_BITS   = 4,
  parameter bit          X_SIGNED = 1'b0,
  parameter int unsigned ACC_W    = 12,
  parameter int unsigned STYLE    = 0,      // of the weight store, as hwq_rom
  parameter int unsigned PIPE     = 3,
  parameter string       W_FILE   = "w.hex"
) (
  input  logic                      clk,
  input  logic                      rst_n,  // synchronous, active low
  input  logic [SIMD*PE*X_BITS-1:0] s_axis_tdata,
  input  logic                      s_axis_tvalid,
  output logic                      s_axis_tready,
  output logic [PE*ACC_W-1:0]       m_axis_tdata,
  output logic                      m_axis_tvalid,
  input  logic                      m_axis_tready
);
  localparam int unsigned DEPTH  = NF * SF;
  localparam int unsigned ADDR_W = DEPTH > 1 ? $clog2(DEPTH) : 1;
  localparam int unsigned CUTS   = SF > 1 ? PIPE - 2 : PIPE - 1;
  localparam int unsigned STAGES = SF > 1 ? PIPE - 1 : PIPE;

  if (PE < 1 || SIMD < 1 || SF < 1 || NF < 1 || ACC_W < 1 || ACC_W > 32) begin : gen_bad_size
    $error("hwq_vvu: PE=%0d, SIMD=%0d, SF=%0d, NF=%0d, ACC_W=%0d must be at least 1, ACC_W at most 32",
           PE, SIMD, SF, NF, ACC_W);
  end
  if (PIPE < 3) begin : gen_bad_pipe
    $error("hwq_vvu: PIPE=%0d, must be at least 3", PIPE);
  end

  logic [STAGES-1:0]                   load; // enable of stage i + 1
  logic                                take, beat_valid, beat_ready, last, leave, out_load;
  logic [SIMD-1:0][PE-1:0][X_BITS-1:0] x_q;
  logic [PE-1:0][SIMD-1:0][W_BITS-1:0] w;
  logic [ADDR_W-1:0]                   addr;

  hwq_pipe #(.STAGES(STAGES)) u_pipe (
    .clk, .rst_n, .s_valid(s_axis_tvalid), .s_ready(s_axis_tready),
    .m_valid(beat_valid), .m_ready(beat_ready), .en(load)
  );

  assign take = s_axis_tvalid && load[0];
  always_ff @(posedge clk) if (take) x_q <= s_axis_tdata;

  hwq_count #(.COUNT(DEPTH)) u_addr (.clk, .rst_n, .advance(take), .index(addr));
  hwq_rom #(.DATA_W(PE * SIMD * W_BITS), .DEPTH(DEPTH), .STYLE(STYLE), .INIT_FILE(W_FILE)) u_weights (
    .clk, .en(take), .addr, .data(w)
  );
  for (genvar pe = 0; pe < PE; pe++) begin : gen_lane
    logic [SIMD-1:0][X_BITS-1:0] x;
    for (genvar i = 0; i < SIMD; i++) begin : gen_tap
      assign x[i] = x_q[i][pe];
    end
    hwq_vvu_lane #(
      .SIMD(SIMD), .W_BITS(W_BITS), .W_KIND(W_KIND), .X_BITS(X_BITS), .X_SIGNED(X_SIGNED), .CONST(DEPTH == 1),
      .Y_W(ACC_W), .CUTS(CUTS), .HOLD(DEPTH > 1 && STYLE != 1), .SUM(SF > 1)
    ) u_lane (
      .clk, .rst_n, .en(load[1 +: CUTS]), .x, .w(w[pe]), .leave, .last, .out_load,
      .y(m_axis_tdata[pe*ACC_W +: ACC_W])
    );
  end

  assign leave = beat_valid && beat_ready;
  hwq_last #(.COUNT(SF)) u_last (.clk, .rst_n, .advance(leave), .last);
  if (SF == 1) begin : gen_pipe
    assign out_load      = m_axis_tready;
    assign beat_ready    = m_axis_tready;
    assign m_axis_tvalid = beat_valid;
  end else begin : gen_reduce
    logic out_valid_q;
    // A beat that is not the last of its kernel never waits for the output register.
    assign out_load      = !out_valid_q || m_axis_tready;
    assign beat_ready    = !last || out_load;
    assign m_axis_tvalid = out_valid_q;
    always_ff @(posedge clk) begin
      if (!rst_n) out_valid_q <= 1'b0;
      else if (out_load) out_valid_q <= beat_valid && last;
    end
  end
endmodule
