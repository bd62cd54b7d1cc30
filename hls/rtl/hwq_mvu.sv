// hwq_mvu: matrix-vector unit with its weight store.
//   Function    for each nf: y[pe] = sum over sf, simd of W[nf*PE+pe, sf*SIMD+simd] * x[sf*SIMD+simd],
//               modulo 2^ACC_W (W_KIND 3: popcount of XNOR). Beats in: for nf, for sf (the same vector
//               NF times). One beat of PE accumulators out per nf.
//               PIXELS > 1 (SF = NF = 1): so many vectors a beat, of TAPS parts each; in: for tap, for pixel,
//               SIMD/TAPS values; out: for pixel, PE accumulators.
//   Memory      W_FILE, row nf*SF + sf; W[nf*PE+pe, sf*SIMD+simd] at bit (pe*SIMD + simd) * W_BITS.
//               W_KIND 0: two's complement; 1 and 3: 1 is +1, 0 is -1; 2: two's complement, no -2.
//   Latency     PIPE cycles from the last beat of a vector; 1 beat in per cycle. Class reduce(PIPE, SF).
//   Handshake   s_axis_tready is combinational in m_axis_tready through the stages; m_axis_tvalid is early.
//   Stages      1 read (x and weights); 2 .. PIPE-1 dot product; PIPE accumulate into the output.
//               SF = 1: no accumulator, the dot product ends in stage PIPE.
//   Reset       valid bits, counters and the accumulator.
module hwq_mvu #(
  parameter int unsigned PE         = 2,
  parameter int unsigned SIMD       = 4,
  parameter int unsigned SF         = 2,
  parameter int unsigned NF         = 2,
  parameter int unsigned PIXELS     = 1,
  parameter int unsigned TAPS       = 1,
  parameter int unsigned W_BITS     = 4,
  parameter int unsigned W_KIND     = 0,    // 0 int, 1 bipolar, 2 ternary, 3 bipolar, XNOR-popcount
  parameter int unsigned X_BITS     = 4,
  parameter bit          X_SIGNED   = 1'b0,
  parameter int unsigned ACC_W      = 12,
  parameter bit          ACC_SIGNED = 1'b1, // how the next module reads the accumulators
  parameter int unsigned RESOURCE   = 1,    // 1 LUT, 2 DSP
  parameter int unsigned STYLE      = 0,    // of the weight store, as hwq_rom
  parameter int unsigned PIPE       = 3,
  parameter string       W_FILE     = "w.hex",
  parameter int unsigned DSP_W      = 25,   // wide operand of a DSP block: 25 (7-series), 18 (ECP5)
  parameter int unsigned DSP_ROWS   = 0     // rows that may use DSP blocks, 0: all that fill them
) (
  input  logic                          clk,
  input  logic                          rst_n, // synchronous, active low
  input  logic [PIXELS*SIMD*X_BITS-1:0] s_axis_tdata,
  input  logic                          s_axis_tvalid,
  output logic                          s_axis_tready,
  output logic [PIXELS*PE*ACC_W-1:0]    m_axis_tdata,
  output logic                          m_axis_tvalid,
  input  logic                          m_axis_tready
);
  localparam int unsigned DEPTH  = NF * SF;
  localparam int unsigned ADDR_W = DEPTH > 1 ? $clog2(DEPTH) : 1;
  localparam int unsigned CUTS   = SF > 1 ? PIPE - 2 : PIPE - 1;

  if (SF < 1 || NF < 1 || ACC_W < 1 || ACC_W > 32) begin : gen_bad_size
    $error("hwq_mvu: SF=%0d, NF=%0d, ACC_W=%0d must be at least 1, ACC_W at most 32", SF, NF, ACC_W);
  end
  if (PIXELS < 1 || TAPS < 1 || SIMD % TAPS != 0 || (PIXELS > 1 && DEPTH > 1)) begin : gen_bad_pixels
    $error("hwq_mvu: PIXELS=%0d, TAPS=%0d: TAPS must divide SIMD=%0d, and PIXELS > 1 has SF = NF = 1",
           PIXELS, TAPS, SIMD);
  end
  if (PIPE < 3) begin : gen_bad_pipe
    $error("hwq_mvu: PIPE=%0d, must be at least 3", PIPE);
  end
  if (DSP_W < 18) begin : gen_bad_dsp
    $error("hwq_mvu: DSP_W=%0d, must be at least 18", DSP_W);
  end
  if (RESOURCE < 1 || RESOURCE > 2) begin : gen_bad_resource
    $error("hwq_mvu: RESOURCE=%0d, must be 1 (LUT) or 2 (DSP)", RESOURCE);
  end

  // Elastic stages: load[i] is the enable of stage i + 1.
  logic [(SF > 1 ? PIPE-2 : PIPE-1):0] load;
  logic [PIXELS-1:0][PE-1:0][ACC_W-1:0] beat;  // dot products of one beat

  // ---- stage 1: the beat and its weights -------------------------------------------------------
  logic                                  take;
  logic [PIXELS*SIMD-1:0][X_BITS-1:0]    x_q;
  logic [PE-1:0][SIMD-1:0][W_BITS-1:0]   w;
  logic [ADDR_W-1:0]                     addr;

  assign take = s_axis_tvalid && load[0];
  always_ff @(posedge clk) if (take) x_q <= s_axis_tdata;

  hwq_count #(.COUNT(DEPTH)) u_addr (.clk, .rst_n, .advance(take), .index(addr));
  hwq_rom #(.DATA_W(PE * SIMD * W_BITS), .DEPTH(DEPTH), .STYLE(STYLE), .INIT_FILE(W_FILE)) u_weights (
    .clk, .en(take), .addr, .data(w)
  );

  // ---- stages 2 ..: dot products, the first DSP_PE rows in DSP blocks --------------------------
  // Columns a cascade adds, distance of the lanes in a product, lanes that fit into DSP_W bits.
  localparam bit          USE_DSP = RESOURCE == 2 && !W_KIND[0] && DEPTH > 1 && CUTS > 2;
  localparam int unsigned CASCADE = !USE_DSP ? 1 : dsp_cascade();
  localparam int unsigned LANE_S  = dsp_distance(CASCADE);
  localparam int unsigned ROWS    = (DSP_ROWS == 0 || DSP_ROWS > PE) ? PE : DSP_ROWS;
  localparam int unsigned LANES   = dsp_lanes(CASCADE) < ROWS ? dsp_lanes(CASCADE) : ROWS;
  localparam int unsigned DSP_PE  = USE_DSP ? ROWS / LANES * LANES : 0;

  function automatic int unsigned dsp_distance(input int unsigned columns);
    return $clog2(columns) + W_BITS + X_BITS;
  endfunction
  function automatic int unsigned dsp_lanes(input int unsigned columns);
    return (DSP_W - 1 - W_BITS) / dsp_distance(columns) + 1;
  endfunction
  // The longest cascade (a power of two up to 4) that leaves as many lanes as one column has.
  function automatic int unsigned dsp_cascade();
    int unsigned best = 1;
    for (int unsigned c = 2; c <= 4; c = c * 2) begin
      if (c + 2 <= CUTS && c <= SIMD && dsp_lanes(c) >= (dsp_lanes(1) < 3 ? dsp_lanes(1) : 3)) best = c;
    end
    return best;
  endfunction

  for (genvar d = 0; d < DSP_PE / LANES; d++) begin : gen_dsp
    hwq_dot_dsp #(
      .LANES(LANES), .SIMD(SIMD), .W_BITS(W_BITS), .X_BITS(X_BITS), .X_SIGNED(X_SIGNED),
      .CASCADE(CASCADE), .S(LANE_S), .Y_W(ACC_W), .CUTS(CUTS)
    ) u_dot (
      .clk, .en(load[1 +: CUTS]), .x(x_q), .w(w[d*LANES +: LANES]), .y(beat[0][d*LANES +: LANES])
    );
  end
  for (genvar p = 0; p < (DSP_PE < PE ? PIXELS : 0); p++) begin : gen_lut
    logic [SIMD-1:0][X_BITS-1:0] x;         // of pixel p
    for (genvar t = 0; t < TAPS; t++) begin : gen_tap
      assign x[t*SIMD/TAPS +: SIMD/TAPS] = x_q[(t*PIXELS+p)*SIMD/TAPS +: SIMD/TAPS];
    end
    hwq_dot #(
      .PE(PE - DSP_PE), .SIMD(SIMD), .W_BITS(W_BITS), .W_KIND(W_KIND), .X_BITS(X_BITS),
      .X_SIGNED(X_SIGNED), .CONST(DEPTH == 1), .Y_W(ACC_W), .CUTS(CUTS),
      .HOLD(DEPTH > 1 && STYLE != 1)
    ) u_dot (
      .clk, .en(load[1 +: CUTS]), .x, .w(w[DSP_PE +: PE - DSP_PE]), .y(beat[p][DSP_PE +: PE - DSP_PE])
    );
  end

  // ---- stages and the accumulator --------------------------------------------------------------
  if (SF == 1) begin : gen_pipe
    hwq_pipe #(.STAGES(PIPE)) u_pipe (
      .clk, .rst_n, .s_valid(s_axis_tvalid), .s_ready(s_axis_tready),
      .m_valid(m_axis_tvalid), .m_ready(m_axis_tready), .en(load)
    );
    assign m_axis_tdata = beat;
  end else begin : gen_reduce
    localparam int unsigned SF_W = $clog2(SF);
    logic [SF_W-1:0]          sf_q;
    logic [PE-1:0][ACC_W-1:0] acc_q, sum, out_q;
    logic                     last;     // the beat in stage PIPE-1 ends its vector
    logic                     beat_valid, beat_ready, leave, out_load;

    hwq_pipe #(.STAGES(PIPE - 1)) u_pipe (
      .clk, .rst_n, .s_valid(s_axis_tvalid), .s_ready(s_axis_tready),
      .m_valid(beat_valid), .m_ready(beat_ready), .en(load)
    );
    // The output register; a beat that is not the last never waits for it.
    logic out_valid_q;
    assign out_load      = !out_valid_q || m_axis_tready;
    assign beat_ready    = !last || out_load;
    assign leave         = beat_valid && beat_ready;
    assign last          = sf_q == SF_W'(SF - 1);
    assign m_axis_tvalid = out_valid_q;
    assign m_axis_tdata  = out_q;
    for (genvar pe = 0; pe < PE; pe++) begin : gen_sum
      assign sum[pe] = acc_q[pe] + beat[0][pe];
    end

    always_ff @(posedge clk) begin
      if (!rst_n) begin
        out_valid_q <= 1'b0;
        sf_q        <= '0;
      end else begin
        if (out_load) out_valid_q <= beat_valid && last;
        if (leave) sf_q <= last ? '0 : sf_q + 1'b1;
      end
      // The next sum starts by the reset input of the registers: no LUT in front of them.
      if (!rst_n || (leave && last)) acc_q <= '0;
      else if (leave) acc_q <= sum;
    end
    always_ff @(posedge clk) if (out_load) out_q <= sum;
  end

  logic unused;
  assign unused = ACC_SIGNED;
endmodule
