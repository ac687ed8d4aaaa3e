// The vector path of a language model's core: rows of sums, or of an embedding, through scale, curves, recurrence, product, residual
// and gains into the vectors that the quantizer reads.  Meaning: ir/lm/expand.py.
//
// A command says what its rows are:
//   0 RAW      sums of g, or of v: kept for the product; sum_o = sum of round_shift(acc, shift)**2
//   1 FORGET   sums of f: the forget gate, kept
//   2 INPUT    sums of i: states, gated (product by cmd_product), its vectors
//   3 GLU      sums of u: gated, its vectors
//   4 RESIDUAL sums of o, or of down: the residual, its vectors
//   5 EMBED    rows of e: the residual, its vectors
// Rows come in ascending order from 0, s_* or (EMBED) e_*, one a cycle at most; the latency is fixed, and only the entrance waits: while
// no command is open, and while hold_i, after which Latency more values come out of any tap.  A command is taken when the
// last row of the one before is in, the first has left, and no row of it is in its way; settings may change after cmd_ready_o.
// tops_o and sum_o hold when !busy_o.  v0 and u (vectors 0 and 3) are made by INPUT, GLU, RESIDUAL and EMBED, v1 and v2 where cmd_all.
// cmd_base: layer * Dim of the state and the lower bounds (FORGET, INPUT) or of MoreFile (others).
//
// Taps come with their command's tag, if Taps; else they are 0.
module qs_lm_vector #(
  parameter int unsigned        Dim          = 160,
  parameter int unsigned        Hidden       = 400,
  parameter int unsigned        Layers       = 4,
  parameter int unsigned        Lanes        = 2,     // elements that the quantizer reads at once; a power of two
  parameter int unsigned        AccWidth     = 17,
  parameter int unsigned        FactorWidth  = 20,    // unsigned
  parameter int unsigned        ResWidth     = 24,
  parameter int unsigned        VecWidth     = 26,
  parameter int unsigned        GainWidth    = 18,
  parameter int unsigned        EmbWidth     = 16,
  parameter int unsigned        SumWidth     = 52,
  parameter int unsigned        Gate         = 12,    // fraction bits
  parameter int unsigned        GateWidth    = 17,
  parameter int unsigned        PieceBits    = 8,
  parameter int unsigned        Sigmoid      = 16,    // fraction bits
  parameter int unsigned        State        = 24,    // fraction bits
  parameter int unsigned        StateWidth   = 32,
  // Curves: bits of a value and of a slope, shift and bounds.
  parameter int unsigned        ValueWidth   = 30,
  parameter int unsigned        SlopeWidth   = 17,
  parameter int unsigned        SigmoidShift = 12,
  parameter logic signed [63:0] SigmoidLo    = 0,
  parameter logic signed [63:0] SigmoidHi    = 65535,
  parameter int unsigned        SiluShift    = 12,
  parameter logic signed [63:0] SiluLo       = -65536,
  parameter logic signed [63:0] SiluHi       = 65535,
  // Every shift lies between its bounds.
  parameter int unsigned        ShiftBits    = 6,
  parameter int unsigned        ValueLeast   = 0,     // of factors
  parameter int unsigned        ValueMost    = 63,
  parameter int unsigned        SquareMost   = 0,     // of RAW
  parameter int unsigned        ProductLeast = 0,
  parameter int unsigned        ProductMost  = 63,
  parameter int unsigned        GainLeast    = 0,
  parameter int unsigned        GainMost     = 63,
  parameter int unsigned        GainRows     = 3680,  // lines of GainFile; MoreFile has Layers * Dim
  parameter                     GainFile     = "",    // {gain of u, gain of v0}
  parameter                     MoreFile     = "",    // {gain of v2, gain of v1}
  parameter                     LowerFile    = "",    // Layers * Dim lower bounds of Sigmoid + 1 bits
  parameter                     CurvesFile   = "",    // {slope, value}: sigmoid, then silu
  parameter                     SiluFile     = "",    // {slope, value}
  parameter int unsigned        TagWidth     = 1,
  parameter bit                 Taps         = 0,
  // Follow from the others.
  parameter int unsigned        Depth        = Hidden > Dim ? Hidden : Dim,
  parameter int unsigned        RowBits      = $clog2(Depth + 1),
  parameter int unsigned        BaseBits     = $clog2(Layers * Dim + 1),
  parameter int unsigned        GainBits     = $clog2(GainRows + 1),
  parameter int unsigned        ReadBits     = Depth > Lanes ? $clog2((Depth + Lanes - 1) / Lanes) : 1,
  parameter int unsigned        YWidth       = ResWidth > GateWidth ? ResWidth : GateWidth,
  parameter int unsigned        CurveWidth   = GateWidth > Sigmoid + 1 ? GateWidth : Sigmoid + 1
) (
  input  logic                      clk_i,
  input  logic                      rst_ni,

  input  logic                      cmd_valid_i,
  output logic                      cmd_ready_o,
  input  logic [2:0]                cmd_mode_i,
  input  logic [RowBits-1:0]        cmd_rows_i,         // at least 1; 8 for FORGET and INPUT
  input  logic [FactorWidth-1:0]    cmd_factor_i,
  input  logic [ShiftBits-1:0]      cmd_shift_i,        // of the factor; RAW: before the square
  input  logic [ShiftBits-1:0]      cmd_product_i,      // of gated
  input  logic [4*ShiftBits-1:0]    cmd_gain_shifts_i,  // v0 lowest, then v1, v2, u
  input  logic [GainBits-1:0]       cmd_gain_base_i,
  input  logic [BaseBits-1:0]       cmd_base_i,
  input  logic                      cmd_all_i,
  input  logic                      cmd_fresh_i,        // INPUT: the states before are 0
  input  logic [TagWidth-1:0]       cmd_tag_i,

  input  logic                      s_valid_i,
  output logic                      s_ready_o,
  input  logic [RowBits-1:0]        s_row_i,
  input  logic [AccWidth-1:0]       s_acc_i,
  input  logic                      e_valid_i,
  output logic                      e_ready_o,
  input  logic [RowBits-1:0]        e_row_i,
  input  logic [EmbWidth-1:0]       e_word_i,
  input  logic                      hold_i,

  output logic                      busy_o,
  output logic [4*(VecWidth-1)-1:0] tops_o,             // of v0, v1, v2, u: largest magnitude, at least 1; VecWidth - 1 bits each
  output logic [SumWidth-1:0]       sum_o,

  // Lanes elements from Lanes * read_addr_i on, two cycles later; read_vector_i: 0 v0, 1 v1, 2 v2, 3 u.
  input  logic [1:0]                read_vector_i,
  input  logic [ReadBits-1:0]       read_addr_i,
  output logic [Lanes*VecWidth-1:0] read_data_o,

  output logic                      tap_value_valid_o,  // of a gate or of the residual
  output logic [RowBits-1:0]        tap_value_row_o,
  output logic [YWidth-1:0]         tap_value_o,
  output logic [TagWidth-1:0]       tap_value_tag_o,
  output logic                      tap_curve_valid_o,  // sigmoid of f, silu of i or u
  output logic [RowBits-1:0]        tap_curve_row_o,
  output logic [CurveWidth-1:0]     tap_curve_o,
  output logic [TagWidth-1:0]       tap_curve_tag_o,
  output logic                      tap_forget_valid_o,
  output logic                      tap_state_valid_o,
  output logic [RowBits-1:0]        tap_state_row_o,    // of the forget gate, too
  output logic [Sigmoid-1:0]        tap_forget_o,
  output logic [StateWidth-1:0]     tap_state_o,
  output logic [TagWidth-1:0]       tap_state_tag_o,
  output logic                      tap_silu_valid_o,   // of the state
  output logic [RowBits-1:0]        tap_silu_row_o,
  output logic [GateWidth-1:0]      tap_silu_o,
  output logic [TagWidth-1:0]       tap_silu_tag_o,
  output logic                      tap_gated_valid_o,
  output logic [RowBits-1:0]        tap_gated_row_o,
  output logic [VecWidth-1:0]       tap_gated_o,
  output logic [TagWidth-1:0]       tap_gated_tag_o,
  output logic                      tap_residual_valid_o,
  output logic [RowBits-1:0]        tap_residual_row_o,
  output logic [ResWidth-1:0]       tap_residual_o,
  output logic [TagWidth-1:0]       tap_residual_tag_o,
  output logic [3:0]                tap_vector_valid_o, // v0, v1, v2, u
  output logic [RowBits-1:0]        tap_vector_row_o,
  output logic [4*VecWidth-1:0]     tap_vector_o,
  output logic [TagWidth-1:0]       tap_vector_tag_o
);
