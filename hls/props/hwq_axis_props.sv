// hwq_axis_props: the handshake law of one stream, bound to every stream port in simulation.
//   Rules       TVALID once high stays high, and TDATA (with TLAST) holds, until TREADY takes the beat.
//   Reset       nothing is checked while rst_n is low; TVALID is low in the first cycle after reset
//               only if the driver resets it, which every hwq module does for its outputs.
`include "hwq_assert.svh"

module hwq_axis_props #(
  parameter int unsigned DATA_W = 8
) (
  input logic              clk,
  input logic              rst_n,
  input logic [DATA_W-1:0] tdata,
  input logic              tvalid,
  input logic              tready
);

  `HWQ_ASSERT(valid_holds, $past(!rst_n || !tvalid || tready) || tvalid)
  `HWQ_HOLDS(data_holds, tvalid && !tready, tdata)

endmodule
