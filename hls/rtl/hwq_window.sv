// hwq_window: sliding windows over an image that streams in pixel by pixel; padding is made here.
//   Function    A beat is LANES values of BITS bits; CHUNKS beats are a pixel, pixels in row-major order.
//               Out, for every oy < OUT_H, ox < OUT_W, for group < GROUPS, for pass < PASSES, for ky < KH,
//               kx < KW, for chunk < CHUNKS/GROUPS: chunk group*CHUNKS/GROUPS + chunk of pixel (y, x), with
//               y = oy*SH + ky*DH - PAD_T, x = ox*SW + kx*DW - PAD_L; PAD_VALUE in every lane where (y, x) is
//               outside IN_H x IN_W. GROUPS 1: convolution; CHUNKS: depthwise units and pooling; between:
//               grouped convolution.
//   Latency     a beat can leave the cycle after it was written; padding at once, but a frame's first
//               beat only after the frame's first input beat.
//   Throughput  1 beat/cycle out while data is there, across rows and frames.
//   Handshake   s_axis_tready and m_axis_tvalid come from registers (early). Class window(...).
//   Memory      ring of DEPTH beats. Slots are released at the end of a window, up to the first pixel of
//               the next one counted in rows of IN_W, padding included; the next frame streams in behind.
//               Least DEPTH: CHUNKS * ((KH-1)*DH*IN_W + (KW-1)*DW + 1). Where padding makes windows step
//               backwards (PAD_L + PAD_R > (KW-1)*DW + 1, or the same of rows), whole rows, or else whole
//               frames, are kept: CHUNKS * IN_W * ((KH-1)*DH + 1), or CHUNKS * IN_W * IN_H.
//               STYLE as hwq_ram.
//   Reset       clears counters; the content of the ring is never reset.
module hwq_window #(
  parameter int unsigned LANES     = 4,
  parameter int unsigned BITS      = 4,
  parameter int unsigned CHUNKS    = 4,
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
  parameter int unsigned PASSES    = 1,
  parameter int unsigned GROUPS    = 1,
  parameter int          PAD_VALUE = 0,
  parameter int unsigned DEPTH     = 76,
  parameter int unsigned STYLE     = 0
) (
  input  logic                  clk,
  input  logic                  rst_n,      // synchronous, active low
  input  logic [LANES*BITS-1:0] s_axis_tdata,
  input  logic                  s_axis_tvalid,
  output logic                  s_axis_tready,
  output logic [LANES*BITS-1:0] m_axis_tdata,
  output logic                  m_axis_tvalid,
  input  logic                  m_axis_tready
);
  localparam int unsigned DATA_W = LANES * BITS;

  // ---- geometry; positions in the stream are counted in beats ----------------------------------
  localparam int C       = int'(CHUNKS);
  localparam int CG      = int'(CHUNKS / GROUPS);               // chunks of a group
  localparam int DEPTH_I = int'(DEPTH);
  localparam int ROW     = int'(IN_W) * C;
  localparam int FRAME   = int'(IN_H) * ROW;
  localparam int SPAN_X  = int'((KW - 1) * DW);                 // last column of a window
  localparam int SPAN_Y  = int'((KH - 1) * DH);
  localparam int LAST_X  = int'((OUT_W - 1) * SW);              // first column of the last window
  localparam int LAST_Y  = int'((OUT_H - 1) * SH);
  localparam int EXTENT  = SPAN_Y * ROW + (SPAN_X + 1) * C;     // first to last beat of a window
  localparam int ORIGIN  = int'(PAD_T) * ROW + int'(PAD_L) * C; // of the padding before the frame
  // From a window's first beat to its successor's.
  localparam int NEXT_X  = int'(SW) * C;
  localparam int NEXT_Y  = int'(SH) * ROW - LAST_X * C;
  localparam int NEXT_F  = FRAME - LAST_Y * ROW - LAST_X * C;
  localparam int NEXT    = max(NEXT_X, max(NEXT_Y, NEXT_F));
  // What the end of a window releases: pixels, rows or frames.
  localparam bit BY_PIXEL = NEXT_Y >= 0 && NEXT_F >= 0;
  localparam bit BY_ROW   = !BY_PIXEL && FRAME >= LAST_Y * ROW;
  localparam int FREE_X  = BY_PIXEL ? NEXT_X : 0;
  localparam int FREE_Y  = BY_PIXEL ? NEXT_Y : BY_ROW ? int'(SH) * ROW : 0;
  localparam int FREE_F  = BY_PIXEL ? NEXT_F : BY_ROW ? FRAME - LAST_Y * ROW : FRAME;
  localparam int HELD    = BY_PIXEL ? ORIGIN : BY_ROW ? int'(PAD_T) * ROW : 0;
  localparam int LEAST   = BY_PIXEL ? EXTENT : BY_ROW ? (SPAN_Y + 1) * ROW : FRAME;

  function automatic int max(input int a, input int b);
    return a > b ? a : b;
  endfunction
  function automatic int min(input int a, input int b);
    return a < b ? a : b;
  endfunction
  function automatic int modulo(input int a, input int m);
    return (a % m + m) % m;
  endfunction

  function automatic int unsigned width(input int highest);
    return highest > 0 ? $clog2(highest + 1) : 1;
  endfunction

  // Padding behind the image is what the last window sees there.
  localparam bit PAD_X   = PAD_L > 0 || LAST_X + SPAN_X >= int'(IN_W + PAD_L);
  localparam bit PAD_Y   = PAD_T > 0 || LAST_Y + SPAN_Y >= int'(IN_H + PAD_T);
  localparam bit PADDED  = PAD_X || PAD_Y;

  if (LANES < 1 || BITS < 1 || CHUNKS < 1 || IN_H < 1 || IN_W < 1 || KH < 1 || KW < 1 || SH < 1
      || SW < 1 || DH < 1 || DW < 1 || OUT_H < 1 || OUT_W < 1 || PASSES < 1) begin : gen_bad_size
    $error("hwq_window: LANES, BITS, CHUNKS, sizes, strides, dilations, PASSES must be at least 1");
  end
  if (GROUPS < 1 || CHUNKS % GROUPS != 0) begin : gen_bad_groups
    $error("hwq_window: GROUPS=%0d must divide CHUNKS=%0d", GROUPS, CHUNKS);
  end
  if (int'(PAD_T) > SPAN_Y || int'(PAD_L) > SPAN_X || LAST_Y >= int'(IN_H + PAD_T)
      || LAST_X >= int'(IN_W + PAD_L)) begin : gen_bad_padding
    $error("hwq_window: a window of %0d x %0d lies in the padding of an image of %0d x %0d altogether",
           SPAN_Y + 1, SPAN_X + 1, IN_H, IN_W);
  end
  if (DEPTH_I < LEAST) begin : gen_bad_depth
    $error("hwq_window: DEPTH=%0d, must be at least %0d", DEPTH, LEAST);
  end

  // ---- loops: a step to the next beat advances loop `level` and starts those inside it again ---
  // 0 chunk, 1 kx, 2 ky, 3 pass, 4 group, 5 ox, 6 oy, 7 frame.
  // The loops run one beat ahead, so that what they say of the coming beat (_q) comes from registers; they
  // step once by themselves after reset, when no beat can be there yet.
  logic       push, pop, step, started_q, last_chunk, last_kx, last_ky, last_pass, last_group, last_x, last_y;
  logic [2:0] level, level_q;
  logic       padding, padding_q;

  assign push = s_axis_tvalid && s_axis_tready;
  assign pop  = m_axis_tvalid && m_axis_tready;
  assign step = pop || !started_q;
  assign level = !last_chunk ? 3'd0 : !last_kx ? 3'd1 : !last_ky ? 3'd2 : !last_pass ? 3'd3
               : !last_group ? 3'd4 : !last_x ? 3'd5 : !last_y ? 3'd6 : 3'd7;

  logic next_kx, next_ky, next_pass, next_group;
  assign next_kx    = step && last_chunk;
  assign next_ky    = next_kx && last_kx;
  assign next_pass  = next_ky && last_ky;
  assign next_group = next_pass && last_pass;
  hwq_last #(.COUNT(CHUNKS / GROUPS)) u_chunk (.clk, .rst_n, .advance(step), .last(last_chunk));
  hwq_last #(.COUNT(KW)) u_kx (.clk, .rst_n, .advance(next_kx), .last(last_kx));
  hwq_last #(.COUNT(KH)) u_ky (.clk, .rst_n, .advance(next_ky), .last(last_ky));
  hwq_last #(.COUNT(PASSES)) u_pass (.clk, .rst_n, .advance(next_pass), .last(last_pass));
  hwq_last #(.COUNT(GROUPS)) u_group (.clk, .rst_n, .advance(next_group), .last(last_group));

  // Column and row of the beat, plus the padding before them.
  localparam int unsigned X_W = width(LAST_X + SPAN_X);
  localparam int unsigned Y_W = width(LAST_Y + SPAN_Y);
  typedef logic [X_W-1:0] x_t;
  typedef logic [Y_W-1:0] y_t;
  x_t   x_q, x_step;
  y_t   y_q, y_step;

  always_comb begin
    unique case (level)
      3'd0:    x_step = '0;
      3'd1:    x_step = x_t'(DW);
      3'd2:    x_step = x_t'(-SPAN_X);
      3'd3:    x_step = x_t'(-SPAN_X);
      3'd4:    x_step = x_t'(-SPAN_X);
      3'd5:    x_step = x_t'(int'(SW) - SPAN_X);
      default: x_step = x_t'(-LAST_X - SPAN_X);
    endcase
    unique case (level)
      3'd0:    y_step = '0;
      3'd1:    y_step = '0;
      3'd2:    y_step = y_t'(DH);
      3'd3:    y_step = y_t'(-SPAN_Y);
      3'd4:    y_step = y_t'(-SPAN_Y);
      3'd5:    y_step = y_t'(-SPAN_Y);
      3'd6:    y_step = y_t'(int'(SH) - SPAN_Y);
      default: y_step = y_t'(-LAST_Y - SPAN_Y);
    endcase
  end
  always_ff @(posedge clk) begin
    if (!rst_n) begin
      x_q <= '0;
      y_q <= '0;
    end else if (step) begin
      x_q <= x_q + x_step;
      y_q <= y_q + y_step;
    end
  end
  // Asked only where the window's last column and row are being sent.
  assign last_x  = OUT_W == 1 || x_q == x_t'(LAST_X + SPAN_X);
  assign last_y  = OUT_H == 1 || y_q == y_t'(LAST_Y + SPAN_Y);
  assign padding = PADDED && (int'(x_q) < int'(PAD_L) || 32'(x_q) >= IN_W + PAD_L
                           || int'(y_q) < int'(PAD_T) || 32'(y_q) >= IN_H + PAD_T);

  always_ff @(posedge clk) begin
    started_q <= rst_n;
    if (step) begin
      level_q   <= level;
      padding_q <= padding;
    end
  end

  // ---- step of the position in the stream ------------------------------------------------------
  localparam int STEP0 = 1;
  localparam int STEP1 = int'(DW) * C - CG + 1;
  localparam int STEP2 = int'(DH) * ROW - SPAN_X * C - CG + 1;
  localparam int STEP3 = C - CG + 1 - EXTENT;
  localparam int STEP4 = C + 1 - EXTENT;
  localparam int STEP5 = NEXT_X + 1 - EXTENT;
  localparam int STEP6 = NEXT_Y + 1 - EXTENT;
  localparam int STEP7 = NEXT_F + 1 - EXTENT;

  // How far the input is ahead: beats written minus position of the coming beat, minus 1. It cannot be
  // further behind than the distance of two windows, as nearly every window has a beat to wait for.
  localparam bit EVERY   = !PADDED || (int'(DH) <= int'(IN_H) && int'(DW) <= int'(IN_W));
  localparam int BEHIND  = EVERY ? NEXT + (PADDED ? EXTENT : 0) : LAST_Y * ROW + LAST_X * C + EXTENT + FRAME;
  localparam int AHEAD   = int'(DEPTH) + (BY_PIXEL ? 0 : ORIGIN);
  localparam int unsigned AHEAD_W = 1 + $clog2(max(BEHIND, AHEAD));
  typedef logic signed [AHEAD_W-1:0] ahead_t;
  ahead_t ahead_q, ahead_d, ahead_step;
  logic   unused_ahead, first_q;

  always_comb begin
    unique case (level_q)
      3'd0:    ahead_step = ahead_t'(-STEP0);
      3'd1:    ahead_step = ahead_t'(-STEP1);
      3'd2:    ahead_step = ahead_t'(-STEP2);
      3'd3:    ahead_step = ahead_t'(-STEP3);
      3'd4:    ahead_step = ahead_t'(-STEP4);
      3'd5:    ahead_step = ahead_t'(-STEP5);
      3'd6:    ahead_step = ahead_t'(-STEP6);
      default: ahead_step = ahead_t'(-STEP7);
    endcase
    if (!pop) ahead_step = '0;
  end
  // The bit below is the carry in: +1 for a beat written.
  assign {ahead_d, unused_ahead} = {ahead_q, 1'b1} + {ahead_step, push};
  assign m_axis_tvalid = (ORIGIN > 0 && first_q) ? ahead_q >= ahead_t'(ORIGIN)
                                                 : padding_q || !ahead_q[AHEAD_W-1];

  // Beats written minus those that may be: negative while there is room.
  localparam int SHORT  = PADDED ? DEPTH_I + min(FRAME, NEXT + (BY_PIXEL ? 0 : ORIGIN))
                                 : DEPTH_I + max(0, NEXT - EXTENT);
  localparam int unsigned ROOM_W = 1 + $clog2(EVERY ? SHORT : DEPTH_I + FRAME);
  typedef logic signed [ROOM_W-1:0] room_t;
  room_t room_q, room_d, room_step;
  logic  unused_room;

  always_comb begin
    unique case (level_q)
      3'd5:    room_step = room_t'(-FREE_X);
      3'd6:    room_step = room_t'(-FREE_Y);
      3'd7:    room_step = room_t'(-FREE_F);
      default: room_step = '0;
    endcase
    if (!pop) room_step = '0;
  end
  assign {room_d, unused_room} = {room_q, 1'b1} + {room_step, push};
  assign s_axis_tready = room_q[ROOM_W-1];

  always_ff @(posedge clk) begin
    if (!rst_n) begin
      ahead_q <= ahead_t'(ORIGIN - 1);
      room_q  <= room_t'(HELD - DEPTH_I);
      first_q <= 1'b1;
    end else begin
      ahead_q <= ahead_d;
      room_q  <= room_d;
      if (pop) first_q <= level_q == 3'd7;
    end
  end

  // ---- ring ------------------------------------------------------------------------------------
  // A power of two wraps by itself; the ring is rounded up to one where that takes no more memory, and LUT
  // memory to whole columns of 64, which read with fewer multiplexers than a mixture does.
  localparam int unsigned ADDR_W = DEPTH > 1 ? $clog2(DEPTH) : 1;
  localparam bit LUTS = STYLE == 1 || (STYLE == 0 && (DEPTH <= 64 || LANES * BITS * DEPTH < 8192));
  localparam int unsigned COLUMNS = (DEPTH + 63) / 64;
  localparam bit ROUND = STYLE != 3 && (LUTS ? COLUMNS == ((1 << ADDR_W) + 63) / 64 : ADDR_W <= 10);
  localparam int RING = (ROUND || DEPTH == 1) ? 1 << ADDR_W : LUTS ? int'(64 * COLUMNS) : DEPTH_I;
  typedef logic [ADDR_W-1:0] addr_t;
  addr_t wptr_q, rptr_q, rptr_d, rptr_next;

  if (RING == 1 << ADDR_W) begin : gen_power
    addr_t delta;
    always_comb begin
      unique case (level_q)
        3'd0:    delta = addr_t'(STEP0);
        3'd1:    delta = addr_t'(STEP1);
        3'd2:    delta = addr_t'(STEP2);
        3'd3:    delta = addr_t'(STEP3);
        3'd4:    delta = addr_t'(STEP4);
        3'd5:    delta = addr_t'(STEP5);
        3'd6:    delta = addr_t'(STEP6);
        default: delta = addr_t'(STEP7);
      endcase
    end
    assign rptr_next = rptr_q + delta;
  end else begin : gen_modulo
    // Up by delta, or by delta - RING if that stays in the ring; both sums at once.
    logic [ADDR_W:0] delta, low;
    addr_t           high;
    always_comb begin
      unique case (level_q)
        3'd0:    delta = (ADDR_W+1)'(modulo(STEP0, RING) - RING);
        3'd1:    delta = (ADDR_W+1)'(modulo(STEP1, RING) - RING);
        3'd2:    delta = (ADDR_W+1)'(modulo(STEP2, RING) - RING);
        3'd3:    delta = (ADDR_W+1)'(modulo(STEP3, RING) - RING);
        3'd4:    delta = (ADDR_W+1)'(modulo(STEP4, RING) - RING);
        3'd5:    delta = (ADDR_W+1)'(modulo(STEP5, RING) - RING);
        3'd6:    delta = (ADDR_W+1)'(modulo(STEP6, RING) - RING);
        default: delta = (ADDR_W+1)'(modulo(STEP7, RING) - RING);
      endcase
      unique case (level_q)
        3'd0:    high = addr_t'(modulo(STEP0, RING));
        3'd1:    high = addr_t'(modulo(STEP1, RING));
        3'd2:    high = addr_t'(modulo(STEP2, RING));
        3'd3:    high = addr_t'(modulo(STEP3, RING));
        3'd4:    high = addr_t'(modulo(STEP4, RING));
        3'd5:    high = addr_t'(modulo(STEP5, RING));
        3'd6:    high = addr_t'(modulo(STEP6, RING));
        default: high = addr_t'(modulo(STEP7, RING));
      endcase
    end
    assign low = {1'b0, rptr_q} + delta;
    assign rptr_next = low[ADDR_W] ? rptr_q + high : addr_t'(low);
  end
  assign rptr_d = pop ? rptr_next : rptr_q;

  always_ff @(posedge clk) begin
    if (!rst_n) begin
      wptr_q <= '0;
      rptr_q <= addr_t'(modulo(-ORIGIN, RING));
    end else begin
      rptr_q <= rptr_d;
      if (push) wptr_q <= (RING != 1 << ADDR_W && wptr_q == addr_t'(RING - 1)) ? '0 : wptr_q + 1'b1;
    end
  end

  logic [DATA_W-1:0] rdata;
  hwq_ram #(.DATA_W(DATA_W), .DEPTH(RING), .STYLE(STYLE)) u_ram (
    .clk, .we(push), .waddr(wptr_q), .wdata(s_axis_tdata), .raddr_d(rptr_d), .raddr_q(rptr_q), .rdata
  );
  assign m_axis_tdata = padding_q ? {LANES{BITS'(PAD_VALUE)}} : rdata;
endmodule
