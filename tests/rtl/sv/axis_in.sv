// qs_axis_in between plain streams: beats {clear, TLAST, TDATA} in, {error, data} out.
module axis_in #(
  parameter int unsigned Width     = 12,
  parameter int unsigned DataWidth = 16,
  parameter int unsigned Beats     = 4,
  parameter bit          CheckLast = 1'b1
) (
  input  logic                 clk_i,
  input  logic                 rst_ni,
  input  logic                 s_valid_i,
  output logic                 s_ready_o,
  input  logic [DataWidth+1:0] s_data_i,
  output logic                 m_valid_o,
  input  logic                 m_ready_i,
  output logic [Width:0]       m_data_o
);
  qs_axis_in #(.Width(Width), .DataWidth(DataWidth), .Beats(Beats), .CheckLast(CheckLast)) u_in (
    .clk_i, .rst_ni, .s_axis_tvalid(s_valid_i), .s_axis_tready(s_ready_o), .s_axis_tdata(s_data_i[DataWidth-1:0]),
    .s_axis_tlast(s_data_i[DataWidth]), .m_valid_o, .m_ready_i, .m_data_o(m_data_o[Width-1:0]),
    .clear_i(s_valid_i && s_ready_o && s_data_i[DataWidth+1]), .error_o(m_data_o[Width])
  );
endmodule
