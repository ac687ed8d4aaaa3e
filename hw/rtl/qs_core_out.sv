// Beats of In elements, of which the first few count (mask), to a stream of one element a beat.
module qs_core_out #(
  parameter int unsigned In        = 2,
  parameter int unsigned Width     = 8
) (
  input  logic                   clk_i,
  input  logic                   rst_ni,
  input  logic                   s_valid_i,
  output logic                   s_ready_o,
  input  logic [In+In*Width-1:0] s_data_i, // {mask, elements}
  output logic                   m_valid_o,
  input  logic                   m_ready_i,
  output logic [Width-1:0]       m_data_o
);
  logic [In-1:0]       mask;
  logic [In*Width-1:0] data;
  assign m_valid_o = mask[0];
  assign m_data_o  = data[Width-1:0];
  assign s_ready_o = mask == '0 || m_ready_i && (mask >> 1) == '0;

  always_ff @(posedge clk_i or negedge rst_ni) begin
    if (!rst_ni) mask <= '0;
    else if (s_ready_o) mask <= s_valid_i ? s_data_i[In*Width+:In] : '0;
    else if (m_ready_i) mask <= mask >> 1;
  end
  always_ff @(posedge clk_i) begin
    if (s_ready_o) data <= s_data_i[In*Width-1:0];
    else if (m_ready_i) data <= data >> Width;
  end
endmodule
