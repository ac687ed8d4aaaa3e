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
endmodule
