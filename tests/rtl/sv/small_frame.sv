// qs_frame as streams: beats of frames in, {done, address} in, what stands there out.
module small_frame #(
  parameter int unsigned Width     = 8,
  parameter int unsigned Beats     = 4,
  parameter int unsigned AddrWidth = 2
) (
  input  logic               clk_i,
  input  logic               rst_ni,
  input  logic               s_valid_i,
  output logic               s_ready_o,
  input  logic [Width-1:0]   s_data_i,
  input  logic               a_valid_i,
  output logic               a_ready_o,
  input  logic [AddrWidth:0] a_data_i,
  output logic               m_valid_o,
  input  logic               m_ready_i,
  output logic [Width-1:0]   m_data_o
);
  logic have, read;
  assign a_ready_o = have && (!m_valid_o || m_ready_i);
  assign read      = a_valid_i && a_ready_o;
  qs_frame #(.Width(Width), .Beats(Beats), .AddrWidth(AddrWidth)) u_frame (
    .clk_i, .rst_ni, .s_valid_i, .s_ready_o, .s_data_i, .have_o(have), .read_i(read), .addr_i(a_data_i[AddrWidth-1:0]),
    .done_i(read && a_data_i[AddrWidth]), .data_o(m_data_o)
  );
  always_ff @(posedge clk_i or negedge rst_ni) begin
    if (!rst_ni) m_valid_o <= 1'b0;
    else if (!m_valid_o || m_ready_i) m_valid_o <= read;
  end
endmodule
