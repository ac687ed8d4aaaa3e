// y = table[x], lane by lane.  Meaning: ir/interpret.py, Lut.
//
// TableFile has 2**InWidth lines of OutWidth bits; line k holds y for the x whose two's-complement (or unsigned) code is
// k, so that no base is subtracted here.  Every lane has its own copy, read into the output register (block RAM or LUTs).
module qs_lut #(
  parameter int unsigned Lanes     = 1,
  parameter int unsigned InWidth   = 8,
  parameter int unsigned OutWidth  = 8,
  parameter              TableFile = ""
) (
  input  logic                      clk_i,
  input  logic                      rst_ni,
  input  logic                      s_valid_i,
  output logic                      s_ready_o,
  input  logic [Lanes*InWidth-1:0]  s_data_i,
  output logic                      m_valid_o,
  input  logic                      m_ready_i,
  output logic [Lanes*OutWidth-1:0] m_data_o
);
`ifndef SYNTHESIS
  initial begin
    if (Lanes == 0 || InWidth == 0 || OutWidth == 0) $fatal(1, "%m: Lanes and widths are at least 1");
    if (InWidth > 16) $fatal(1, "%m: a table of 2**%0d entries is too large", InWidth);
  end
`endif

  logic advance;
  assign advance   = !m_valid_o || m_ready_i;
  assign s_ready_o = advance;

  always_ff @(posedge clk_i or negedge rst_ni) begin
    if (!rst_ni) m_valid_o <= 1'b0;
    else if (advance) m_valid_o <= s_valid_i;
  end

  for (genvar l = 0; l < Lanes; l++) begin : gen_lane
    logic [OutWidth-1:0] entries [2**InWidth];
    initial $readmemh(TableFile, entries);
    always_ff @(posedge clk_i) begin
      if (advance) m_data_o[l*OutWidth+:OutWidth] <= entries[s_data_i[l*InWidth+:InWidth]];
    end
  end
endmodule
