// The same Beats beats again and again, as fast as they are taken.  Meaning: ir/interpret.py, Constant.
//
// ValueFile has Beats lines, a beat each (lane 0 in the lowest bits).  The memory is read into the output register.
module qs_constant #(
  parameter int unsigned Width     = 8,  // of a beat
  parameter int unsigned Beats     = 4,
  parameter              ValueFile = ""
) (
  input  logic             clk_i,
  input  logic             rst_ni,
  output logic             m_valid_o,
  input  logic             m_ready_i,
  output logic [Width-1:0] m_data_o
);
  localparam int unsigned AddrWidth = Beats > 1 ? $clog2(Beats) : 1;

  logic [Width-1:0] values [Beats];
  initial $readmemh(ValueFile, values);

  logic                 advance;
  logic [AddrWidth-1:0] addr;
  assign advance = !m_valid_o || m_ready_i;

  always_ff @(posedge clk_i or negedge rst_ni) begin
    if (!rst_ni) begin
      m_valid_o <= 1'b0;
      addr      <= '0;
    end else if (advance) begin
      m_valid_o <= 1'b1;
      addr      <= addr == AddrWidth'(Beats - 1) ? '0 : addr + 1'b1;
    end
  end

  always_ff @(posedge clk_i) begin
    if (advance) m_data_o <= values[addr];
  end

`ifndef SYNTHESIS
  initial begin
    if (Width == 0 || Beats == 0) $fatal(1, "%m: Width and Beats are at least 1");
  end
`endif
endmodule
