// qs_add3 as a stream: {c, b, a} in, the sum out.
module small_add3 #(
  parameter int unsigned    Width = 8,
  parameter bit [Width-1:0] MaskA = '1,
  parameter bit [Width-1:0] MaskB = '1,
  parameter bit [Width-1:0] MaskC = '0,
  parameter bit [Width-1:0] FlipA = '0,
  parameter bit [Width-1:0] FlipB = '0,
  parameter bit [Width-1:0] FlipC = '0
) (
  input  logic               s_valid_i,
  output logic               s_ready_o,
  input  logic [3*Width-1:0] s_data_i,
  output logic               m_valid_o,
  input  logic               m_ready_i,
  output logic [Width-1:0]   m_data_o
);
  assign m_valid_o = s_valid_i;
  assign s_ready_o = m_ready_i;
  qs_add3 #(.Width(Width), .MaskA(MaskA), .MaskB(MaskB), .MaskC(MaskC), .FlipA(FlipA), .FlipB(FlipB), .FlipC(FlipC)) u_add (
    .a_i(s_data_i[Width-1:0]), .b_i(s_data_i[2*Width-1:Width]), .c_i(s_data_i[3*Width-1:2*Width]), .sum_o(m_data_o)
  );
endmodule
