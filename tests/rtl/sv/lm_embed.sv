// qs_lm_embed with {error, index, word} as its result.
module lm_embed #(
  parameter int unsigned Vocab      = 4,
  parameter int unsigned Dim        = 8,
  parameter int unsigned Width      = 16,
  parameter int unsigned TokenWidth = 16,
  parameter              File       = "",
  parameter int unsigned IndexBits  = Dim > 1 ? $clog2(Dim) : 1
) (
  input  logic                       clk_i,
  input  logic                       rst_ni,
  input  logic                       s_valid_i,
  output logic                       s_ready_o,
  input  logic [TokenWidth-1:0]      s_data_i,
  output logic                       m_valid_o,
  input  logic                       m_ready_i,
  output logic [IndexBits+Width:0]   m_data_o
);
  logic error, last_error, busy;
  qs_lm_embed #(.Vocab(Vocab), .Dim(Dim), .Width(Width), .TokenWidth(TokenWidth), .File(File)) u_embed (
    .clk_i, .rst_ni, .s_valid_i, .s_ready_o, .s_token_i(s_data_i), .m_valid_o, .m_ready_i, .m_index_o(m_data_o[Width+:IndexBits]),
    .m_word_o(m_data_o[Width-1:0]), .error_o(error), .busy_o(busy)
  );
  // The error of the token whose row this is: the last word of the row before may still wait when the next token is taken.
  assign m_data_o[IndexBits+Width] = last_error;
  always_ff @(posedge clk_i or negedge rst_ni) begin
    if (!rst_ni) last_error <= 1'b0;
    else begin
      if (!m_valid_o || m_ready_i) last_error <= error;
      if (m_valid_o && !busy) $error("at work, and not busy");
    end
  end
endmodule
