// qs_delay as a stream: the first Depth beats go in, then one comes out for each that goes in.
module small_delay #(
  parameter int unsigned Width = 8,
  parameter int unsigned Depth = 4
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
  logic [31:0] count;
  logic        full, fire;
  assign full      = count >= Depth;
  assign m_valid_o = full && s_valid_i;
  assign s_ready_o = !full || m_ready_i;
  assign fire      = s_valid_i && s_ready_o;
  qs_delay #(.Width(Width), .Depth(Depth)) u_delay (.clk_i, .rst_ni, .step_i(fire), .d_i(s_data_i), .q_o(m_data_o));
  always_ff @(posedge clk_i or negedge rst_ni) begin
    if (!rst_ni) count <= '0;
    else if (fire) count <= count + 32'd1;
  end
endmodule
