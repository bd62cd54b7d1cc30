// hwq_requant: integer requantizer.
//   Function    y = clip((m * x + b) >>> SHIFT, Y_LO, Y_HI), the low Y_W bits, m and b per channel.
//   Memory      MB_FILE as hwq_scale.
//   Latency     PIPE cycles (at least 2: hwq_scale takes PIPE - 1, the clipping the last).
//               1 beat per cycle. Class pipe(PIPE).
//   Handshake   s_axis_tready is combinational in m_axis_tready; m_axis_tvalid is early.
//   Reset       valid bits and the beat counter.
module hwq_requant #(
  parameter int unsigned PE       = 1,
  parameter int unsigned CF       = 1,
  parameter int unsigned X_W      = 8,
  parameter bit          X_SIGNED = 1'b1,
  parameter int unsigned M_W      = 4,
  parameter int unsigned SHIFT    = 4,
  parameter int unsigned B_W      = 8,
  parameter int unsigned Y_W      = 4,
  parameter int          Y_LO     = 0,
  parameter int          Y_HI     = 15,
  parameter int unsigned PIPE     = 2,
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
  localparam int unsigned PRODUCT_W = X_W + (X_SIGNED ? 0 : 1) + M_W;
  localparam int unsigned ACC_W     = (PRODUCT_W > B_W ? PRODUCT_W : B_W) + 1;
  localparam int unsigned RAW_W     = ACC_W > SHIFT ? ACC_W - SHIFT : 1;
  localparam int unsigned V_W       = RAW_W > Y_W + 1 ? RAW_W : Y_W + 1;

  if (PIPE < 2) begin : gen_bad_pipe
    $error("hwq_requant: PIPE=%0d, must be at least 2", PIPE);
  end
  if (Y_LO > Y_HI) begin : gen_bad_range
    $error("hwq_requant: Y_LO=%0d is above Y_HI=%0d", Y_LO, Y_HI);
  end

  typedef logic [V_W-1:0] v_t;

  // v >= t in two's complement, t a constant: bitwise, so that it becomes LUTs and no carry chain.
  function automatic logic ge(input v_t v, input v_t t);
    logic c;
    c = 1'b1;
    for (int unsigned i = 0; i < V_W - 1; i++) c = (v[i] && !t[i]) || ((v[i] || !t[i]) && c);
    return (!v[V_W-1] && t[V_W-1]) || ((!v[V_W-1] || t[V_W-1]) && c);
  endfunction

  logic [PE-1:0][ACC_W-1:0] acc;
  logic [PE-1:0][Y_W-1:0]   y;
  logic acc_valid, acc_ready, en;

  hwq_scale #(
    .PE(PE), .CF(CF), .X_W(X_W), .X_SIGNED(X_SIGNED), .M_W(M_W), .B_W(B_W), .Y_W(ACC_W),
    .PIPE(PIPE - 1), .RESOURCE(RESOURCE), .MB_FILE(MB_FILE)
  ) u_scale (
    .clk, .rst_n, .s_axis_tdata, .s_axis_tvalid, .s_axis_tready,
    .m_axis_tdata(acc), .m_axis_tvalid(acc_valid), .m_axis_tready(acc_ready)
  );
  hwq_pipe #(.STAGES(1)) u_pipe (
    .clk, .rst_n, .s_valid(acc_valid), .s_ready(acc_ready),
    .m_valid(m_axis_tvalid), .m_ready(m_axis_tready), .en
  );

  for (genvar p = 0; p < PE; p++) begin : gen_clip
    v_t   v;
    logic unused;
    assign v      = v_t'($signed(acc[p][ACC_W-1 -: RAW_W]));
    assign y[p]   = !ge(v, v_t'(Y_LO)) ? Y_W'(Y_LO) : ge(v, v_t'(Y_HI + 1)) ? Y_W'(Y_HI) : v[Y_W-1:0];
    assign unused = ^acc[p];
  end
  hwq_delay #(.DATA_W(PE * Y_W), .STAGES(1)) u_out (
    .clk, .en, .d(y), .q(m_axis_tdata)
  );
endmodule
