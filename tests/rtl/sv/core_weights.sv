// qs_core_weights as a stream: an address in, weights out; its memory is written first, word by word, through the stream f.
module core_weights #(
  parameter int unsigned Pe        = 2,
  parameter int unsigned Simd      = 4,
  parameter int unsigned Width     = 8,
  parameter int unsigned Halvings  = 1,
  parameter int unsigned Words     = 4,
  parameter int unsigned AddrWidth = 5,
  parameter int unsigned WordBits  = 64,
  parameter int unsigned WordAddr  = 2
) (
  input  logic                         clk_i,
  input  logic                         rst_ni,
  input  logic                         f_valid_i,
  output logic                         f_ready_o,
  input  logic [WordAddr+WordBits-1:0] f_data_i,
  input  logic                         s_valid_i,
  output logic                         s_ready_o,
  input  logic [AddrWidth+2:0]         s_data_i,   // {one row, format, address}
  output logic                         m_valid_o,
  input  logic                         m_ready_i,
  output logic [WordBits-1:0]          m_data_o
);
  logic       filled, go, one_row;
  logic [1:0] form;
  assign go        = !m_valid_o || m_ready_i;
  assign f_ready_o = 1'b1;
  assign s_ready_o = go && filled;
  always_ff @(posedge clk_i or negedge rst_ni) begin
    if (!rst_ni) begin
      filled    <= 1'b0;
      m_valid_o <= 1'b0;
    end else begin
      if (f_valid_i && f_data_i[WordBits+:WordAddr] == WordAddr'(Words - 1)) filled <= 1'b1;
      if (go) m_valid_o <= s_valid_i && filled;
    end
  end
  always_ff @(posedge clk_i) if (go) {one_row, form} <= s_data_i[AddrWidth+:3];
  qs_core_weights #(.Pe(Pe), .Simd(Simd), .Width(Width), .Halvings(Halvings), .Words(Words), .AddrWidth(AddrWidth)) u_weights (
    .clk_i, .read_i(go), .addr_i(s_data_i[AddrWidth-1:0]), .format_i(form), .one_row_i(one_row), .w_o(m_data_o),
    .write_i(f_valid_i), .waddr_i(f_data_i[WordBits+:WordAddr]), .wdata_i(f_data_i[WordBits-1:0])
  );
endmodule
