// qs_index as a stream: {step} in, {wraps, indices} out.
module small_index #(
  parameter int unsigned        Rank  = 1,
  parameter logic [Rank*32-1:0] Size  = {Rank{32'd1}},
  parameter int unsigned        Width = 8
) (
  input  logic                      clk_i,
  input  logic                      rst_ni,
  input  logic                      s_valid_i,
  output logic                      s_ready_o,
  input  logic                      s_data_i,
  output logic                      m_valid_o,
  input  logic                      m_ready_i,
  output logic [Rank*(Width+1)-1:0] m_data_o
);
  logic                       fire;
  logic [Rank-1:0][Width-1:0] index;
  logic [Rank-1:0]            wrap;
  assign s_ready_o = !m_valid_o || m_ready_i;
  assign fire      = s_valid_i && s_ready_o;
  qs_index #(.Rank(Rank), .Size(Size), .Width(Width)) u_index (.clk_i, .rst_ni, .step_i(fire && s_data_i), .index_o(index), .wrap_o(wrap));
  always_ff @(posedge clk_i or negedge rst_ni) begin
    if (!rst_ni) m_valid_o <= 1'b0;
    else if (s_ready_o) m_valid_o <= fire;
  end
  always_ff @(posedge clk_i) begin
    if (fire) m_data_o <= {wrap, index};
  end
endmodule
