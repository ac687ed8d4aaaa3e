// A pipeline of registers under qs_stages: what goes in comes out.
module small_stages #(
  parameter int unsigned Ranks = 4,
  parameter int unsigned Width = 8
) (
  input  logic             clk_i,
  input  logic             rst_ni,
  input  logic             s_valid_i,
  output logic             s_ready_o,
  input  logic [Width-1:0] s_data_i,
  output logic             m_valid_o,
  input  logic             m_ready_i,
  output logic [Width-1:0] m_data_o
);
  logic                      en;
  logic [Ranks:0][Width-1:0] value;
  assign value[0] = s_data_i;
  assign m_data_o = value[Ranks];
  qs_stages #(.Ranks(Ranks)) u_stages (.clk_i, .rst_ni, .s_valid_i, .s_ready_o, .m_valid_o, .m_ready_i, .en_o(en));
  always_ff @(posedge clk_i) begin
    if (en) value[Ranks:1] <= value[Ranks-1:0];
  end
endmodule
