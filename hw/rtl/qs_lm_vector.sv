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
  parameter int unsigned        SlopeWidth   = 14,
  parameter int unsigned        SigmoidShift = 8,
  parameter logic signed [63:0] SigmoidLo    = 0,
  parameter logic signed [63:0] SigmoidHi    = 65535,
  parameter int unsigned        SiluShift    = 12,
  parameter logic signed [63:0] SiluLo       = -65536,
  parameter logic signed [63:0] SiluHi       = 65407,
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
  parameter int unsigned        BaseBits     = Layers * Dim > 1 ? $clog2(Layers * Dim) : 1,
  parameter int unsigned        GainBits     = GainRows > 1 ? $clog2(GainRows) : 1,
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
  localparam logic [2:0]  Raw      = 3'd0;
  localparam logic [2:0]  Forget   = 3'd1;
  localparam logic [2:0]  Input    = 3'd2;
  localparam logic [2:0]  Glu      = 3'd3;
  localparam logic [2:0]  Residual = 3'd4;
  localparam logic [2:0]  Embed    = 3'd5;
  localparam int unsigned XWidth   = ResWidth > VecWidth ? ResWidth : VecWidth;
  localparam int unsigned MoreRows = Layers * Dim;
  typedef logic [RowBits-1:0] row_t;

  // The command, and what of it is still to come.
  logic                   open, first, accept, s_take, e_take, begun, late;
  logic [2:0]             mode;
  row_t                   last;
  logic [FactorWidth-1:0] factor;
  logic [ShiftBits-1:0]   shift, product_shift;
  logic [4*ShiftBits-1:0] gain_shifts;
  logic [GainBits-1:0]    gain_base;
  logic [BaseBits-1:0]    base;
  logic                   all, fresh;
  assign cmd_ready_o = !open && !begun && (cmd_mode_i == Raw || cmd_mode_i == Forget || cmd_mode_i == Input || !late);
  assign accept      = cmd_valid_i && cmd_ready_o;
  assign s_ready_o   = open && mode != Embed && !hold_i;
  assign e_ready_o   = open && mode == Embed && !hold_i;
  assign s_take      = s_valid_i && s_ready_o;
  assign e_take      = e_valid_i && e_ready_o;
  always_ff @(posedge clk_i or negedge rst_ni) begin
    if (!rst_ni) open <= 1'b0;
    else if (accept) open <= 1'b1;
    else if ((s_take && s_row_i == last) || (e_take && e_row_i == last)) open <= 1'b0;
  end
  always_ff @(posedge clk_i) begin
    if (accept) begin
      mode          <= cmd_mode_i;
      last          <= cmd_rows_i - row_t'(1);
      factor        <= cmd_factor_i;
      shift         <= cmd_shift_i;
      product_shift <= cmd_product_i;
      gain_shifts   <= cmd_gain_shifts_i;
      gain_base     <= cmd_gain_base_i;
      base          <= cmd_base_i;
      all           <= cmd_all_i;
      fresh         <= cmd_fresh_i;
    end
    first <= accept || (first && !s_take && !e_take);
  end

  // Scale: ranks 0 to 6.
  logic                raw_valid, y_valid, y_first, y_busy, y_late, y_begun;
  row_t                raw_row, ahead_row, y_row;
  logic [AccWidth-1:0] raw_acc;
  logic [2:0]          y_mode;
  logic [YWidth-1:0]   y;
  qs_lm_epilogue #(
    .AccWidth   (AccWidth),
    .FactorWidth(FactorWidth),
    .SumWidth   (SumWidth),
    .RowBits    (RowBits),
    .ShiftBits  (ShiftBits),
    .ShiftLeast (ValueLeast),
    .ShiftMost  (ValueMost),
    .SquareMost (SquareMost),
    .ResWidth   (ResWidth),
    .GateWidth  (GateWidth),
    .PieceBits  (PieceBits)
  ) u_epilogue (
    .clk_i,
    .rst_ni,
    .mode_i     (mode),
    .factor_i   (factor),
    .shift_i    (shift),
    .valid_i    (s_take),
    .first_i    (s_take && first),
    .row_i      (s_row_i),
    .acc_i      (s_acc_i),
    .raw_valid_o(raw_valid),
    .raw_row_o  (raw_row),
    .raw_acc_o  (raw_acc),
    .ahead_row_o(ahead_row),
    .valid_o    (y_valid),
    .first_o    (y_first),
    .row_o      (y_row),
    .mode_o     (y_mode),
    .y_o        (y),
    .sum_o,
    .busy_o     (y_busy),
    .late_o     (y_late),
    .begun_o    (y_begun)
  );

  // First curve: ranks 7 to 11.
  logic [11:7]              c_valid, c_glu, c_valid_next;
  logic [9:7]               c_first, c_first_next;  // then it is in the product's or the recurrence's ranks, too
  logic                     c_busy, c_begun;
  logic [11:7][RowBits-1:0] c_row;
  logic [CurveWidth-1:0]    curve;
  assign c_valid_next = {c_valid[10:7], y_valid && y_mode != Residual};
  assign c_first_next = {c_first[8:7], y_first && y_mode != Residual};
  always_ff @(posedge clk_i or negedge rst_ni) begin
    if (!rst_ni) {c_valid, c_first, c_busy, c_begun} <= '0;
    else {c_valid, c_first, c_busy, c_begun} <= {c_valid_next, c_first_next, |c_valid_next, |c_first_next};
  end
  always_ff @(posedge clk_i) begin
    c_row <= {c_row[10:7], y_row};
    c_glu <= {c_glu[10:7], y_mode == Glu};
  end
  qs_lm_curve #(
    .InWidth   (GateWidth),
    .OutWidth  (CurveWidth),
    .PieceBits (PieceBits),
    .ValueWidth(ValueWidth),
    .SlopeWidth(SlopeWidth),
    .Curves    (2),
    .Shift     (SigmoidShift),
    .Shift1    (SiluShift),
    .Lo        (SigmoidLo),
    .Hi        (SigmoidHi),
    .Lo1       (SiluLo),
    .Hi1       (SiluHi),
    .File      (CurvesFile)
  ) u_curve (
    .clk_i,
    .x_i     (y[GateWidth-1:0]),
    .select_i(y_mode != Forget),
    .y_o     (curve)
  );

  // Recurrence: x in rank 11, the input of the second curve in 16.
  logic                 gate_valid, gate_first, state_busy, state_begun;
  logic                 forget_valid, state_valid;
  row_t                 state_row, gate_row;
  logic [Sigmoid-1:0]   forget;
  logic [StateWidth-1:0] state;
  logic [GateWidth-1:0] gate;
  qs_lm_state #(
    .Dim       (Dim),
    .Layers    (Layers),
    .RowBits   (RowBits),
    .BaseBits  (BaseBits),
    .XWidth    (CurveWidth),
    .Sigmoid   (Sigmoid),
    .State     (State),
    .Gate      (Gate),
    .StateWidth(StateWidth),
    .GateWidth (GateWidth),
    .PieceBits (PieceBits),
    .LowerFile (LowerFile)
  ) u_state (
    .clk_i,
    .rst_ni,
    .input_i       (mode == Input),
    .fresh_i       (fresh),
    .base_i        (base),
    .ahead_valid_i (c_valid[7] && !c_glu[7]),
    .ahead_first_i (c_first[7] && !c_glu[7]),
    .ahead_row_i   (c_row[7]),
    .x_i           (curve),
    .forget_valid_o(forget_valid),
    .state_valid_o (state_valid),
    .row_o         (state_row),
    .forget_o      (forget),
    .state_o       (state),
    .gate_valid_o  (gate_valid),
    .gate_first_o  (gate_first),
    .gate_row_o    (gate_row),
    .gate_o        (gate),
    .busy_o        (state_busy),
    .begun_o       (state_begun)
  );

  // Second curve: ranks 17 to 21.
  logic [21:17]              z_valid, z_valid_next;
  logic [19:17]              z_first, z_first_next;
  logic                      z_busy, z_begun;
  logic [21:17][RowBits-1:0] z_row;
  logic [GateWidth-1:0]      silu;
  assign z_valid_next = {z_valid[20:17], gate_valid};
  assign z_first_next = {z_first[18:17], gate_first};
  always_ff @(posedge clk_i or negedge rst_ni) begin
    if (!rst_ni) {z_valid, z_first, z_busy, z_begun} <= '0;
    else {z_valid, z_first, z_busy, z_begun} <= {z_valid_next, z_first_next, |z_valid_next, |z_first_next};
  end
  always_ff @(posedge clk_i) z_row <= {z_row[20:17], gate_row};
  qs_lm_curve #(
    .InWidth   (GateWidth),
    .OutWidth  (GateWidth),
    .PieceBits (PieceBits),
    .ValueWidth(ValueWidth),
    .SlopeWidth(SlopeWidth),
    .Shift     (SiluShift),
    .Lo        (SiluLo),
    .Hi        (SiluHi),
    .File      (SiluFile)
  ) u_silu (
    .clk_i,
    .x_i     (gate),
    .select_i(1'b0),
    .y_o     (silu)
  );

  // Product, of rank 11's curve (GLU) or of rank 21's.
  logic                w_valid, w_first, w_busy, w_begun, glu9, glu11;
  row_t                w_row;
  logic [VecWidth-1:0] w;
  assign glu9  = c_valid[9] && c_glu[9];
  assign glu11 = c_valid[11] && c_glu[11];
  qs_lm_gated #(
    .Depth     (Depth),
    .RowBits   (RowBits),
    .AccWidth  (AccWidth),
    .ZWidth    (GateWidth),
    .VecWidth  (VecWidth),
    .ShiftBits (ShiftBits),
    .ShiftLeast(ProductLeast),
    .ShiftMost (ProductMost)
  ) u_gated (
    .clk_i,
    .rst_ni,
    .shift_i      (product_shift),
    .a_valid_i    (raw_valid),
    .a_row_i      (raw_row),
    .a_i          (raw_acc),
    .ahead_valid_i(glu9 || z_valid[19]),
    .ahead_first_i((c_first[9] && c_glu[9]) || z_first[19]),
    .ahead_row_i  (glu9 ? c_row[9] : z_row[19]),
    .z_i          (glu11 ? curve[GateWidth-1:0] : silu),
    .valid_o      (w_valid),
    .first_o      (w_first),
    .row_o        (w_row),
    .w_o          (w),
    .busy_o       (w_busy),
    .begun_o      (w_begun)
  );

  // Residual: y in rank 6.
  logic                h_valid, h_first, h_busy, h_begun;
  row_t                h_row;
  logic [ResWidth-1:0] h;
  qs_lm_residual #(
    .Dim     (Dim),
    .RowBits (RowBits),
    .Width   (ResWidth),
    .EmbWidth(EmbWidth)
  ) u_residual (
    .clk_i,
    .rst_ni,
    .ahead_row_i(ahead_row),
    .y_valid_i  (y_valid && y_mode == Residual),
    .y_first_i  (y_first),
    .y_row_i    (y_row),
    .y_i        (y[ResWidth-1:0]),
    .e_valid_i  (e_take),
    .e_first_i  (first),
    .e_row_i,
    .e_i        (e_word_i),
    .valid_o    (h_valid),
    .first_o    (h_first),
    .row_o      (h_row),
    .h_o        (h),
    .busy_o     (h_busy),
    .begun_o    (h_begun)
  );

  // Gains.
  logic                  v_busy, v_begun;
  logic [3:0]            v_valid;
  row_t                  v_row;
  logic [4*VecWidth-1:0] v;
  qs_lm_gains #(
    .Dim       (Dim),
    .Depth     (Depth),
    .Lanes     (Lanes),
    .RowBits   (RowBits),
    .XWidth    (XWidth),
    .VecWidth  (VecWidth),
    .GainWidth (GainWidth),
    .GainRows  (GainRows),
    .MoreRows  (MoreRows),
    .ShiftBits (ShiftBits),
    .ShiftLeast(GainLeast),
    .ShiftMost (GainMost),
    .GainFile  (GainFile),
    .MoreFile  (MoreFile)
  ) u_gains (
    .clk_i,
    .rst_ni,
    .all_i        (all),
    .gain_base_i  (gain_base),
    .more_base_i  (base),
    .shifts_i     (gain_shifts),
    .valid_i      (h_valid || w_valid),
    .first_i      (h_first || w_first),
    .row_i        (h_valid ? h_row : w_row),
    .x_i          (h_valid ? XWidth'(signed'(h)) : XWidth'(signed'(w))),
    .v_valid_o    (v_valid),
    .v_row_o      (v_row),
    .v_o          (v),
    .tops_o,
    .busy_o       (v_busy),
    .begun_o      (v_begun),
    .read_vector_i,
    .read_addr_i,
    .read_data_o
  );

  // A command whose rows take a shorter way waits until the others have gone theirs.
  logic others;
  assign others = c_busy || state_busy || z_busy || w_busy || h_busy || v_busy;
  assign late   = others || y_late || (y_busy && mode != Raw);
  assign busy_o = open || y_busy || others;
  assign begun  = y_begun || c_begun || state_begun || z_begun || w_begun || h_begun || v_begun;

  if (Taps) begin : gen_taps
    logic [TagWidth-1:0] tag;
    always_ff @(posedge clk_i) if (accept) tag <= cmd_tag_i;
    assign {tap_value_valid_o, tap_value_row_o, tap_value_o}          = {y_valid, y_row, y};
    assign {tap_curve_valid_o, tap_curve_row_o, tap_curve_o}          = {c_valid[11], c_row[11], curve};
    assign {tap_forget_valid_o, tap_state_valid_o, tap_state_row_o}   = {forget_valid, state_valid, state_row};
    assign {tap_forget_o, tap_state_o}                                = {forget, state};
    assign {tap_silu_valid_o, tap_silu_row_o, tap_silu_o}             = {z_valid[21], z_row[21], silu};
    assign {tap_gated_valid_o, tap_gated_row_o, tap_gated_o}          = {w_valid, w_row, w};
    assign {tap_residual_valid_o, tap_residual_row_o, tap_residual_o} = {h_valid, h_row, h};
    assign {tap_vector_valid_o, tap_vector_row_o, tap_vector_o}       = {v_valid, v_row, v};
    // The tag of a tap is that of the command whose row 0 it was last.
    logic [6:0]               begins;
    logic [7*TagWidth-1:0]    tags, held;
    assign begins = {v_valid[0] && v_row == '0, h_valid && h_row == '0, w_valid && w_row == '0, z_valid[21] && z_row[21] == '0,
                     (forget_valid || state_valid) && state_row == '0, c_valid[11] && c_row[11] == '0, y_valid && y_row == '0};
    for (genvar k = 0; k < 7; k++) begin : gen_tag
      assign tags[k*TagWidth+:TagWidth] = begins[k] ? tag : held[k*TagWidth+:TagWidth];
    end
    always_ff @(posedge clk_i) held <= tags;
    assign {tap_vector_tag_o, tap_residual_tag_o, tap_gated_tag_o, tap_silu_tag_o, tap_state_tag_o, tap_curve_tag_o, tap_value_tag_o} = tags;
  end else begin : gen_no_taps
    assign {tap_value_valid_o, tap_value_row_o, tap_value_o}          = '0;
    assign {tap_curve_valid_o, tap_curve_row_o, tap_curve_o}          = '0;
    assign {tap_forget_valid_o, tap_state_valid_o, tap_state_row_o}   = '0;
    assign {tap_forget_o, tap_state_o}                                = '0;
    assign {tap_silu_valid_o, tap_silu_row_o, tap_silu_o}             = '0;
    assign {tap_gated_valid_o, tap_gated_row_o, tap_gated_o}          = '0;
    assign {tap_residual_valid_o, tap_residual_row_o, tap_residual_o} = '0;
    assign {tap_vector_valid_o, tap_vector_row_o, tap_vector_o}       = '0;
    assign {tap_vector_tag_o, tap_residual_tag_o, tap_gated_tag_o, tap_silu_tag_o, tap_state_tag_o, tap_curve_tag_o, tap_value_tag_o} = '0;
    logic unused;
    assign unused = ^{cmd_tag_i, forget_valid, state_valid, state_row, forget, state, v_valid, v_row, v, z_row[21], z_valid[21], c_row[11]};
  end

`ifndef SYNTHESIS
  initial begin
    if (Hidden == 0 || Layers == 0 || GainRows == 0) $fatal(1, "%m: Hidden=%0d Layers=%0d GainRows=%0d", Hidden, Layers, GainRows);
  end
`endif
endmodule
