// Rows of the embedding: a token in, its Dim words out, each with its index, one a cycle.
//
// File holds the words of Width bits of token 0, then those of token 1 and so on.  A token that is not below Vocab sets error_o, which stays
// until the next reset, and counts as token 0.
module qs_lm_embed #(
  parameter int unsigned Vocab      = 4,
  parameter int unsigned Dim        = 8,
  parameter int unsigned Width      = 16,
  parameter int unsigned TokenWidth = 16,
  parameter              File       = "",
  parameter int unsigned IndexBits  = Dim > 1 ? $clog2(Dim) : 1
) (
  input  logic                  clk_i,
  input  logic                  rst_ni,
  input  logic                  s_valid_i,
  output logic                  s_ready_o,
  input  logic [TokenWidth-1:0] s_token_i,
  output logic                  m_valid_o,
  input  logic                  m_ready_i,
  output logic [IndexBits-1:0]  m_index_o,
  output logic [Width-1:0]      m_word_o,    // signed
  output logic                  error_o,
  output logic                  busy_o
);
  localparam int unsigned Words    = Vocab * Dim;
  localparam int unsigned AddrBits = Words > 1 ? $clog2(Words) : 1;
  localparam int unsigned Compared = TokenWidth > 32 ? TokenWidth : 32;

  logic [Width-1:0] words [Words];
  initial $readmemh(File, words);

  logic                 reading, last, go, known;
  logic [AddrBits-1:0]  addr;
  logic [IndexBits-1:0] index;
  assign known     = Compared'(s_token_i) < Compared'(Vocab);
  assign last      = index == IndexBits'(Dim - 1);
  assign go        = !m_valid_o || m_ready_i;
  assign s_ready_o = !reading || (go && last);
  assign busy_o    = reading || m_valid_o;

  always_ff @(posedge clk_i or negedge rst_ni) begin
    if (!rst_ni) begin
      reading   <= 1'b0;
      m_valid_o <= 1'b0;
      error_o   <= 1'b0;
    end else begin
      if (s_ready_o) reading <= s_valid_i;
      if (go) m_valid_o <= reading;
      if (s_valid_i && s_ready_o && !known) error_o <= 1'b1;
    end
  end
  always_ff @(posedge clk_i) begin
    if (s_valid_i && s_ready_o) begin
      addr  <= known ? AddrBits'(s_token_i) * AddrBits'(Dim) : '0;
      index <= '0;
    end else if (go) begin
      addr  <= addr + 1'b1;
      index <= index + 1'b1;
    end
    if (go) m_index_o <= index;
  end
  always_ff @(posedge clk_i) if (go) m_word_o <= words[addr];

`ifndef SYNTHESIS
  initial if (Vocab == 0 || Dim == 0 || Width == 0 || TokenWidth == 0) $fatal(1, "%m: Vocab=%0d Dim=%0d Width=%0d", Vocab, Dim, Width);
`endif
endmodule
