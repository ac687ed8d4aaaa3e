// The next token out of the sums of the head: the first of the largest, or one of the k largest by chance.  Meaning: ir/lm/sample.py.
//
// A command opens the run; then Vocab sums come, in rising order of their rows, one a cycle if they like, and one token leaves.  With
// k = 1 it is the first row with the largest sum.  With k > 1 the min(k, Vocab) largest sums are candidates (equal ones in the order of
// their rows), d = min(floor((best - sum) * factor / 2**shift + 1/2), 2**24 - 1) in 1/4096 nat, x = min(floor(d * invtemp / 256
// + 1/2), 65535), weight = floor(exp[x >> 8] * exp[256 + (x & 255)] / 2**16 + 1/2); the generator steps once, and the first candidate at
// which the running sum of the weights exceeds floor(random * all / 2**32) is taken.
//
// ExpFile: 2**16 * exp(-i / 16), then 2**16 * exp(-j / 4096), 256 of each, 17 bits.  The generator is xorshift32 (Marsaglia 2003: 13, 17,
// 5); seed_valid_i sets its state at any time between commands.  Candidates are kept in order as they come, each in a cell of its own;
// afterwards a sum above all is pushed in TopK times, so that they leave the last cell in falling order of their number.
module qs_lm_head #(
  parameter int unsigned TopK        = 1,    // most candidates; 1: no tables, no generator
  parameter int unsigned Vocab       = 4,
  parameter int unsigned AccWidth    = 20,   // signed; -2**(AccWidth-1) does not occur
  parameter int unsigned FactorWidth = 17,
  parameter int unsigned ShiftBits   = 6,
  parameter              ExpFile     = "",
  parameter int unsigned TokenBits   = Vocab > 1 ? $clog2(Vocab) : 1,
  parameter int unsigned KBits       = $clog2(TopK + 1)
) (
  input  logic                   clk_i,
  input  logic                   rst_ni,
  input  logic                   seed_valid_i,
  input  logic [31:0]            seed_i,          // not 0
  input  logic                   cmd_valid_i,
  output logic                   cmd_ready_o,
  input  logic [KBits-1:0]       cmd_k_i,         // 1 to TopK
  input  logic [15:0]            cmd_invtemp_i,   // 2**8 / temperature
  input  logic [FactorWidth-1:0] factor_i,        // read when the last sum has come
  input  logic [ShiftBits-1:0]   shift_i,         // of the factor; for sums in nats of 12 fraction bits; constant
  input  logic                   s_valid_i,
  output logic                   s_ready_o,
  input  logic [TokenBits-1:0]   s_row_i,
  input  logic [AccWidth-1:0]    s_acc_i,
  output logic                   m_valid_o,
  input  logic                   m_ready_i,
  output logic [TokenBits-1:0]   m_token_o,
  output logic                   busy_o
);
  typedef enum logic [2:0] {Idle, Collect, Settle, Unload, Weigh, Draw, Choose, Tell} state_e;
  state_e               state;
  logic                 take, fresh;
  logic [TokenBits-1:0] left, row, first_row, last_row;  // left: sums to come after this one
  logic [AccWidth-1:0]  acc, first_acc, last_acc;
  assign cmd_ready_o = state == Idle;
  assign s_ready_o   = state == Collect;
  assign take        = s_valid_i && s_ready_o;
  assign m_valid_o   = state == Tell;
  assign busy_o      = state != Idle;

  // A sum waits here for a cycle before it is compared.
  always_ff @(posedge clk_i or negedge rst_ni) begin
    if (!rst_ni) fresh <= 1'b0;
    else fresh <= take;
  end
  always_ff @(posedge clk_i) begin
    if (state == Idle) left <= TokenBits'(Vocab - 1);
    else if (take) left <= left - 1'b1;
    acc <= s_acc_i;
    row <= s_row_i;
  end

  qs_lm_topk #(.TopK(TopK), .AccWidth(AccWidth), .TagWidth(TokenBits)) u_topk (
    .clk_i, .clear_i(state == Idle), .shift_i(state == Unload), .valid_i(fresh), .acc_i(acc), .tag_i(row),
    .first_acc_o(first_acc), .first_tag_o(first_row), .last_acc_o(last_acc), .last_tag_o(last_row)
  );

  if (TopK == 1) begin : gen_greedy
    assign m_token_o = first_row;
    always_ff @(posedge clk_i or negedge rst_ni) begin
      if (!rst_ni) state <= Idle;
      else
        unique case (state)
          Idle:    if (cmd_valid_i) state <= Collect;
          Collect: if (take && left == '0) state <= Settle;
          Settle:  state <= Tell;
          default: if (m_ready_i) state <= Idle;
        endcase
    end
    logic unused;
    assign unused = ^{seed_valid_i, seed_i, cmd_k_i, cmd_invtemp_i, factor_i, shift_i, first_acc, last_acc, last_row};
  end else begin : gen_draw
    localparam int unsigned PlaceBits = $clog2(TopK);
    localparam int unsigned MassBits  = 17 + PlaceBits;
    localparam int unsigned Vocabs    = Vocab < TopK ? Vocab : TopK;  // most candidates that there are

    // Candidates leave the last cell, the last one first; their weights are kept by place.
    logic [KBits-1:0]     candidates;
    logic                 greedy, weighed, weighing;
    logic [PlaceBits-1:0] at, place;
    logic [15:0]          invtemp;
    logic [AccWidth-1:0]  best;
    logic [16:0]          weight, weight_q, weights [TopK];
    logic [TokenBits-1:0] row_q, rows [TopK];
    logic [MassBits-1:0]  mass;
    logic [MassBits:0]    ahead, less;   // of the running sum, what was drawn; of the next one: below 0 where that exceeds it
    qs_lm_weight #(.AccWidth(AccWidth), .FactorWidth(FactorWidth), .ShiftBits(ShiftBits), .TagWidth(PlaceBits), .ExpFile(ExpFile)) u_weight (
      .clk_i, .rst_ni, .factor_i, .shift_i, .invtemp_i(invtemp), .valid_i(state == Unload && KBits'(at) < candidates),
      .behind_i(best - last_acc), .tag_i(at), .valid_o(weighed), .weight_o(weight), .tag_o(place), .busy_o(weighing)
    );
    always_ff @(posedge clk_i) if (weighed) weights[place] <= weight;
    always_ff @(posedge clk_i) if (state == Unload) rows[at] <= last_row;

    // xorshift32; what is drawn is the next state.
    logic [31:0]            random, left_13, right_17, next;
    logic [MassBits+32-1:0] drawn;
    logic                   multiplied;
    assign left_13  = random ^ (random << 13);
    assign right_17 = left_13 ^ (left_13 >> 17);
    assign next     = right_17 ^ (right_17 << 5);
    assign less     = ahead - (MassBits+1)'(weight_q);

    always_ff @(posedge clk_i or negedge rst_ni) begin
      if (!rst_ni) state <= Idle;
      else
        unique case (state)
          Idle:    if (cmd_valid_i) state <= Collect;
          Collect: if (take && left == '0) state <= Settle;
          Settle:  if (!fresh) state <= greedy ? Tell : Unload;
          Unload:  if (at == '0) state <= Weigh;
          Weigh:   if (!weighing) state <= Draw;
          Draw:    if (multiplied) state <= Choose;
          Choose:  if (less[MassBits]) state <= Tell;
          default: if (m_ready_i) state <= Idle;
        endcase
    end
    always_ff @(posedge clk_i or negedge rst_ni) begin
      if (!rst_ni) random <= 32'd1;
      else if (seed_valid_i) random <= seed_i;
      else if (state == Draw && multiplied) random <= next;
    end
    always_ff @(posedge clk_i) begin
      multiplied <= state == Draw;
      if (state == Draw) drawn <= (MassBits+32)'(next) * (MassBits+32)'(mass);
      if (state == Idle) begin
        greedy     <= cmd_k_i <= KBits'(1);
        candidates <= cmd_k_i < KBits'(Vocabs) ? cmd_k_i : KBits'(Vocabs);
        invtemp    <= cmd_invtemp_i;
        mass       <= '0;
      end
      if (state == Settle) begin
        best      <= first_acc;
        m_token_o <= first_row;
        at        <= PlaceBits'(TopK - 1);
      end
      if (weighed) mass <= mass + MassBits'(weight);
      if (state == Unload && at != '0) at <= at - 1'b1;
      weight_q <= weights[at];
      row_q    <= rows[at];
      ahead    <= state == Choose ? less : (MassBits+1)'(drawn >> 32);
      if (state == Choose) m_token_o <= row_q;
      if (state == Choose || (state == Draw && multiplied)) at <= at + 1'b1;
    end
  end

`ifndef SYNTHESIS
  initial if (TopK == 0 || Vocab == 0) $fatal(1, "%m: TopK=%0d Vocab=%0d", TopK, Vocab);
`endif
endmodule
