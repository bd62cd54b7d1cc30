// hwq_assert: assertion macros for simulation; nothing of them reaches synthesis.
//   HWQ_ASSERT(name, expr)         expr holds at every rising clock edge outside reset
//   HWQ_HOLDS(name, cond, value)   when cond held at one edge, value is the same at the next
// Both use clk and rst_n of the module they stand in.
`ifndef HWQ_ASSERT_SVH
`define HWQ_ASSERT_SVH

`ifdef SYNTHESIS
`define HWQ_ASSERT(name, expr)
`define HWQ_HOLDS(name, cond, value)
`else
`define HWQ_ASSERT(name, expr) \
  name: assert property (@(posedge clk) disable iff (!rst_n) (expr)) \
    else $error("broken");
`define HWQ_HOLDS(name, cond, value) \
  name: assert property (@(posedge clk) disable iff (!rst_n) (cond) |=> $stable(value)) \
    else $error("broken");
`endif

`endif
