// qs_lm_unpack between streams: a beat in, {error, minus, on} out.
module lm_unpack #(
  parameter int unsigned Trits     = 5,
  parameter int unsigned Encoding  = 0,
  parameter int unsigned BeatWidth = Encoding == 1 ? 2 * Trits : Trits / 5 * 8
) (
  input  logic                 clk_i,
  input  logic                 rst_ni,
  input  logic                 s_valid_i,
  output logic                 s_ready_o,
  input  logic [BeatWidth-1:0] s_data_i,
  output logic                 m_valid_o,
  input  logic                 m_ready_i,
  output logic [2*Trits:0]     m_data_o
);
  logic unused;
  assign unused    = clk_i ^ rst_ni;
  assign m_valid_o = s_valid_i;
  assign s_ready_o = m_ready_i;
  qs_lm_unpack #(.Trits(Trits), .Encoding(Encoding)) u_unpack (
    .beat_i(s_data_i), .on_o(m_data_o[Trits-1:0]), .minus_o(m_data_o[Trits+:Trits]), .error_o(m_data_o[2*Trits]));
endmodule
