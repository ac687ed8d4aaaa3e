// Beats of weights from a memory on the chip, one after the other and from the start again; a seek goes to another beat.
//
// After reset the stream starts at beat 0.  A seek flushes: the beat on offer is withdrawn, the next one comes two cycles later.
module qs_lm_source #(
  parameter int unsigned BeatWidth = 8,
  parameter int unsigned Words     = 4,    // beats of the stream
  parameter int unsigned Kind      = 0,    // of the memory, as in qs_weights
  parameter              File      = "",   // $readmemh: a beat a line
  parameter int unsigned SeekBits  = Words > 1 ? $clog2(Words) : 1
) (
  input  logic                 clk_i,
  input  logic                 rst_ni,
  input  logic                 c_valid_i,
  output logic                 c_ready_o,
  input  logic [SeekBits-1:0]  c_data_i,   // the beat to go on with
  output logic                 m_valid_o,
  input  logic                 m_ready_i,
  output logic [BeatWidth-1:0] m_data_o
);
  logic [SeekBits-1:0] at;
  logic                read;
  assign c_ready_o = 1'b1;
  assign read      = !m_valid_o || m_ready_i;

  always_ff @(posedge clk_i or negedge rst_ni) begin
    if (!rst_ni) begin
      at        <= '0;
      m_valid_o <= 1'b0;
    end else if (c_valid_i) begin
      at        <= c_data_i;
      m_valid_o <= 1'b0;
    end else if (read) begin
      at        <= at == SeekBits'(Words - 1) ? '0 : at + 1'b1;
      m_valid_o <= 1'b1;
    end
  end

  qs_weights #(.Depth(Words), .Width(BeatWidth), .Kind(Kind), .File(File)) u_mem (
    .clk_i, .en_i(read), .addr_i(at), .data_o(m_data_o), .load_valid_i(1'b0), .load_addr_i('0), .load_data_i('0));

`ifndef SYNTHESIS
  initial if (BeatWidth == 0 || Words == 0) $fatal(1, "%m: BeatWidth and Words are at least 1");
`endif
endmodule
