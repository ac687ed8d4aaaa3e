// The gated recurrence.  A row of f becomes forget = clamp(lower + round_shift(f * (one - lower), Sigmoid)), which is kept for the row
// of i that follows: state = clamp(round_shift(forget * state + (one - forget) * i * 2**(State - Gate), Sigmoid)), and
// gate = clamp(round_shift(state, State - Gate)), the input of the next curve.  f and i come from their curves.  Meaning: ir/lm/expand.py, mixer.
//
// x_i comes four cycles after ahead_*_i, which is its row; forget_o and state_o come four cycles after x_i, gate_o five.  Settings as in
// qs_lm_epilogue; base_i is where the layer's states and lower bounds begin; fresh_i: the states before are 0.  The rows of i begin
// when the first of f has left, and are at least eight.
module qs_lm_state #(
  parameter int unsigned Dim        = 160,
  parameter int unsigned Layers     = 4,
  parameter int unsigned RowBits    = 9,
  parameter int unsigned BaseBits   = 10,
  parameter int unsigned XWidth     = 17,  // signed, of f and of i
  parameter int unsigned Sigmoid    = 16,  // fraction bits
  parameter int unsigned State      = 24,
  parameter int unsigned Gate       = 12,
  parameter int unsigned StateWidth = 32,
  parameter int unsigned GateWidth  = 17,
  parameter int unsigned PieceBits  = 8,
  parameter              LowerFile  = ""   // Layers * Dim words of Sigmoid + 1 bits
) (
  input  logic                  clk_i,
  input  logic                  rst_ni,
  input  logic                  input_i,   // rows of i, not of f
  input  logic                  fresh_i,
  input  logic [BaseBits-1:0]   base_i,
  input  logic                  ahead_valid_i,
  input  logic                  ahead_first_i,
  input  logic [RowBits-1:0]    ahead_row_i,
  input  logic [XWidth-1:0]     x_i,
  output logic                  forget_valid_o,
  output logic                  state_valid_o,
  output logic [RowBits-1:0]    row_o,     // of forget_o or state_o
  output logic [Sigmoid-1:0]    forget_o,
  output logic [StateWidth-1:0] state_o,
  output logic                  gate_valid_o,
  output logic                  gate_first_o,
  output logic [RowBits-1:0]    gate_row_o,
  output logic [GateWidth-1:0]  gate_o,
  output logic                  busy_o,
  output logic                  begun_o
);
  // Ranks of registers: the ahead row is in 1 a cycle after it came, x_i in 4, what is written in 8.
  localparam int unsigned Last      = 8;
  localparam int unsigned Words     = Layers * Dim;
  localparam int unsigned WordBits  = Words > 1 ? $clog2(Words) : 1;
  localparam int unsigned DimBits   = Dim > 1 ? $clog2(Dim) : 1;
  localparam int unsigned Up        = State - Gate;
  localparam int unsigned KeepWidth = Sigmoid + 2;                    // signed: at most one
  localparam int unsigned NewWidth  = XWidth + KeepWidth;
  localparam int unsigned OldWidth  = StateWidth + Sigmoid + 1;
  localparam int unsigned SumWidth  = (NewWidth + Up > OldWidth ? NewWidth + Up : OldWidth) + 1;
  localparam int unsigned HighWidth = SumWidth - Sigmoid + 1;         // of twice the rounded sum
  typedef logic signed [SumWidth-1:0]  sum_t;
  typedef logic signed [HighWidth-1:0] high_t;
  typedef logic        [WordBits-1:0]  word_t;
  typedef logic        [DimBits-1:0]   dim_t;
  typedef logic signed [KeepWidth-1:0] keep_t;
  typedef logic signed [StateWidth:0]  twice_t;
  typedef logic signed [63:0]          bound_t;

  localparam bound_t GateLo  = -(64'sd1 <<< (GateWidth - 1));
  localparam bound_t GateHi  = (64'sd1 <<< (GateWidth - 1)) - (64'sd1 <<< (PieceBits - 1)) - 64'sd1;
  localparam bound_t StateLo = -(64'sd1 <<< (StateWidth - 1));
  localparam bound_t StateHi = (64'sd1 <<< (StateWidth - 1)) - 64'sd1;

  logic [Last:1]              valid, first;
  logic [Last+1:1]            valid_next, first_next;
  logic [Last:1][RowBits-1:0] row;
  logic                       input3, fresh4, input8;
  word_t                      base1, base8, word1, word2, word8;
  always_ff @(posedge clk_i or negedge rst_ni) begin
    if (!rst_ni) begin
      {gate_valid_o, valid, busy_o}  <= '0;
      {gate_first_o, first, begun_o} <= '0;
    end else begin
      {gate_valid_o, valid, busy_o}  <= {valid_next, |valid_next};
      {gate_first_o, first, begun_o} <= {first_next, |first_next};
    end
  end
  always_ff @(posedge clk_i) begin
    row        <= {row[Last-1:1], ahead_row_i};
    gate_row_o <= row[Last];
    word2      <= word1;
    if (ahead_first_i) base1 <= word_t'(base_i);
    if (first[2]) input3 <= input_i;
    if (first[3]) fresh4 <= fresh_i;
    if (first[7]) input8 <= input_i;
    if (first[7]) base8 <= word_t'(base_i);
  end
  assign word1          = word_t'(row[1]) + base1;
  assign word8          = word_t'(row[8]) + base8;
  assign forget_valid_o = valid[8] && !input8;
  assign state_valid_o  = valid[8] && input8;
  assign row_o          = row[8];
  assign valid_next     = {state_valid_o, valid[Last-1:1], ahead_valid_i};
  assign first_next     = {first[Last] && input8, first[Last-1:1], ahead_first_i};

  logic [Sigmoid-1:0]    forget3, forget4;
  logic [Sigmoid:0]      lower3, lower4, lower5, lower6, lower7, rest7;
  logic [StateWidth-1:0] state4, old4;
  keep_t                 keep4;
  qs_lm_memory #(
    .Depth(Dim),
    .Width(Sigmoid)
  ) u_forget (
    .clk_i,
    .we_i   (forget_valid_o),
    .waddr_i(dim_t'(row[8])),
    .wdata_i(forget_o),
    .raddr_i(dim_t'(row[1])),
    .rdata_o(forget3)
  );
  qs_weights #(
    .Depth(Words),
    .Width(Sigmoid + 1),
    .Extra(1),
    .File (LowerFile)
  ) u_lower (
    .clk_i,
    .en_i        (1'b1),
    .addr_i      (word1),
    .data_o      (lower3),
    .load_valid_i(1'b0),
    .load_addr_i ('0),
    .load_data_i ('0)
  );
  qs_lm_memory #(
    .Depth(Words),
    .Width(StateWidth)
  ) u_state (
    .clk_i,
    .we_i   (state_valid_o),
    .waddr_i(word8),
    .wdata_i(state_o),
    .raddr_i(word2),
    .rdata_o(state4)
  );
  assign old4 = fresh4 ? '0 : state4;
  always_ff @(posedge clk_i) begin
    keep4   <= keep_t'(1 << Sigmoid) - (input3 ? keep_t'(forget3) : keep_t'(lower3));
    forget4 <= forget3;
    lower4  <= lower3;
    lower5  <= lower4;
    lower6  <= lower5;
    lower7  <= lower6;
  end

  logic [NewWidth-1:0] fresh6;
  logic [OldWidth-1:0] kept6;
  qs_lm_mul #(
    .AWidth(XWidth),
    .BWidth(KeepWidth)
  ) u_new (
    .clk_i,
    .a_i(x_i),
    .b_i(keep4),
    .p_o(fresh6)
  );
  qs_lm_mul #(
    .AWidth(StateWidth),
    .BWidth(Sigmoid + 1)
  ) u_old (
    .clk_i,
    .a_i(old4),
    .b_i({1'b0, forget4}),
    .p_o(kept6)
  );

  // All that is clamped is known with one bit below the point; it is compared while it is rounded.
  sum_t               sum7;
  high_t              high7;
  twice_t             twice8;
  logic [Sigmoid+1:0] forget7;
  assign high7   = high_t'(sum7 >>> (Sigmoid - 1));
  assign twice8  = twice_t'(signed'({state_o, 1'b0}) >>> Up);
  assign forget7 = {1'b0, lower7} + {1'b0, rest7};
  always_ff @(posedge clk_i) begin
    sum7     <= (sum_t'(signed'(fresh6)) <<< Up) + sum_t'(signed'(kept6));
    rest7    <= (Sigmoid + 1)'((fresh6 + NewWidth'(1 << (Sigmoid - 1))) >> Sigmoid);
    state_o  <= high7 < high_t'(2 * StateLo - 1) ? StateWidth'(StateLo) : high7 > high_t'(2 * StateHi) ? StateWidth'(StateHi)
              : StateWidth'((high7 + high_t'(1)) >>> 1);
    forget_o <= |forget7[Sigmoid+1:Sigmoid] ? '1 : forget7[Sigmoid-1:0];
    gate_o   <= twice8 < twice_t'(2 * GateLo - 1) ? GateWidth'(GateLo) : twice8 > twice_t'(2 * GateHi) ? GateWidth'(GateHi)
              : GateWidth'((twice8 + twice_t'(1)) >>> 1);
  end

`ifndef SYNTHESIS
  initial begin
    if (Dim < 8) $fatal(1, "%m: Dim=%0d is below 8", Dim);
    if (State < Gate || Sigmoid == 0) $fatal(1, "%m: State=%0d, Gate=%0d, Sigmoid=%0d", State, Gate, Sigmoid);
  end
`endif
endmodule
