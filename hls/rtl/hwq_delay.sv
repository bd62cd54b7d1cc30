// hwq_delay: a line of STAGES registers, each with its own enable; STAGES = 0 is a wire.
//   Function    q = d after STAGES loads; register i loads when en[i] = 1.
//   Latency     STAGES cycles while all enables are high.
//   Reset       none: a caller's valid bits say what is meaningful.
module hwq_delay #(
  parameter int unsigned DATA_W = 8,
  parameter int unsigned STAGES = 1,
  localparam int unsigned EN_W  = STAGES > 0 ? STAGES : 1
) (
  input  logic              clk,
  input  logic [EN_W-1:0]   en,
  input  logic [DATA_W-1:0] d,
  output logic [DATA_W-1:0] q
);
  if (DATA_W < 1) begin : gen_bad_width
    $error("hwq_delay: DATA_W=%0d, must be at least 1", DATA_W);
  end

  if (STAGES == 0) begin : gen_wire
    logic unused;
    assign q      = d;
    assign unused = &{1'b0, clk, en};
  end else begin : gen_line
    logic [STAGES-1:0][DATA_W-1:0] line_q;
    always_ff @(posedge clk) begin
      for (int unsigned i = 0; i < STAGES; i++) begin
        if (en[i]) line_q[i] <= (i == 0) ? d : line_q[i == 0 ? 0 : i-1];
      end
    end
    assign q = line_q[STAGES-1];
  end
endmodule
