// A run of a language-model core: the tokens of a prompt go in, up to TLAST; then what the core answers goes out and in again.
//
// The head is computed for the last token of the prompt and for every token after it.  tokens_i = 0 takes a prompt and makes nothing;
// the last token made has not been taken by the core: whoever goes on with the text (keep_i) gives it first.  A prompt token out of the
// vocabulary, and any error of the core, end the run; nothing but a reset starts another.
module qs_lm_run #(
  parameter int unsigned Vocab     = 2,
  parameter int unsigned TokenBits = Vocab > 1 ? $clog2(Vocab) : 1
) (
  input  logic                 clk_i,
  input  logic                 rst_ni,
  input  logic                 start_i,
  input  logic                 keep_i,
  input  logic [31:0]          tokens_i,
  input  logic                 error_i,         // of the core, sticky
  output logic                 busy_o,
  output logic                 done_o,
  output logic                 outside_o,       // sticky: a token out of the vocabulary
  output logic [31:0]          prompt_o,
  output logic [31:0]          made_o,
  output logic [31:0]          last_o,          // cycles
  input  logic                 s_axis_tvalid,
  output logic                 s_axis_tready,
  input  logic [31:0]          s_axis_tdata,
  input  logic                 s_axis_tlast,
  output logic                 m_axis_tvalid,
  input  logic                 m_axis_tready,
  output logic [31:0]          m_axis_tdata,
  output logic                 m_axis_tlast,
  output logic                 token_valid_o,   // to the core
  input  logic                 token_ready_i,
  output logic [TokenBits-1:0] token_o,
  output logic                 token_head_o,    // an answer is wanted
  output logic                 token_first_o,   // states count as zero
  input  logic                 answer_valid_i,
  output logic                 answer_ready_o,
  input  logic [TokenBits-1:0] answer_i
);
  typedef enum logic [2:0] {Idle, Prompt, Answer, Feed, Finish, Failed} state_e;
  state_e               state;
  logic [31:0]          since;
  logic [TokenBits-1:0] fed;
  logic                 known, taken, answered, enough, first;

  assign known          = s_axis_tdata < 32'(Vocab);
  assign token_valid_o  = state == Feed || (state == Prompt && s_axis_tvalid && known);
  assign token_o        = state == Feed ? fed : TokenBits'(s_axis_tdata);
  assign token_head_o   = state == Feed || (s_axis_tlast && tokens_i != '0);
  assign token_first_o  = first;
  assign s_axis_tready  = state == Prompt && known && token_ready_i;
  assign taken          = token_valid_o && token_ready_i;
  assign answer_ready_o = state == Answer && (!m_axis_tvalid || m_axis_tready);
  assign answered       = answer_valid_i && answer_ready_o;
  assign enough         = made_o + 1'b1 == tokens_i;
  assign busy_o         = state != Idle && state != Failed;

  always_ff @(posedge clk_i or negedge rst_ni) begin
    if (!rst_ni) begin
      state         <= Idle;
      first         <= 1'b1;
      done_o        <= 1'b0;
      outside_o     <= 1'b0;
      m_axis_tvalid <= 1'b0;
      {prompt_o, made_o, last_o} <= '0;
    end else begin
      if (answered) m_axis_tvalid <= 1'b1;
      else if (m_axis_tready) m_axis_tvalid <= 1'b0;
      if (taken) first <= 1'b0;
      if (taken && state == Prompt) prompt_o <= prompt_o + 1'b1;
      if (answered) begin
        made_o <= made_o + 1'b1;
        last_o <= since;
      end
      unique case (state)
        Prompt:
          if (s_axis_tvalid && !known) begin
            state     <= Failed;
            outside_o <= 1'b1;
          end else if (taken && s_axis_tlast) state <= tokens_i == '0 ? Finish : Answer;
        Answer: if (answered) state <= enough ? Finish : Feed;
        Feed:   if (taken) state <= Answer;
        Finish:
          if (token_ready_i && !m_axis_tvalid) begin
            state  <= Idle;
            done_o <= 1'b1;
          end
        default:
          if (state == Idle && start_i) begin
            state  <= Prompt;
            done_o <= 1'b0;
            if (!keep_i) first <= 1'b1;
            {prompt_o, made_o, last_o} <= '0;
          end
      endcase
      if (error_i) state <= Failed;
    end
  end

  always_ff @(posedge clk_i) begin
    since <= taken ? 32'd1 : since + 1'b1;
    if (answered) begin
      fed          <= answer_i;
      m_axis_tdata <= 32'(answer_i);
      m_axis_tlast <= enough;
    end
  end

`ifndef SYNTHESIS
  initial if (Vocab == 0) $fatal(1, "%m: Vocab is at least 1");
`endif
endmodule
