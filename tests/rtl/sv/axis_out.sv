// qs_axis_out between plain streams: data in, {TLAST, TDATA} out.
module axis_out #(
  parameter int unsigned Width     = 12,
  parameter int unsigned DataWidth = 16,
  parameter int unsigned Beats     = 4
) (
  input  logic               clk_i,
  input  logic               rst_ni,
  input  logic               s_valid_i,
  output logic               s_ready_o,
  input  logic [Width-1:0]   s_data_i,
  output logic               m_valid_o,
  input  logic               m_ready_i,
  output logic [DataWidth:0] m_data_o
);
  qs_axis_out #(.Width(Width), .DataWidth(DataWidth), .Beats(Beats)) u_out (
    .clk_i, .rst_ni, .s_valid_i, .s_ready_o, .s_data_i, .m_axis_tvalid(m_valid_o), .m_axis_tready(m_ready_i),
    .m_axis_tdata(m_data_o[DataWidth-1:0]), .m_axis_tlast(m_data_o[DataWidth])
  );
endmodule
