// qs_lm_head with its settings as parts of streams: commands {invtemp, k, seed: 0 leaves the generator}; sums {row, acc}; tokens.
module lm_head #(
  parameter int unsigned TopK        = 1,
  parameter int unsigned Vocab       = 4,
  parameter int unsigned AccWidth    = 20,
  parameter int unsigned FactorWidth = 17,
  parameter int unsigned Shift       = 0,
  parameter              ExpFile     = "",
  parameter int unsigned TokenBits   = Vocab > 1 ? $clog2(Vocab) : 1,
  parameter int unsigned KBits       = $clog2(TopK + 1)
) (
  input  logic                               clk_i,
  input  logic                               rst_ni,
  input  logic                               c_valid_i,
  output logic                               c_ready_o,
  input  logic [FactorWidth+KBits+47:0]      c_data_i,
  input  logic                               s_valid_i,
  output logic                               s_ready_o,
  input  logic [TokenBits+AccWidth-1:0]      s_data_i,
  output logic                               m_valid_o,
  input  logic                               m_ready_i,
  output logic [TokenBits-1:0]               m_data_o
);
  logic                   ready, seeded, busy;
  logic [31:0]            seed;
  logic [15:0]            invtemp;
  logic [KBits-1:0]       k;
  logic [FactorWidth-1:0] factor, factor_q;
  assign {factor, invtemp, k, seed} = c_data_i;
  assign c_ready_o = ready && (seeded || seed == '0);  // a seed goes in a cycle before its command
  always_ff @(posedge clk_i or negedge rst_ni) begin
    if (!rst_ni) seeded <= 1'b0;
    else begin
      seeded <= c_valid_i && ready && !c_ready_o;
      if (busy == ready || m_valid_o && !busy) $error("busy %b, ready %b", busy, ready);
    end
  end
  always_ff @(posedge clk_i) if (c_valid_i && c_ready_o) factor_q <= factor;

  qs_lm_head #(.TopK(TopK), .Vocab(Vocab), .AccWidth(AccWidth), .FactorWidth(FactorWidth), .ExpFile(ExpFile)) u_head (
    .clk_i, .rst_ni, .seed_valid_i(c_valid_i && ready && seed != '0 && !seeded), .seed_i(seed), .cmd_valid_i(c_valid_i && c_ready_o),
    .cmd_ready_o(ready), .cmd_k_i(k), .cmd_invtemp_i(invtemp), .factor_i(factor_q), .shift_i(6'(Shift)), .s_valid_i, .s_ready_o,
    .s_row_i(s_data_i[AccWidth+:TokenBits]), .s_acc_i(s_data_i[AccWidth-1:0]), .m_valid_o, .m_ready_i, .m_token_o(m_data_o), .busy_o(busy)
  );
endmodule
