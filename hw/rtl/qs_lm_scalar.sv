// The numbers of a token that belong to a whole vector: roots of norms, factors of sums, epsilons.  One operation at a time.
//
//   Root    root = floor(sqrt(sum << 8)), and top * root is kept as the divisor of factors
//   Factor  factor[reg] = clamp(divide(tv * num, top * root), 1, 2**FactorWidth - 1)       top and root of the last Root
//   Gated   extra = clamp(divide(floor(sqrt(square)) * num, 2**shift), 0, 2**(VecWidth-1) - 1)
//   Down    extra = clamp(divide(num, factor[reg]), 0, 2**(VecWidth-1) - 1)
//
// divide(a, b) = floor(a / b + 1/2) of ir/ops.py.  Operands are read when the command is taken.  Products must stay below 2**62,
// shift below VecWidth + RootWidth - 1.  Cycles from taking a command to its result: Root RootWidth + 4, Factor VecWidth + 4,
// Gated RootWidth + VecWidth + 5, Down VecWidth + 3.
//
// A product is made at once, of DSP blocks; quotient and root come digit by digit.
module qs_lm_scalar #(
  parameter int unsigned VecWidth    = 26,
  parameter int unsigned NumWidth    = 60,   // of num for Down; Factor and Gated read the low MulWidth bits
  parameter int unsigned MulWidth    = 36,
  parameter int unsigned SumWidth    = 44,
  parameter int unsigned SquareWidth = 52,
  parameter int unsigned FactorWidth = 17,
  parameter int unsigned ShiftBits   = 6,
  parameter int unsigned Regs        = 4,
  parameter int unsigned RegBits     = Regs > 1 ? $clog2(Regs) : 1,
  parameter int unsigned RootWidth   = (SumWidth + 8 > SquareWidth ? SumWidth + 9 : SquareWidth + 1) / 2
) (
  input  logic                        clk_i,
  input  logic                        rst_ni,
  input  logic                        cmd_valid_i,
  output logic                        cmd_ready_o,
  input  logic [1:0]                  cmd_op_i,       // 0 Root, 1 Factor, 2 Gated, 3 Down
  input  logic [RegBits-1:0]          cmd_reg_i,
  input  logic [NumWidth-1:0]         cmd_num_i,
  input  logic [ShiftBits-1:0]        cmd_shift_i,
  input  logic [SumWidth-1:0]         sum_i,          // of the norm (qs_lm_quant)
  input  logic [VecWidth-2:0]         top_i,
  input  logic [VecWidth-2:0]         tv_i,           // largest magnitude of the vector whose sums get the factor
  input  logic [SquareWidth-1:0]      square_i,
  output logic [RootWidth-1:0]        root_o,         // results stay until the next of their kind
  output logic                        root_valid_o,   // one cycle: it is new
  output logic [Regs*FactorWidth-1:0] factor_o,
  output logic [FactorWidth-1:0]      factor_new_o,   // the factor that is new
  output logic                        factor_valid_o,
  output logic [VecWidth-2:0]         extra_o,
  output logic                        extra_valid_o,
  output logic                        busy_o
);
endmodule
