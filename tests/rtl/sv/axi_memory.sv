// The bench memory behind qs_axi_read, which asks it for runs of words: {words, address} in, {error, word} out.
module axi_memory #(
  parameter int unsigned WordBits  = 128,
  parameter int unsigned DataWidth = 64,
  parameter int unsigned Beats     = 16,
  parameter int unsigned Base      = 0,
  parameter int unsigned Seed      = 0,
  parameter int unsigned Often     = 0,
  parameter int unsigned Latency   = 0,
  parameter int unsigned Share     = 0,
  parameter int unsigned Bad       = 32'hffff_ffff,
  parameter              File      = ""
) (
  input  logic                clk_i,
  input  logic                rst_ni,
  input  logic                a_valid_i,
  output logic                a_ready_o,
  input  logic [15:0]         a_data_i,
  output logic                m_valid_o,
  input  logic                m_ready_i,
  output logic [WordBits-1:0] m_data_o,
  output logic                e_valid_o,     // the error bit, once
  input  logic                e_ready_i,
  output logic [0:0]          e_data_o
);
  logic                 arvalid, arready, rvalid, rready, rlast, error, told;
  logic [31:0]          araddr, beats;
  logic [7:0]           arlen;
  logic [2:0]           arsize;
  logic [1:0]           arburst, rresp;
  logic [DataWidth-1:0] rdata;
  qs_axi_read #(
    .WordBits(WordBits), .FarBits(8), .RunBits(8), .DataWidth(DataWidth)
  ) u_read (
    .clk_i, .rst_ni, .base_i(Base), .a_valid_i, .a_ready_o, .a_data_i, .m_valid_o, .m_ready_i, .m_data_o,
    .m_axi_arvalid(arvalid), .m_axi_arready(arready), .m_axi_araddr(araddr), .m_axi_arlen(arlen), .m_axi_arsize(arsize),
    .m_axi_arburst(arburst), .m_axi_rvalid(rvalid), .m_axi_rready(rready), .m_axi_rdata(rdata), .m_axi_rresp(rresp),
    .m_axi_rlast(rlast), .error_o(error)
  );
  qs_axi_memory #(
    .DataWidth(DataWidth), .Beats(Beats), .Base(Base), .Depth(2), .File(File)
  ) u_memory (
    .clk_i, .rst_ni, .seed_i(Seed), .often_i(8'(Often)), .latency_i(16'(Latency)), .share_i(8'(Share)), .mute_i('1), .bad_i(Bad),
    .beats_o(beats), .s_axi_arvalid(arvalid), .s_axi_arready(arready), .s_axi_araddr(araddr), .s_axi_arlen(arlen),
    .s_axi_arsize(arsize), .s_axi_arburst(arburst), .s_axi_rvalid(rvalid), .s_axi_rready(rready), .s_axi_rdata(rdata),
    .s_axi_rresp(rresp), .s_axi_rlast(rlast)
  );
  assign e_valid_o = beats == Beats && !told;
  assign e_data_o  = error;
  always_ff @(posedge clk_i or negedge rst_ni) begin
    if (!rst_ni) told <= 1'b0;
    else if (e_valid_o && e_ready_i) told <= 1'b1;
  end
endmodule
