// What sums are worth: y = clamp(round_shift(acc * factor, shift)) to a word of the residual or of a gate; or, in a raw command,
// the sum of round_shift(acc, shift)**2.  Meaning: ir/lm/expand.py, value and mixer.
//
// A command's settings stand still from its first row until that has left; rows of two commands follow each other without a gap.  Each
// place captures what it needs as the first row comes by, so first_i is never set without valid_i.
// Raw rows leave as *_raw after one cycle and never as y, which comes after seven; ahead_row_o is the row of y, two cycles early.
module qs_lm_epilogue #(
  parameter int unsigned AccWidth    = 17,
  parameter int unsigned FactorWidth = 20,  // unsigned
  parameter int unsigned SumWidth    = 52,
  parameter int unsigned RowBits     = 9,
  parameter int unsigned ShiftBits   = 6,
  parameter int unsigned ShiftLeast  = 0,
  parameter int unsigned ShiftMost   = 63,
  parameter int unsigned SquareMost  = 0,   // largest shift of a raw command
  parameter int unsigned ResWidth    = 24,
  parameter int unsigned GateWidth   = 17,
  parameter int unsigned PieceBits   = 8,   // a gate is at most 2**(GateWidth-1) - 2**(PieceBits-1) - 1
  parameter int unsigned YWidth      = ResWidth > GateWidth ? ResWidth : GateWidth
) (
  input  logic                   clk_i,
  input  logic                   rst_ni,
  // Settings of the command whose row comes in.
  input  logic [2:0]             mode_i,    // as in qs_lm_vector
  input  logic [FactorWidth-1:0] factor_i,
  input  logic [ShiftBits-1:0]   shift_i,
  // Rows.
  input  logic                   valid_i,
  input  logic                   first_i,
  input  logic [RowBits-1:0]     row_i,
  input  logic [AccWidth-1:0]    acc_i,
  output logic                   raw_valid_o,
  output logic [RowBits-1:0]     raw_row_o,
  output logic [AccWidth-1:0]    raw_acc_o,
  output logic [RowBits-1:0]     ahead_row_o,
  output logic                   valid_o,
  output logic                   first_o,
  output logic [RowBits-1:0]     row_o,
  output logic [2:0]             mode_o,
  output logic [YWidth-1:0]      y_o,
  output logic [SumWidth-1:0]    sum_o,
  output logic                   busy_o,
  output logic                   late_o,    // rows that are no raw ones for certain
  output logic                   begun_o    // a first row is on its way
);
  localparam int unsigned BWidth   = FactorWidth + 1 > AccWidth ? FactorWidth + 1 : AccWidth;
  localparam int unsigned Last     = 6;
  localparam logic [2:0]  Raw      = 3'd0;
  localparam logic [2:0]  Residual = 3'd4;
  typedef logic signed [AccWidth:0] twice_t;

  logic [Last:0]              valid, first, valid_next, first_next;
  logic [Last:0][RowBits-1:0] row;
  logic                       raw, raw3;
  logic [2:0]                 mode5;
  logic [ShiftBits-1:0]       shift3;
  always_ff @(posedge clk_i or negedge rst_ni) begin
    if (!rst_ni) {valid, first, busy_o, begun_o} <= '0;
    else begin
      valid   <= valid_next;
      first   <= first_next;
      busy_o  <= |valid_next;
      begun_o <= |first_next;
    end
  end
  always_ff @(posedge clk_i) begin
    row <= {row[Last-1:0], row_i};
    if (first[2]) raw3 <= raw;
    if (first[2]) shift3 <= shift_i - ShiftBits'(ShiftLeast);
    if (first[4]) mode5 <= mode_i;
    mode_o <= mode5;
  end
  assign raw         = mode_i == Raw;
  assign valid_next  = {valid[Last-1:4], valid[3] && !raw3, valid[2:0], valid_i};
  assign first_next  = {first[Last-1:4], first[3] && !raw3, first[2:0], first_i};
  assign late_o      = |valid[Last:4];
  assign valid_o     = valid[Last];
  assign first_o     = first[Last];
  assign row_o       = row[Last];
  assign ahead_row_o = row[Last-2];

  logic [AccWidth-1:0] acc;
  twice_t              twice;
  logic [AccWidth-1:0] brief, a;
  logic [BWidth-1:0]   b;
  always_comb begin
    twice = twice_t'({acc, 1'b0});
    for (int k = 1; k <= int'(SquareMost); k++) if (shift_i == ShiftBits'(k)) twice = twice_t'({acc, 1'b0}) >>> k;
  end
  assign brief = AccWidth'((twice + twice_t'(1)) >>> 1);
  always_ff @(posedge clk_i) begin
    acc <= acc_i;
    a   <= raw ? brief : acc;
    b   <= raw ? BWidth'(signed'(brief)) : BWidth'(factor_i);
  end
  assign raw_valid_o = valid[0] && raw;
  assign raw_row_o   = row[0];
  assign raw_acc_o   = acc;

  logic [AccWidth+BWidth-1:0] product;
  qs_lm_mul #(
    .AWidth(AccWidth),
    .BWidth(BWidth)
  ) u_mul (
    .clk_i,
    .a_i(a),
    .b_i(b),
    .p_o(product)
  );

  always_ff @(posedge clk_i) begin
    if (valid[3] && raw3) sum_o <= (first[3] ? '0 : sum_o) + SumWidth'(product);
  end

  qs_lm_round #(
    .InWidth  (AccWidth + BWidth),
    .OutWidth (YWidth),
    .Least    (ShiftLeast),
    .Span     (ShiftMost - ShiftLeast),
    .ShiftBits(ShiftBits),
    .Lo       (-(64'sd1 <<< (GateWidth - 1))),
    .Hi       ((64'sd1 <<< (GateWidth - 1)) - (64'sd1 <<< (PieceBits - 1)) - 64'sd1),
    .Lo1      (-(64'sd1 <<< (ResWidth - 1))),
    .Hi1      ((64'sd1 <<< (ResWidth - 1)) - 64'sd1)
  ) u_round (
    .clk_i,
    .x_i     (product),
    .shift_i (shift3),
    .bounds_i(mode5 == Residual),
    .y_o
  );

`ifndef SYNTHESIS
  initial begin
    if (ShiftMost < ShiftLeast || ShiftMost >= 2**ShiftBits || SquareMost >= 2**ShiftBits)
      $fatal(1, "%m: ShiftBits=%0d for shifts of %0d to %0d and of at most %0d", ShiftBits, ShiftLeast, ShiftMost, SquareMost);
  end
`endif
endmodule
