// One-place register slice: cuts the combinational path of valid and data, and of ready, at full throughput.
//
// The second register (`spare`) takes the beat that is already on its way when the reader stops.
module qs_skid #(
  parameter int unsigned DataWidth = 8
) (
  input  logic                 clk_i,
  input  logic                 rst_ni,
  input  logic                 s_valid_i,
  output logic                 s_ready_o,
  input  logic [DataWidth-1:0] s_data_i,
  output logic                 m_valid_o,
  input  logic                 m_ready_i,
  output logic [DataWidth-1:0] m_data_o
);
  logic                 spare_valid;
  logic [DataWidth-1:0] spare;
  logic                 stuck;

  assign s_ready_o = !spare_valid;
  assign stuck     = m_valid_o && !m_ready_i;

  always_ff @(posedge clk_i or negedge rst_ni) begin
    if (!rst_ni) begin
      m_valid_o   <= 1'b0;
      spare_valid <= 1'b0;
    end else if (stuck) begin
      spare_valid <= spare_valid || s_valid_i;
    end else begin
      m_valid_o   <= spare_valid || s_valid_i;
      spare_valid <= 1'b0;
    end
  end

  always_ff @(posedge clk_i) begin
    if (!stuck) m_data_o <= spare_valid ? spare : s_data_i;
    if (!spare_valid) spare <= s_data_i;
  end

`ifndef SYNTHESIS
  initial begin
    if (DataWidth == 0) $fatal(1, "%m: DataWidth is at least 1");
  end
`endif
endmodule
