// Plain stream to AXI4-Stream: TDATA is filled with zeros to whole bytes, TLAST stands at every Beats-th beat, the frame's last.
module qs_axis_out #(
  parameter int unsigned Width     = 12,   // bits of a beat that count
  parameter int unsigned DataWidth = 16,   // of TDATA
  parameter int unsigned Beats     = 4     // of a frame
) (
  input  logic                 clk_i,
  input  logic                 rst_ni,
  input  logic                 s_valid_i,
  output logic                 s_ready_o,
  input  logic [Width-1:0]     s_data_i,
  output logic                 m_axis_tvalid,
  input  logic                 m_axis_tready,
  output logic [DataWidth-1:0] m_axis_tdata,
  output logic                 m_axis_tlast
);
  localparam int unsigned CountWidth = Beats > 1 ? $clog2(Beats) : 1;
  logic [CountWidth-1:0] count;

  assign m_axis_tvalid = s_valid_i;
  assign s_ready_o     = m_axis_tready;
  assign m_axis_tdata  = DataWidth'(s_data_i);
  assign m_axis_tlast  = count == CountWidth'(Beats - 1);

  always_ff @(posedge clk_i or negedge rst_ni) begin
    if (!rst_ni) count <= '0;
    else if (s_valid_i && m_axis_tready) count <= m_axis_tlast ? '0 : count + CountWidth'(1);
  end

`ifndef SYNTHESIS
  initial begin
    if (Width == 0 || DataWidth < Width || Beats == 0) $fatal(1, "%m: Width=%0d DataWidth=%0d Beats=%0d", Width, DataWidth, Beats);
  end
`endif
endmodule
