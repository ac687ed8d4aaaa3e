// y = x in another width, lane by lane: extended by its sign or by zeros, or cut where the value is known to fit.
//
// Wiring only.  It brings the streams of a concat, or a stream and the padding value, to one element width.
module qs_resize #(
  parameter int unsigned Lanes    = 1,
  parameter int unsigned InWidth  = 8,
  parameter bit          InSigned = 1,
  parameter int unsigned OutWidth = 9
) (
  input  logic                      s_valid_i,
  output logic                      s_ready_o,
  input  logic [Lanes*InWidth-1:0]  s_data_i,
  output logic                      m_valid_o,
  input  logic                      m_ready_i,
  output logic [Lanes*OutWidth-1:0] m_data_o
);
  assign m_valid_o = s_valid_i;
  assign s_ready_o = m_ready_i;

  for (genvar l = 0; l < Lanes; l++) begin : gen_lane
    logic [InWidth-1:0] x;
    assign x = s_data_i[l*InWidth+:InWidth];
    assign m_data_o[l*OutWidth+:OutWidth] = OutWidth'(signed'({InSigned & x[InWidth-1], x}));
  end

`ifndef SYNTHESIS
  initial begin
    if (Lanes == 0 || InWidth == 0 || OutWidth == 0) $fatal(1, "%m: Lanes and widths are at least 1");
  end
`endif
endmodule
