// A source of weights behind steps {seek, number}: a seek, or so many beats to be passed on; at the end {error, timeout, underruns > Most}.
// Far: the beats come from the bench memory over AXI4, else from the chip.
module lm_weights #(
  parameter bit          Far       = 0,
  parameter int unsigned BeatWidth = 16,
  parameter int unsigned Words     = 16,
  parameter int unsigned DataWidth = 16,
  parameter int unsigned Burst     = 64,
  parameter int unsigned Depth     = 256,
  parameter int unsigned Limit     = 4096,
  parameter int unsigned Base      = 0,
  parameter int unsigned Seed      = 0,
  parameter int unsigned Often     = 0,
  parameter int unsigned Latency   = 0,
  parameter int unsigned Mute      = 32'hffff_ffff,
  parameter int unsigned Bad       = 32'hffff_ffff,
  parameter int unsigned Most      = 0,     // underruns
  parameter              File      = ""
) (
  input  logic                 clk_i,
  input  logic                 rst_ni,
  input  logic                 o_valid_i,
  output logic                 o_ready_o,
  input  logic [16:0]          o_data_i,
  output logic                 m_valid_o,
  input  logic                 m_ready_i,
  output logic [BeatWidth-1:0] m_data_o,
  output logic                 e_valid_o,   // one beat for each step of no beats
  input  logic                 e_ready_i,
  output logic [2:0]           e_data_o
);
  localparam int unsigned SeekBits = Words > 1 ? $clog2(Words) : 1;
  logic [15:0] left;
  logic        seek, count, valid, ready, c_ready, settled;
  assign seek      = o_valid_i && left == '0 && o_data_i[16];
  assign count     = o_valid_i && left == '0 && !o_data_i[16];
  assign e_valid_o = count && o_data_i[15:0] == '0;
  assign o_ready_o = left == '0 && (e_valid_o ? e_ready_i : o_data_i[16] ? c_ready : 1'b1);
  assign m_valid_o = valid && left != '0;
  assign ready     = m_ready_i && left != '0;
  always_ff @(posedge clk_i or negedge rst_ni) begin
    if (!rst_ni) left <= '0;
    else if (e_data_o[1]) left <= '0;   // after a timeout nobody waits any more
    else if (count) left <= o_data_i[15:0];
    else if (valid && ready) left <= left - 1'b1;
  end
  if (Far) begin : gen_far
    logic                 arvalid, arready, rvalid, rready, rlast, error, timeout;
    logic [31:0]          araddr, beats, underruns;
    logic [7:0]           arlen;
    logic [2:0]           arsize;
    logic [1:0]           arburst, rresp;
    logic [DataWidth-1:0] rdata;
    qs_lm_stream #(
      .BeatWidth(BeatWidth), .Words(Words), .DataWidth(DataWidth), .Burst(Burst), .Depth(Depth), .Limit(Limit)
    ) u_stream (
      .clk_i, .rst_ni, .base_i(Base), .c_valid_i(seek), .c_ready_o(c_ready), .c_data_i(o_data_i[SeekBits-1:0]), .want_i(left != '0),
      .m_valid_o(valid), .m_ready_i(ready), .m_data_o, .m_axi_arvalid(arvalid), .m_axi_arready(arready), .m_axi_araddr(araddr),
      .m_axi_arlen(arlen), .m_axi_arsize(arsize), .m_axi_arburst(arburst), .m_axi_rvalid(rvalid), .m_axi_rready(rready),
      .m_axi_rdata(rdata), .m_axi_rresp(rresp), .m_axi_rlast(rlast), .underruns_o(underruns), .error_o(error), .timeout_o(timeout)
    );
    qs_axi_memory #(
      .DataWidth(DataWidth), .Beats(Words * (BeatWidth / DataWidth)), .Base(Base), .File(File)
    ) u_memory (
      .clk_i, .rst_ni, .seed_i(Seed), .often_i(8'(Often)), .latency_i(16'(Latency)), .share_i(8'd0), .mute_i(Mute), .bad_i(Bad),
      .beats_o(beats), .s_axi_arvalid(arvalid), .s_axi_arready(arready), .s_axi_araddr(araddr), .s_axi_arlen(arlen),
      .s_axi_arsize(arsize), .s_axi_arburst(arburst), .s_axi_rvalid(rvalid), .s_axi_rready(rready), .s_axi_rdata(rdata),
      .s_axi_rresp(rresp), .s_axi_rlast(rlast)
    );
    assign settled  = ^beats;
    assign e_data_o = {error, timeout, underruns > Most};
  end else begin : gen_near
    qs_lm_source #(.BeatWidth(BeatWidth), .Words(Words), .File(File)) u_source (
      .clk_i, .rst_ni, .c_valid_i(seek), .c_ready_o(c_ready), .c_data_i(o_data_i[SeekBits-1:0]), .m_valid_o(valid), .m_ready_i(ready), .m_data_o);
    assign settled  = 1'b0;
    assign e_data_o = '0;
  end
  logic unused;
  assign unused = settled;
endmodule
