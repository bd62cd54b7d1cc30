// hwq_pipe: the control of STAGES elastic register stages; the data registers are the caller's.
//   Function    stage i holds a beat while its valid bit is set and loads when en[i] = 1, which is
//               when it is empty or is being emptied. en[0] alone is s_ready.
//   Latency     STAGES cycles, 1 beat per cycle. Class pipe(STAGES). STAGES = 0 is wires.
//   Handshake   s_ready is combinational in m_ready through all stages; m_valid is early.
//   Reset       clears the valid bits.
module hwq_pipe #(
  parameter int unsigned STAGES = 2,
  localparam int unsigned EN_W  = STAGES > 0 ? STAGES : 1
) (
  input  logic            clk,
  input  logic            rst_n,            // synchronous, active low
  input  logic            s_valid,
  output logic            s_ready,
  output logic            m_valid,
  input  logic            m_ready,
  output logic [EN_W-1:0] en
);
  if (STAGES == 0) begin : gen_wire
    logic unused;
    assign s_ready = m_ready;
    assign m_valid = s_valid;
    assign en      = m_ready;
    assign unused  = &{1'b0, clk, rst_n};
  end else begin : gen_stages
    logic [STAGES-1:0] valid_q, valid_d;

    assign s_ready = en[0];
    assign m_valid = valid_q[STAGES-1];
    assign valid_d = STAGES'({valid_q, s_valid});
    for (genvar i = 0; i < STAGES; i++) begin : gen_stage
      // Emptied when the output moves or some stage from here on is empty.
      assign en[i] = m_ready || !(&valid_q[STAGES-1:i]);
      always_ff @(posedge clk) begin
        if (!rst_n) valid_q[i] <= 1'b0;
        else if (en[i]) valid_q[i] <= valid_d[i];
      end
    end
  end
endmodule
