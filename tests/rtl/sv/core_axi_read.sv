// qs_axi_read with its AXI4 channels as plain streams: requests {burst, size, len, address}, beats {last, resp, data}.
module core_axi_read #(
  parameter int unsigned WordBits  = 128,
  parameter int unsigned FarBits   = 8,
  parameter int unsigned RunBits   = 4,
  parameter int unsigned DataWidth = 64,
  parameter int unsigned AddrWidth = 32,
  parameter int unsigned Burst     = 64,
  parameter int unsigned Base      = 0
) (
  input  logic                       clk_i,
  input  logic                       rst_ni,
  input  logic                       a_valid_i,
  output logic                       a_ready_o,
  input  logic [RunBits+FarBits-1:0] a_data_i,
  output logic                       q_valid_o,
  input  logic                       q_ready_i,
  output logic [AddrWidth+12:0]      q_data_o,
  input  logic                       r_valid_i,
  output logic                       r_ready_o,
  input  logic [DataWidth+2:0]       r_data_i,
  output logic                       m_valid_o,
  input  logic                       m_ready_i,
  output logic [WordBits:0]          m_data_o     // {error, word}
);
  logic error;
  qs_axi_read #(
    .WordBits(WordBits), .FarBits(FarBits), .RunBits(RunBits), .DataWidth(DataWidth), .AddrWidth(AddrWidth), .Burst(Burst)
  ) u_read (
    .clk_i, .rst_ni, .base_i(AddrWidth'(Base)), .a_valid_i, .a_ready_o, .a_data_i, .m_valid_o, .m_ready_i, .m_data_o(m_data_o[WordBits-1:0]),
    .m_axi_arvalid(q_valid_o), .m_axi_arready(q_ready_i), .m_axi_araddr(q_data_o[AddrWidth-1:0]), .m_axi_arlen(q_data_o[AddrWidth+:8]),
    .m_axi_arsize(q_data_o[AddrWidth+8+:3]), .m_axi_arburst(q_data_o[AddrWidth+11+:2]), .m_axi_rvalid(r_valid_i), .m_axi_rready(r_ready_o),
    .m_axi_rdata(r_data_i[DataWidth-1:0]), .m_axi_rresp(r_data_i[DataWidth+:2]), .m_axi_rlast(r_data_i[DataWidth+2]), .error_o(error)
  );
  logic latched;   // the error bit may rise while a word waits
  assign m_data_o[WordBits] = latched;
  always_ff @(posedge clk_i) if (r_valid_i && r_ready_o) latched <= error || r_data_i[DataWidth+:2] != '0;
endmodule
