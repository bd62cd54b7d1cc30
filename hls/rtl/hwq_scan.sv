// hwq_scan: position on one axis of an image that windows slide over.
//   Function    index = number of advances so far modulo SIZE; in_image = index < REAL;
//               hit = index is one of FIRST + i*STRIDE, i < COUNT; last = index == SIZE - 1.
//   Latency     all change the cycle after an advance.
//   Handshake   none; advance says that the scan steps.
//   Reset       index = 0.
module hwq_scan #(
  parameter int unsigned SIZE   = 9,
  parameter int unsigned REAL   = 8,
  parameter int unsigned FIRST  = 1,
  parameter int unsigned STRIDE = 2,
  parameter int unsigned COUNT  = 4
) (
  input  logic clk,
  input  logic rst_n,                       // synchronous, active low
  input  logic advance,
  output logic in_image,
  output logic hit,
  output logic last
);
  localparam int unsigned INDEX_W = SIZE > 1 ? $clog2(SIZE) : 1;
  localparam int unsigned END     = FIRST + (COUNT - 1) * STRIDE;

  if (SIZE < 1 || REAL < 1 || REAL > SIZE || STRIDE < 1 || COUNT < 1 || END >= SIZE) begin : gen_bad_size
    $error("hwq_scan: SIZE=%0d, REAL=%0d, FIRST=%0d, STRIDE=%0d, COUNT=%0d do not fit together",
           SIZE, REAL, FIRST, STRIDE, COUNT);
  end

  logic [INDEX_W-1:0] index;
  logic               in_phase;
  hwq_count #(.COUNT(SIZE)) u_index (.clk, .rst_n, .advance, .index);

  assign last     = int'(index) == int'(SIZE - 1);
  assign in_image = int'(index) < int'(REAL);
  assign hit      = in_phase && int'(index) >= int'(FIRST) && int'(index) <= int'(END);

  if (STRIDE > 1 && COUNT > 1) begin : gen_phase
    // Steps since the last place of the grid; the grid passes through FIRST.
    localparam int unsigned PHASE_W = $clog2(STRIDE);
    localparam int unsigned START   = (STRIDE - FIRST % STRIDE) % STRIDE;
    logic [PHASE_W-1:0] phase_q;
    assign in_phase = phase_q == '0;
    always_ff @(posedge clk) begin
      if (!rst_n) phase_q <= PHASE_W'(START);
      else if (advance) begin
        if (last) phase_q <= PHASE_W'(START);
        else phase_q <= phase_q == PHASE_W'(STRIDE - 1) ? '0 : phase_q + 1'b1;
      end
    end
  end else begin : gen_every
    assign in_phase = 1'b1;
  end
endmodule
