// qs_clip as a stream.
module small_clip #(
  parameter int unsigned InWidth  = 12,
  parameter int unsigned OutWidth = 8,
  parameter bit          Signed   = 1,
  parameter bit          Lut6     = 0
) (
  input  logic                s_valid_i,
  output logic                s_ready_o,
  input  logic [InWidth-1:0]  s_data_i,
  output logic                m_valid_o,
  input  logic                m_ready_i,
  output logic [OutWidth-1:0] m_data_o
);
  assign m_valid_o = s_valid_i;
  assign s_ready_o = m_ready_i;
  qs_clip #(.InWidth(InWidth), .OutWidth(OutWidth), .Signed(Signed), .Lut6(Lut6)) u_clip (.x_i(s_data_i), .y_o(m_data_o));
endmodule
