// hwq_last: whether a loop of COUNT steps is in its last one.
//   Function    last = (number of advances so far modulo COUNT) == COUNT - 1. COUNT = 1 is a constant 1.
//   Latency     last changes the cycle after an advance.
//   Handshake   none; advance says that the loop steps.
//   Reset       the first step.
//   Short loops are a ring of registers with one bit set, which takes no LUT at all.
module hwq_last #(
  parameter int unsigned COUNT = 3
) (
  input  logic clk,
  input  logic rst_n,                       // synchronous, active low
  input  logic advance,
  output logic last
);
  if (COUNT < 1) begin : gen_bad_count
    $error("hwq_last: COUNT=%0d, must be at least 1", COUNT);
  end

  if (COUNT == 1) begin : gen_constant
    logic unused;
    assign last   = 1'b1;
    assign unused = &{1'b0, clk, rst_n, advance};
  end else if (COUNT <= 8) begin : gen_ring
    logic [COUNT-1:0] ring_q;
    assign last = ring_q[COUNT-1];
    always_ff @(posedge clk) begin
      if (!rst_n) ring_q <= COUNT'(1);
      else if (advance) ring_q <= {ring_q[COUNT-2:0], ring_q[COUNT-1]};
    end
  end else begin : gen_counter
    logic [$clog2(COUNT)-1:0] index;
    hwq_count #(.COUNT(COUNT)) u_index (.clk, .rst_n, .advance, .index);
    assign last = index == ($clog2(COUNT))'(COUNT - 1);
  end
endmodule
