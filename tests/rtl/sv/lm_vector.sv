// qs_lm_vector driven by streams: commands, the largest magnitudes and the sum after them, reads of vectors; every tap a stream.
//
// c_data_i is {kind, mode, rows, factor, shift, product, gain shifts, gain base, base, all, fresh, tag, vector, address}; kind 0 is a
// command at once, 1 one when nothing is busy, 2 asks for {tops, sum} when nothing is busy, 3 for a word of a vector.
module lm_vector #(
  parameter int unsigned        Dim          = 8,
  parameter int unsigned        Hidden       = 12,
  parameter int unsigned        Layers       = 2,
  parameter int unsigned        Lanes        = 2,
  parameter int unsigned        AccWidth     = 17,
  parameter int unsigned        FactorWidth  = 20,
  parameter int unsigned        ResWidth     = 24,
  parameter int unsigned        VecWidth     = 26,
  parameter int unsigned        GainWidth    = 18,
  parameter int unsigned        EmbWidth     = 16,
  parameter int unsigned        SumWidth     = 52,
  parameter int unsigned        Gate         = 12,
  parameter int unsigned        GateWidth    = 17,
  parameter int unsigned        PieceBits    = 8,
  parameter int unsigned        Sigmoid      = 16,
  parameter int unsigned        State        = 24,
  parameter int unsigned        StateWidth   = 32,
  parameter int unsigned        ValueWidth   = 30,
  parameter int unsigned        SlopeWidth   = 14,
  parameter int unsigned        SigmoidShift = 8,
  parameter logic signed [63:0] SigmoidLo    = 0,
  parameter logic signed [63:0] SigmoidHi    = 65535,
  parameter int unsigned        SiluShift    = 12,
  parameter logic signed [63:0] SiluLo       = -65536,
  parameter logic signed [63:0] SiluHi       = 65407,
  parameter int unsigned        ShiftBits    = 6,
  parameter int unsigned        ValueLeast   = 0,
  parameter int unsigned        ValueMost    = 63,
  parameter int unsigned        SquareMost   = 0,
  parameter int unsigned        ProductLeast = 0,
  parameter int unsigned        ProductMost  = 63,
  parameter int unsigned        GainLeast    = 0,
  parameter int unsigned        GainMost     = 63,
  parameter int unsigned        GainRows     = 16,
  parameter                     GainFile     = "",
  parameter                     MoreFile     = "",
  parameter                     LowerFile    = "",
  parameter                     CurvesFile   = "",
  parameter                     SiluFile     = "",
  parameter int unsigned        TagWidth     = 4,
  parameter int unsigned        RowBits      = 4,
  parameter int unsigned        BaseBits     = 4,
  parameter int unsigned        GainBits     = 4,
  parameter int unsigned        ReadBits     = 3,
  parameter int unsigned        YWidth       = 24,
  parameter int unsigned        CurveWidth   = 17,
  parameter int unsigned        CmdBits      = 2 + 3 + RowBits + FactorWidth + 6 * ShiftBits + GainBits + BaseBits + 2 + TagWidth + 2 + ReadBits
) (
  input  logic                                   clk_i,
  input  logic                                   rst_ni,
  input  logic                                   c_valid_i,
  output logic                                   c_ready_o,
  input  logic [CmdBits-1:0]                     c_data_i,
  input  logic                                   s_valid_i,
  output logic                                   s_ready_o,
  input  logic [RowBits+AccWidth-1:0]            s_data_i,
  input  logic                                   e_valid_i,
  output logic                                   e_ready_o,
  input  logic [RowBits+EmbWidth-1:0]            e_data_i,
  output logic                                   top_valid_o,
  input  logic                                   top_ready_i,
  output logic [4*VecWidth-4+SumWidth-1:0]       top_data_o,
  output logic                                   read_valid_o,
  input  logic                                   read_ready_i,
  output logic [Lanes*VecWidth-1:0]              read_data_o,
  output logic                                   value_valid_o,
  input  logic                                   value_ready_i,
  output logic [TagWidth+RowBits+YWidth-1:0]     value_data_o,
  output logic                                   curve_valid_o,
  input  logic                                   curve_ready_i,
  output logic [TagWidth+RowBits+CurveWidth-1:0] curve_data_o,
  output logic                                   forget_valid_o,
  input  logic                                   forget_ready_i,
  output logic [TagWidth+RowBits+Sigmoid-1:0]    forget_data_o,
  output logic                                   state_valid_o,
  input  logic                                   state_ready_i,
  output logic [TagWidth+RowBits+StateWidth-1:0] state_data_o,
  output logic                                   silu_valid_o,
  input  logic                                   silu_ready_i,
  output logic [TagWidth+RowBits+GateWidth-1:0]  silu_data_o,
  output logic                                   gated_valid_o,
  input  logic                                   gated_ready_i,
  output logic [TagWidth+RowBits+VecWidth-1:0]   gated_data_o,
  output logic                                   residual_valid_o,
  input  logic                                   residual_ready_i,
  output logic [TagWidth+RowBits+ResWidth-1:0]   residual_data_o,
  output logic                                   vector_valid_o,
  input  logic                                   vector_ready_i,
  output logic [TagWidth+4+RowBits+4*VecWidth-1:0] vector_data_o
);
  localparam int unsigned TapDepth = 64;
  localparam int unsigned Room     = 40;  // values that may still come when the entrance is held

  logic [1:0]                kind, vector;
  logic [2:0]                mode;
  logic [RowBits-1:0]        rows, tap_value_row, tap_curve_row, tap_state_row, tap_silu_row, tap_gated_row, tap_residual_row, tap_vector_row;
  logic [FactorWidth-1:0]    factor;
  logic [ShiftBits-1:0]      shift, product;
  logic [4*ShiftBits-1:0]    gain_shifts;
  logic [GainBits-1:0]       gain_base;
  logic [BaseBits-1:0]       base;
  logic                      all, fresh, busy, cmd_valid, cmd_ready;
  logic [TagWidth-1:0]       tag, tap_value_tag, tap_curve_tag, tap_state_tag, tap_silu_tag, tap_gated_tag, tap_residual_tag, tap_vector_tag;
  logic [ReadBits-1:0]       address;
  logic [7:0]                tap, tap_ready, tap_taken;
  logic [3:0]                tap_vector;
  logic [4*(VecWidth-1)-1:0] tops;
  logic [SumWidth-1:0]       sum;
  logic [YWidth-1:0]         tap_value;
  logic [CurveWidth-1:0]     tap_curve;
  logic [Sigmoid-1:0]        tap_forget;
  logic [StateWidth-1:0]     tap_state;
  logic [GateWidth-1:0]      tap_silu;
  logic [VecWidth-1:0]       tap_gated;
  logic [ResWidth-1:0]       tap_residual;
  logic [4*VecWidth-1:0]     tap_vectors, made;
  assign {kind, mode, rows, factor, shift, product, gain_shifts, gain_base, base, all, fresh, tag, vector, address} = c_data_i;

  // Reads, one every four cycles.
  logic [1:0] reading;
  logic       read_start;
  assign cmd_valid    = c_valid_i && (kind == 2'd0 || (kind == 2'd1 && !busy));
  assign read_start   = c_valid_i && kind == 2'd3 && !busy && reading == 2'd0;
  assign top_valid_o  = c_valid_i && kind == 2'd2 && !busy;
  assign top_data_o   = {tops, sum};
  assign read_valid_o = reading == 2'd2;
  assign c_ready_o    = (cmd_valid && cmd_ready) || (top_valid_o && top_ready_i) || (read_valid_o && read_ready_i);
  always_ff @(posedge clk_i or negedge rst_ni) begin
    if (!rst_ni) reading <= 2'd0;
    else if (read_start) reading <= 2'd1;
    else if (reading == 2'd1) reading <= 2'd2;
    else if (read_ready_i) reading <= 2'd0;
  end

  logic hold;
  qs_lm_vector #(
    .Dim(Dim), .Hidden(Hidden), .Layers(Layers), .Lanes(Lanes), .AccWidth(AccWidth), .FactorWidth(FactorWidth), .ResWidth(ResWidth),
    .VecWidth(VecWidth), .GainWidth(GainWidth), .EmbWidth(EmbWidth), .SumWidth(SumWidth), .Gate(Gate), .GateWidth(GateWidth),
    .PieceBits(PieceBits), .Sigmoid(Sigmoid), .State(State), .StateWidth(StateWidth), .ValueWidth(ValueWidth), .SlopeWidth(SlopeWidth),
    .SigmoidShift(SigmoidShift), .SigmoidLo(SigmoidLo), .SigmoidHi(SigmoidHi), .SiluShift(SiluShift), .SiluLo(SiluLo), .SiluHi(SiluHi),
    .ShiftBits(ShiftBits), .ValueLeast(ValueLeast), .ValueMost(ValueMost), .SquareMost(SquareMost), .ProductLeast(ProductLeast),
    .ProductMost(ProductMost), .GainLeast(GainLeast), .GainMost(GainMost), .GainRows(GainRows), .GainFile(GainFile), .MoreFile(MoreFile),
    .LowerFile(LowerFile), .CurvesFile(CurvesFile), .SiluFile(SiluFile), .TagWidth(TagWidth), .Taps(1)
  ) u_vector (
    .clk_i, .rst_ni,
    .cmd_valid_i(cmd_valid), .cmd_ready_o(cmd_ready), .cmd_mode_i(mode), .cmd_rows_i(rows), .cmd_factor_i(factor), .cmd_shift_i(shift),
    .cmd_product_i(product), .cmd_gain_shifts_i(gain_shifts), .cmd_gain_base_i(gain_base), .cmd_base_i(base), .cmd_all_i(all),
    .cmd_fresh_i(fresh), .cmd_tag_i(tag),
    .s_valid_i, .s_ready_o, .s_row_i(s_data_i[AccWidth+:RowBits]), .s_acc_i(s_data_i[AccWidth-1:0]),
    .e_valid_i, .e_ready_o, .e_row_i(e_data_i[EmbWidth+:RowBits]), .e_word_i(e_data_i[EmbWidth-1:0]),
    .hold_i(hold), .busy_o(busy), .tops_o(tops), .sum_o(sum), .read_vector_i(vector), .read_addr_i(address), .read_data_o,
    .tap_value_valid_o(tap[0]), .tap_value_row_o(tap_value_row), .tap_value_o(tap_value), .tap_value_tag_o(tap_value_tag),
    .tap_curve_valid_o(tap[1]), .tap_curve_row_o(tap_curve_row), .tap_curve_o(tap_curve), .tap_curve_tag_o(tap_curve_tag),
    .tap_forget_valid_o(tap[2]), .tap_state_valid_o(tap[3]), .tap_state_row_o(tap_state_row), .tap_forget_o(tap_forget),
    .tap_state_o(tap_state), .tap_state_tag_o(tap_state_tag),
    .tap_silu_valid_o(tap[4]), .tap_silu_row_o(tap_silu_row), .tap_silu_o(tap_silu), .tap_silu_tag_o(tap_silu_tag),
    .tap_gated_valid_o(tap[5]), .tap_gated_row_o(tap_gated_row), .tap_gated_o(tap_gated), .tap_gated_tag_o(tap_gated_tag),
    .tap_residual_valid_o(tap[6]), .tap_residual_row_o(tap_residual_row), .tap_residual_o(tap_residual), .tap_residual_tag_o(tap_residual_tag),
    .tap_vector_valid_o(tap_vector), .tap_vector_row_o(tap_vector_row), .tap_vector_o(tap_vectors), .tap_vector_tag_o(tap_vector_tag)
  );
  assign tap[7]    = |tap_vector;
  for (genvar j = 0; j < 4; j++) begin : gen_made
    assign made[j*VecWidth+:VecWidth] = tap_vector[j] ? tap_vectors[j*VecWidth+:VecWidth] : '0;
  end
  assign tap_taken = {vector_valid_o && vector_ready_i, residual_valid_o && residual_ready_i, gated_valid_o && gated_ready_i,
                      silu_valid_o && silu_ready_i, state_valid_o && state_ready_i, forget_valid_o && forget_ready_i,
                      curve_valid_o && curve_ready_i, value_valid_o && value_ready_i};

  // The entrance is held while a tap has no room for what is on its way; nothing may ever find a full one.
  logic [7:0] full;
  assign hold = |full;
  for (genvar k = 0; k < 8; k++) begin : gen_room
    logic [7:0] count;
    assign full[k] = count > 8'(TapDepth - Room);
    always_ff @(posedge clk_i or negedge rst_ni) begin
      if (!rst_ni) count <= '0;
      else begin
        count <= count + 8'(tap[k]) - 8'(tap_taken[k]);
        if (tap[k] && !tap_ready[k]) $error("tap %0d is full", k);
      end
    end
  end

  qs_fifo #(.DataWidth(TagWidth+RowBits+YWidth), .Depth(TapDepth)) u_value (
    .clk_i, .rst_ni, .s_valid_i(tap[0]), .s_ready_o(tap_ready[0]), .s_data_i({tap_value_tag, tap_value_row, tap_value}),
    .m_valid_o(value_valid_o), .m_ready_i(value_ready_i), .m_data_o(value_data_o));
  qs_fifo #(.DataWidth(TagWidth+RowBits+CurveWidth), .Depth(TapDepth)) u_curve (
    .clk_i, .rst_ni, .s_valid_i(tap[1]), .s_ready_o(tap_ready[1]), .s_data_i({tap_curve_tag, tap_curve_row, tap_curve}),
    .m_valid_o(curve_valid_o), .m_ready_i(curve_ready_i), .m_data_o(curve_data_o));
  qs_fifo #(.DataWidth(TagWidth+RowBits+Sigmoid), .Depth(TapDepth)) u_forget (
    .clk_i, .rst_ni, .s_valid_i(tap[2]), .s_ready_o(tap_ready[2]), .s_data_i({tap_state_tag, tap_state_row, tap_forget}),
    .m_valid_o(forget_valid_o), .m_ready_i(forget_ready_i), .m_data_o(forget_data_o));
  qs_fifo #(.DataWidth(TagWidth+RowBits+StateWidth), .Depth(TapDepth)) u_state (
    .clk_i, .rst_ni, .s_valid_i(tap[3]), .s_ready_o(tap_ready[3]), .s_data_i({tap_state_tag, tap_state_row, tap_state}),
    .m_valid_o(state_valid_o), .m_ready_i(state_ready_i), .m_data_o(state_data_o));
  qs_fifo #(.DataWidth(TagWidth+RowBits+GateWidth), .Depth(TapDepth)) u_silu (
    .clk_i, .rst_ni, .s_valid_i(tap[4]), .s_ready_o(tap_ready[4]), .s_data_i({tap_silu_tag, tap_silu_row, tap_silu}),
    .m_valid_o(silu_valid_o), .m_ready_i(silu_ready_i), .m_data_o(silu_data_o));
  qs_fifo #(.DataWidth(TagWidth+RowBits+VecWidth), .Depth(TapDepth)) u_gated (
    .clk_i, .rst_ni, .s_valid_i(tap[5]), .s_ready_o(tap_ready[5]), .s_data_i({tap_gated_tag, tap_gated_row, tap_gated}),
    .m_valid_o(gated_valid_o), .m_ready_i(gated_ready_i), .m_data_o(gated_data_o));
  qs_fifo #(.DataWidth(TagWidth+RowBits+ResWidth), .Depth(TapDepth)) u_residual (
    .clk_i, .rst_ni, .s_valid_i(tap[6]), .s_ready_o(tap_ready[6]), .s_data_i({tap_residual_tag, tap_residual_row, tap_residual}),
    .m_valid_o(residual_valid_o), .m_ready_i(residual_ready_i), .m_data_o(residual_data_o));
  qs_fifo #(.DataWidth(TagWidth+4+RowBits+4*VecWidth), .Depth(TapDepth)) u_vectors (
    .clk_i, .rst_ni, .s_valid_i(tap[7]), .s_ready_o(tap_ready[7]), .s_data_i({tap_vector_tag, tap_vector, tap_vector_row, made}),
    .m_valid_o(vector_valid_o), .m_ready_i(vector_ready_i), .m_data_o(vector_data_o));
endmodule
