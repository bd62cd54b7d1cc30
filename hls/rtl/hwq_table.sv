// hwq_table: table look-up per channel.
//   Function    y = entries[channel][x - BASE], BASE <= x < BASE + ENTRIES. channel = cf * PE + lane;
//               cf counts the beats of a frame.
//   Memory      INIT_FILE, row cf * 2^K + a with K = clog2(ENTRIES): the entry whose x has a in its
//               low K bits (so no subtraction of BASE is needed); lane p at bit p * Y_W.
//   Latency     PIPE cycles, 1 beat per cycle. Class pipe(PIPE); stage 1 is the read.
//   Handshake   s_axis_tready is combinational in m_axis_tready; m_axis_tvalid is early.
//   Reset       valid bits and the beat counter.
module hwq_table #(
  parameter int unsigned PE        = 1,
  parameter int unsigned CF        = 1,
  parameter int unsigned X_W       = 8,
  parameter bit          X_SIGNED  = 1'b1,
  parameter int          BASE      = -128,
  parameter int unsigned ENTRIES   = 256,
  parameter int unsigned Y_W       = 8,
  parameter int unsigned STYLE     = 0,     // as hwq_rom
  parameter int unsigned PIPE      = 1,
  parameter string       INIT_FILE = "table.hex"
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
  localparam int unsigned K       = $clog2(ENTRIES);
  localparam int unsigned DEPTH   = CF << K;
  localparam int unsigned ADDR_W  = DEPTH > 1 ? $clog2(DEPTH) : 1;
  localparam int unsigned INDEX_W = CF > 1 ? $clog2(CF) : 1;

  if (ENTRIES < 1 || K > X_W) begin : gen_bad_entries
    $error("hwq_table: ENTRIES=%0d, must be 1 .. 2^X_W with X_W=%0d", ENTRIES, X_W);
  end
  if (PIPE < 1) begin : gen_bad_pipe
    $error("hwq_table: PIPE=%0d, must be at least 1", PIPE);
  end

  logic [PIPE-1:0]        en;
  logic [INDEX_W-1:0]     cf;
  logic [PE-1:0][X_W-1:0] x;
  logic [PE-1:0][Y_W-1:0] y_q;

  hwq_pipe #(.STAGES(PIPE)) u_pipe (
    .clk, .rst_n, .s_valid(s_axis_tvalid), .s_ready(s_axis_tready),
    .m_valid(m_axis_tvalid), .m_ready(m_axis_tready), .en
  );
  hwq_count #(.COUNT(CF)) u_cf (
    .clk, .rst_n, .advance(s_axis_tvalid && s_axis_tready), .index(cf)
  );

  assign x = s_axis_tdata;
  for (genvar p = 0; p < PE; p++) begin : gen_lane
    logic [ADDR_W-1:0]      addr;
    logic [PE-1:0][Y_W-1:0] row;
    logic                   unused;
    assign addr   = ADDR_W'((32'(cf) << K) | (32'(x[p]) & ((32'd1 << K) - 32'd1)));
    assign y_q[p] = row[p];
    assign unused = &{1'b0, row, x[p]};
    hwq_rom #(.DATA_W(PE * Y_W), .DEPTH(DEPTH), .STYLE(STYLE), .INIT_FILE(INIT_FILE)) u_rom (
      .clk, .en(en[0]), .addr, .data(row)
    );
  end

  if (PIPE > 1) begin : gen_out
    hwq_delay #(.DATA_W(PE * Y_W), .STAGES(PIPE - 1)) u_out (
      .clk, .en(en[PIPE-1:(PIPE > 1 ? 1 : 0)]), .d(y_q), .q(m_axis_tdata)
    );
  end else begin : gen_direct
    assign m_axis_tdata = y_q;
  end

  logic unused_params;
  assign unused_params = X_SIGNED && BASE == 0;   // they shape the memory file only
endmodule
