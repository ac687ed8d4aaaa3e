// The indices of a tensor of Rank axes in stream order: axis 0 outermost, the last one innermost, wrapping at the end.
//
// Size holds 32 bits an axis, axis 0 in the lowest; so does index_o, Width bits an axis.
module qs_index #(
  parameter int unsigned        Rank  = 1,
  parameter logic [Rank*32-1:0] Size  = {Rank{32'd1}},
  parameter int unsigned        Width = 8   // bits of the largest index
) (
  input  logic                       clk_i,
  input  logic                       rst_ni,
  input  logic                       step_i,
  output logic [Rank-1:0][Width-1:0] index_o,
  output logic [Rank-1:0]            wrap_o   // axis k returns to 0 with this step
);
  for (genvar k = 0; k < Rank; k++) begin : gen_axis
    localparam int unsigned Last = Size[32*k+:32] - 1;
    localparam int unsigned Bits = Last > 0 ? $clog2(Last + 1) : 1;
    logic            inner;
    logic [Bits-1:0] at;
    if (k == Rank - 1) begin : gen_inner
      assign inner = step_i;
    end else begin : gen_outer
      assign inner = wrap_o[k+1];
    end
    assign wrap_o[k]  = inner && at == Bits'(Last);
    assign index_o[k] = Width'(at);
    always_ff @(posedge clk_i or negedge rst_ni) begin
      if (!rst_ni) at <= '0;
      else if (inner) at <= at == Bits'(Last) ? '0 : at + 1'b1;
    end
`ifndef SYNTHESIS
    initial begin
      if (Size[32*k+:32] == 0) $fatal(1, "%m: axis %0d has size 0", k);
      if (Bits > Width) $fatal(1, "%m: Width=%0d does not hold the index %0d of axis %0d", Width, Last, k);
    end
`endif
  end
endmodule
