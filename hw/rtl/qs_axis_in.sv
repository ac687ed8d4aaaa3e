// AXI4-Stream to a plain stream: the padding of TDATA to whole bytes is dropped, TLAST is not needed (frames are counted).
module qs_axis_in #(
  parameter int unsigned Width     = 12,   // bits of a beat that count
  parameter int unsigned DataWidth = 16    // of TDATA
) (
  input  logic                 s_axis_tvalid,
  output logic                 s_axis_tready,
  input  logic [DataWidth-1:0] s_axis_tdata,
  input  logic                 s_axis_tlast,
  output logic                 m_valid_o,
  input  logic                 m_ready_i,
  output logic [Width-1:0]     m_data_o
);
  logic unused;
  assign unused        = ^{s_axis_tlast, s_axis_tdata};
  assign m_valid_o     = s_axis_tvalid;
  assign s_axis_tready = m_ready_i;
  assign m_data_o      = s_axis_tdata[Width-1:0];
endmodule
