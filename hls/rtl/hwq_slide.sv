// hwq_slide: sliding windows, several taps a cycle, up to the whole window or several; padding is made here.
//   Function    A beat in is PIXELS pixels of LANES values of BITS bits; pixels in row-major order. Out, for
//               every oy < OUT_H, ox < OUT_W, for pass < PASSES, for group < KH*KW/TAPS: the pixels of taps
//               group*TAPS .. group*TAPS + TAPS - 1, the first one lowest. Tap ky*KW + kx is pixel
//               y = oy*SH + ky*DH - PAD_T, x = ox*SW + kx*DW - PAD_L; PAD_VALUE in every lane where
//               (y, x) is outside IN_H x IN_W.
//               PIXELS > 1: TAPS = KH*KW, PASSES = 1; a beat out holds PIXELS/SW windows side by side: for
//               every tap its pixel in each of them.
//   Scan        The image is scanned in steps of a beat, PIXELS columns: COLS = max(columns of the image and
//               the padding before it, last column of a window + 1, 2) steps, in
//               ROWS = max(IN_H, last row of a window + 1) rows; a step outside it takes no input. The
//               columns behind a row are the padding before the next one.
//   Latency     a window's first beat leaves 2 cycles after the step that completes it (1 where a window
//               is a single beat: TAPS = KH*KW, PASSES = 1).
//   Throughput  a frame takes the sum over its windows (those side by side are one) of
//               max(BEATS, steps to the next window) cycles, BEATS = KH*KW/TAPS * PASSES.
//   Handshake   m_axis_tvalid comes from a register (early); s_axis_tready is combinational in
//               m_axis_tready. Class slide(...).
//   Memory      (KH-1)*DH rows less a few beats, (KH-1) beats a word, STYLE as hwq_ram;
//               the columns of a window ((KW-1)*DW + 1 for a pixel a beat), KH beats each, and, where a
//               window is several beats, the window being sent in registers.
//   Reset       counters, and the columns to PAD_VALUE: they are the padding before the first row.
module hwq_slide #(
  parameter int unsigned LANES     = 4,
  parameter int unsigned BITS      = 4,
  parameter int unsigned IN_H      = 8,
  parameter int unsigned IN_W      = 8,
  parameter int unsigned KH        = 3,
  parameter int unsigned KW        = 3,
  parameter int unsigned SH        = 1,
  parameter int unsigned SW        = 1,
  parameter int unsigned DH        = 1,
  parameter int unsigned DW        = 1,
  parameter int unsigned PAD_T     = 0,
  parameter int unsigned PAD_L     = 0,
  parameter int unsigned OUT_H     = 6,
  parameter int unsigned OUT_W     = 6,
  parameter int unsigned TAPS      = 9,
  parameter int unsigned PASSES    = 1,
  parameter int unsigned PIXELS    = 1,
  parameter int          PAD_VALUE = 0,
  parameter int unsigned STYLE     = 0,
  localparam int unsigned ABREAST  = PIXELS > 1 ? PIXELS / SW : 1   // windows a beat
) (
  input  logic                               clk,
  input  logic                               rst_n, // synchronous, active low
  input  logic [PIXELS*LANES*BITS-1:0]       s_axis_tdata,
  input  logic                               s_axis_tvalid,
  output logic                               s_axis_tready,
  output logic [TAPS*ABREAST*LANES*BITS-1:0] m_axis_tdata,
  output logic                               m_axis_tvalid,
  input  logic                               m_axis_tready
);
  // ---- geometry; rows and columns of the scan, columns of PIXELS pixels ------------------------
  localparam int unsigned PIXEL_W = LANES * BITS;
  localparam int unsigned DATA_W  = PIXELS * PIXEL_W;
  localparam int unsigned K       = KH * KW;
  localparam int unsigned GROUPS  = K / TAPS;
  localparam int unsigned SPAN_X  = (KW - 1) * DW;              // pixels
  localparam int unsigned SPAN_Y  = (KH - 1) * DH;
  localparam int unsigned SIZE_X  = IN_W / PIXELS;
  localparam int unsigned STEP_X  = PIXELS > 1 ? 1 : SW;
  localparam int unsigned COUNT_X = OUT_W / ABREAST;
  localparam int unsigned LEFT    = (PAD_L + PIXELS - 1) / PIXELS;  // columns of padding before a row
  localparam int unsigned FIRST_X = ((ABREAST - 1) * SW + SPAN_X - PAD_L) / PIXELS; // of the first windows
  localparam int unsigned FIRST_Y = SPAN_Y - PAD_T;
  localparam int unsigned AGES    = FIRST_X + LEFT;             // columns that windows reach back
  localparam int unsigned END_X   = FIRST_X + (COUNT_X - 1) * STEP_X;
  localparam int unsigned END_Y   = FIRST_Y + (OUT_H - 1) * SH;
  localparam int unsigned COLS    = max(max(SIZE_X + LEFT, END_X + 1), 2);
  localparam int unsigned ROWS    = max(IN_H, END_Y + 1);

  function automatic int unsigned max(input int unsigned a, input int unsigned b);
    return a > b ? a : b;
  endfunction

  if (LANES < 1 || BITS < 1 || IN_H < 1 || IN_W < 1 || KH < 1 || KW < 1 || SH < 1 || SW < 1 || DH < 1
      || DW < 1 || OUT_H < 1 || OUT_W < 1 || PASSES < 1 || PIXELS < 1) begin : gen_bad_size
    $error("hwq_slide: LANES, BITS, sizes, strides, dilations, PASSES, PIXELS must be at least 1");
  end
  if ((PIXELS == 1 && TAPS < 2) || K % TAPS != 0) begin : gen_bad_taps
    $error("hwq_slide: TAPS=%0d must be a divisor of the %0d x %0d window above 1", TAPS, KH, KW);
  end
  if (OUT_W % ABREAST != 0) begin : gen_bad_abreast
    $error("hwq_slide: OUT_W=%0d must hold whole beats of %0d windows", OUT_W, ABREAST);
  end
  if (PIXELS > 1 && (TAPS != K || PASSES != 1 || PIXELS % SW != 0
                     || IN_W % PIXELS != 0)) begin : gen_bad_pixels
    $error("hwq_slide: PIXELS=%0d must divide IN_W=%0d, be a multiple of SW=%0d and go with whole windows",
           PIXELS, IN_W, SW);
  end
  if (PAD_T > SPAN_Y || PAD_L > SPAN_X || (OUT_H - 1) * SH >= IN_H + PAD_T
      || (OUT_W - 1) * SW >= IN_W + PAD_L) begin : gen_bad_padding
    $error("hwq_slide: a window of %0d x %0d lies in the padding of an image of %0d x %0d altogether",
           SPAN_Y + 1, SPAN_X + 1, IN_H, IN_W);
  end

  // ---- scan ------------------------------------------------------------------------------------
  logic ready, step, real_x, real_y, is_real, hit_x, hit_y, last_x, last_y;
  logic done_q;                             // the columns hold a window that has not gone on

  assign is_real       = real_x && real_y;
  assign step          = ready && (s_axis_tvalid || !is_real);
  assign s_axis_tready = ready && is_real;

  hwq_scan #(.SIZE(COLS), .REAL(SIZE_X), .FIRST(FIRST_X), .STRIDE(STEP_X), .COUNT(COUNT_X)) u_x (
    .clk, .rst_n, .advance(step), .in_image(real_x), .hit(hit_x), .last(last_x)
  );
  hwq_scan #(.SIZE(ROWS), .REAL(IN_H), .FIRST(FIRST_Y), .STRIDE(SH), .COUNT(OUT_H)) u_y (
    .clk, .rst_n, .advance(step && last_x), .in_image(real_y), .hit(hit_y), .last(last_y)
  );

  always_ff @(posedge clk) begin
    if (!rst_n) done_q <= 1'b0;
    else if (ready) done_q <= step && hit_x && hit_y;
  end

  // ---- columns: [age][row above the scan], newest first ----------------------------------------
  logic [AGES:0][KH-1:0][DATA_W-1:0]   col_q;
  logic [KH-1:0][DATA_W-1:0]           pixel;
  logic [KH-1:0]                       outside;

  assign pixel[0]   = s_axis_tdata;
  assign outside[0] = !is_real;
  for (genvar r = 0; r < KH; r++) begin : gen_enter
    always_ff @(posedge clk) begin
      if (!rst_n || (step && outside[r])) col_q[0][r] <= {(PIXELS * LANES){BITS'(PAD_VALUE)}};
      else if (step) col_q[0][r] <= pixel[r];
    end
  end
  for (genvar c = 1; c <= AGES; c++) begin : gen_shift
    always_ff @(posedge clk) begin
      if (!rst_n) col_q[c] <= {(KH * PIXELS * LANES){BITS'(PAD_VALUE)}};
      else if (step) col_q[c] <= col_q[c-1];
    end
  end

  // ---- rows above: a pixel is written back one row further up when it has left the columns -----
  if (KH > 1) begin : gen_rows
    // Any age from 1 to AGES + 1 will do to be written at, and shortens the ring: to a power of two,
    // which wraps by itself, or as far as it goes.
    localparam int unsigned LEAST  = DH * COLS > AGES + 2 ? DH * COLS - AGES - 1 : 1;
    localparam int unsigned POWER  = 1 << $clog2(LEAST);
    localparam int unsigned RING   = POWER < DH * COLS ? POWER : LEAST;
    localparam int unsigned AGE    = DH * COLS - RING;
    localparam int unsigned ADDR_W = RING > 1 ? $clog2(RING) : 1;

    logic [ADDR_W-1:0] addr_q, addr_d;
    assign addr_d = !step ? addr_q : (RING == 1 || addr_q == ADDR_W'(RING - 1)) ? '0 : addr_q + 1'b1;
    always_ff @(posedge clk) begin
      if (!rst_n) addr_q <= '0;
      else addr_q <= addr_d;
    end

    hwq_ram #(.DATA_W((KH - 1) * DATA_W), .DEPTH(RING), .STYLE(STYLE)) u_ram (
      .clk, .we(step), .waddr(addr_q), .wdata(col_q[AGE-1][KH-2:0]), .raddr_d(addr_d), .raddr_q(addr_q),
      .rdata(pixel[KH-1:1])
    );

    // Beside the image all rows are padding: what the memory holds for them may be of no row yet. Above it
    // there is padding that enters in the first DH rows and moves up with them; one flag for all of them
    // leaves the memory a single reader, which takes a quarter less LUT memory.
    if (PAD_T > 0) begin : gen_top
      logic [DH-1:0] above_q;               // bit i: there are more than i rows above the scan
      always_ff @(posedge clk) begin
        if (!rst_n || (step && last_x && last_y)) above_q <= '0;
        else if (step && last_x) above_q <= DH'({above_q, 1'b1});
      end
      assign outside[KH-1:1] = {(KH - 1){!real_x || !above_q[DH-1]}};
    end else begin : gen_no_top
      logic unused;
      assign outside[KH-1:1] = {(KH - 1){!real_x}};
      assign unused          = last_y;
    end
  end else begin : gen_row
    logic unused;
    assign unused = last_y;
  end

  // ---- window ----------------------------------------------------------------------------------
  logic [K-1:0][ABREAST-1:0][PIXEL_W-1:0] window;
  for (genvar ky = 0; ky < KH; ky++) begin : gen_ky
    for (genvar kx = 0; kx < KW; kx++) begin : gen_kx
      for (genvar i = 0; i < ABREAST; i++) begin : gen_abreast
        // Pixels from the end of the newest column back to the tap.
        localparam int unsigned BACK = (FIRST_X + 1) * PIXELS - 1 + PAD_L - i * SW - kx * DW;
        assign window[ky*KW+kx][i] = col_q[BACK/PIXELS][KH-1-ky][(PIXELS-1-BACK%PIXELS)*PIXEL_W +: PIXEL_W];
      end
    end
  end

  if (GROUPS * PASSES == 1) begin : gen_direct
    assign ready         = !done_q || m_axis_tready;
    assign m_axis_tvalid = done_q;
    assign m_axis_tdata  = window;
  end else begin : gen_hold
    // The window being sent, while the columns go on to the next one.
    logic [GROUPS-1:0][TAPS*PIXEL_W-1:0] window_q;
    logic                               valid_q, pop, last_group, last_pass;

    assign ready         = !done_q || !valid_q || (last_group && last_pass && m_axis_tready);
    assign pop           = valid_q && m_axis_tready;
    assign m_axis_tvalid = valid_q;

    always_ff @(posedge clk) begin
      if (!rst_n) valid_q <= 1'b0;
      else if (ready && done_q) valid_q <= 1'b1;
      else if (pop && last_group && last_pass) valid_q <= 1'b0;
    end
    always_ff @(posedge clk) if (ready && done_q) window_q <= window;

    hwq_last #(.COUNT(PASSES)) u_pass (.clk, .rst_n, .advance(pop && last_group), .last(last_pass));
    if (GROUPS > 1) begin : gen_groups
      // Selecting costs less than a shift register, which multiplexes load and shift on every bit.
      logic [$clog2(GROUPS)-1:0] group;
      hwq_count #(.COUNT(GROUPS)) u_group (.clk, .rst_n, .advance(pop), .index(group));
      assign last_group   = group == ($clog2(GROUPS))'(GROUPS - 1);
      assign m_axis_tdata = window_q[group];
    end else begin : gen_whole
      assign last_group   = 1'b1;
      assign m_axis_tdata = window_q;
    end
  end
endmodule
