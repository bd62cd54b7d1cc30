// hwq_count: position in a sequence of COUNT, 0 .. COUNT - 1 and over again.
//   Function    index = number of advances so far modulo COUNT. COUNT = 1 is a constant 0.
//   Latency     index changes the cycle after an advance.
//   Handshake   none; advance says that a beat moves.
//   Reset       index = 0.
//   The increment is spelt without an adder: Yosys maps a ROM whose address comes out of a carry
//   chain two to four times too big.
module hwq_count #(
  parameter int unsigned COUNT   = 4,
  localparam int unsigned INDEX_W = COUNT > 1 ? $clog2(COUNT) : 1
) (
  input  logic               clk,
  input  logic               rst_n,         // synchronous, active low
  input  logic               advance,
  output logic [INDEX_W-1:0] index
);
  if (COUNT < 1) begin : gen_bad_count
    $error("hwq_count: COUNT=%0d, must be at least 1", COUNT);
  end

  if (COUNT > 1) begin : gen_counter
    logic               wrap;
    logic [INDEX_W-1:0] next;
    always_comb begin
      next[0] = !index[0];
      for (int i = 1; i < INDEX_W; i++) next[i] = index[i] ^ (&(index | ({INDEX_W{1'b1}} << i)));
    end
    // A power of two wraps by itself.
    assign wrap = (1 << INDEX_W) != COUNT && index == INDEX_W'(COUNT - 1);
    always_ff @(posedge clk) begin
      if (!rst_n) index <= '0;
      else if (advance) index <= wrap ? '0 : next;
    end
  end else begin : gen_constant
    logic unused;
    assign index  = '0;
    assign unused = &{1'b0, clk, rst_n, advance};
  end
endmodule
