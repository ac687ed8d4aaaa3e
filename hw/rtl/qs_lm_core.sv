// A MatMul-free language model, token by token: a microprogram leads weights, sums, vectors and scalars through its layers.
//
// A token is taken while the one before is through (token_ready_o); where its answer is wanted (token_head_i), one leaves on answer_*.
// token_first_i: the states before it count as zero, and the weights begin anew.  Meaning: ir/lm/expand.py.
//
// The microprogram (qs_lm_seq) has words {op, wait, payload}; units to wait for, from bit 0: vector path, codes of buffer 0, 1, 2,
// norm, scalar unit.  Ops and payloads, the first field highest, at the low end of the word:
//   0 END, 1 END where no answer is wanted       -
//   2 EMBED   rows of the token to the vectors   {matrix}
//   3 MATRIX  a product into the vector path     {mode, rows, beats, buf, factor, shift, product, gain_shifts, gain_base, base, all} (qs_lm_vector)
//   4 HEAD    a product into the head            {matrix}
//   5 QUANT   codes or norm of a vector          {norm, vec, buf, extra, count}: extra, the norm has the epsilon as one value more
//   6 SCALAR  an operation of qs_lm_scalar       {op, factor, top, shift, num}: the largest magnitude of vector `top` is its tv
// Taps: qs_lm_top.sv.
module qs_lm_core #(
  parameter int unsigned        Dim          = 8,
  parameter int unsigned        Hidden       = 12,
  parameter int unsigned        Layers       = 1,
  parameter int unsigned        Vocab        = 4,
  parameter int unsigned        Engines      = 1,
  parameter int unsigned        Trits        = 5,
  parameter int unsigned        Encoding     = 0,
  parameter int unsigned        Lanes        = 1,
  parameter int unsigned        ActWidth     = 8,
  parameter int unsigned        TopK         = 1,
  parameter bit                 Far          = 0,
  parameter bit                 Taps         = 1,
  parameter int unsigned        AddrWidth    = 32,
  parameter int unsigned        Burst        = 64,     // of the outer memory, in beats
  parameter int unsigned        Ahead        = 256,    // beats read ahead: a multiple of Burst, two at least
  parameter int unsigned        Limit        = 65536,  // cycles without weights after which the watchdog barks
  parameter int unsigned        WeightWords  = 16,     // beats of each engine, a token
  parameter int unsigned        ProgWords    = 4,
  // Words of the model.
  parameter int unsigned        AccWidth     = 12,
  parameter int unsigned        FactorWidth  = 20,
  parameter int unsigned        ResWidth     = 24,
  parameter int unsigned        VecWidth     = 26,
  parameter int unsigned        GainWidth    = 18,
  parameter int unsigned        EmbWidth     = 16,
  parameter int unsigned        ShareBits    = 12,
  parameter int unsigned        NormWidth    = 29,     // of the sum of squared shares
  parameter int unsigned        SquareWidth  = 27,     // of the sum of squared sums of g
  parameter int unsigned        NumWidth     = 40,     // of constants of the scalar unit
  parameter int unsigned        MulWidth     = 36,     // of those that are multiplied
  parameter int unsigned        Gate         = 12,
  parameter int unsigned        GateWidth    = 17,
  parameter int unsigned        PieceBits    = 8,
  parameter int unsigned        Sigmoid      = 16,
  parameter int unsigned        State        = 24,
  parameter int unsigned        StateWidth   = 32,
  parameter int unsigned        ValueWidth   = 30,
  parameter int unsigned        SlopeWidth   = 17,
  parameter int unsigned        SigmoidShift = 8,
  parameter logic signed [63:0] SigmoidLo    = 0,
  parameter logic signed [63:0] SigmoidHi    = 65535,
  parameter int unsigned        SiluShift    = 12,
  parameter logic signed [63:0] SiluLo       = -65536,
  parameter logic signed [63:0] SiluHi       = 65535,
  parameter int unsigned        ShiftBits    = 6,
  parameter int unsigned        ValueLeast   = 0,
  parameter int unsigned        ValueMost    = 63,
  parameter int unsigned        SquareMost   = 0,
  parameter int unsigned        ProductLeast = 0,
  parameter int unsigned        ProductMost  = 63,
  parameter int unsigned        GainLeast    = 0,
  parameter int unsigned        GainMost     = 63,
  parameter int unsigned        HeadShift    = 16,
  parameter int unsigned        GainRows     = 44,
  parameter                     WeightFile   = "",     // two digits, the number of the engine, and .mem are appended
  parameter                     ProgFile     = "",
  parameter                     GainFile     = "",
  parameter                     MoreFile     = "",
  parameter                     LowerFile    = "",
  parameter                     CurvesFile   = "",
  parameter                     SiluFile     = "",
  parameter                     EmbedFile    = "",
  parameter                     ExpFile      = "",
  // Follow from the others.
  parameter int unsigned        TokenBits    = Vocab > 1 ? $clog2(Vocab) : 1,
  parameter int unsigned        KBits        = $clog2(TopK + 1),
  parameter int unsigned        BeatBits     = Encoding == 1 ? 2 * Trits : Trits / 5 * 8,
  parameter int unsigned        TapWidth     = Lanes * ActWidth > 64 ? Lanes * ActWidth : 64
) (
  input  logic                              clk_i,
  input  logic                              rst_ni,
  input  logic                              token_valid_i,
  output logic                              token_ready_o,
  input  logic [TokenBits-1:0]              token_i,
  input  logic                              token_head_i,
  input  logic                              token_first_i,
  output logic                              answer_valid_o,
  input  logic                              answer_ready_i,
  output logic [TokenBits-1:0]              answer_o,
  input  logic                              seed_valid_i,
  input  logic [31:0]                       seed_i,
  input  logic [KBits-1:0]                  k_i,
  input  logic [15:0]                       invtemp_i,
  input  logic [Engines-1:0][AddrWidth-1:0] base_i,        // of the weights in the outer memory
  output logic [Engines-1:0]                m_axi_arvalid,
  input  logic [Engines-1:0]                m_axi_arready,
  output logic [Engines-1:0][AddrWidth-1:0] m_axi_araddr,
  output logic [Engines-1:0][7:0]           m_axi_arlen,
  output logic [Engines-1:0][2:0]           m_axi_arsize,
  output logic [Engines-1:0][1:0]           m_axi_arburst,
  input  logic [Engines-1:0]                m_axi_rvalid,
  output logic [Engines-1:0]                m_axi_rready,
  input  logic [Engines-1:0][BeatBits-1:0]  m_axi_rdata,
  input  logic [Engines-1:0][1:0]           m_axi_rresp,
  input  logic [Engines-1:0]                m_axi_rlast,
  output logic [2:0]                        errors_o,      // sticky: {watchdog, the memory answered with an error, illegal code}
  output logic [31:0]                       underruns_o,
  input  logic                              hold_i,        // the vector path stands still
  output logic [15:0]                       tap_valid_o,
  output logic [16*TapWidth-1:0]            tap_data_o
);
  localparam int unsigned Depth     = Hidden > Dim ? Hidden : Dim;              // of the longest vector
  localparam int unsigned Rows      = Vocab > Depth ? Vocab : Depth;            // of the tallest matrix
  localparam int unsigned RowBits   = $clog2(Rows + 1);
  localparam int unsigned VRowBits  = $clog2(Depth + 1);                        // as qs_lm_vector has them
  localparam int unsigned Beats     = (Depth + Trits - 1) / Trits;
  localparam int unsigned BeatsBits = $clog2(Beats + 1);
  localparam int unsigned GainBits  = GainRows > 1 ? $clog2(GainRows) : 1;
  localparam int unsigned BaseBits  = Layers * Dim > 1 ? $clog2(Layers * Dim) : 1;
  localparam int unsigned ReadBits  = Depth > Lanes ? $clog2((Depth + Lanes - 1) / Lanes) : 1;
  localparam int unsigned SeekBits  = WeightWords > 1 ? $clog2(WeightWords) : 1;
  localparam int unsigned DimBits   = Dim > 1 ? $clog2(Dim) : 1;
  localparam int unsigned TopWidth  = VecWidth - 1;
  localparam int unsigned RootWidth = (NormWidth + 8 > SquareWidth ? NormWidth + 9 : SquareWidth + 1) / 2;
  localparam int unsigned YWidth    = ResWidth > GateWidth ? ResWidth : GateWidth;
  localparam int unsigned CurveWidth = GateWidth > Sigmoid + 1 ? GateWidth : Sigmoid + 1;
  localparam int unsigned SeqOps    = 3, Units = 6;
  localparam logic [2:0]  EndUnlessHead = 3'd1, Embed = 3'd2, Matrix = 3'd3, Head = 3'd4, Quant = 3'd5, Scalar = 3'd6;   // ops

  typedef struct packed {
    logic [2:0]             mode;
    logic [RowBits-1:0]     rows;
    logic [BeatsBits-1:0]   beats;
    logic [1:0]             buf_id;
    logic [1:0]             factor;
    logic [ShiftBits-1:0]   shift;
    logic [ShiftBits-1:0]   product;
    logic [4*ShiftBits-1:0] gain_shifts;
    logic [GainBits-1:0]    gain_base;
    logic [BaseBits-1:0]    base;
    logic                   all;
  } matrix_t;
  typedef struct packed {
    logic                norm;
    logic [1:0]          vec;
    logic [1:0]          buf_id;
    logic                extra;
    logic [VRowBits-1:0] count;
  } quant_t;
  typedef struct packed {
    logic [1:0]           op;
    logic [1:0]           factor;
    logic [1:0]           top;
    logic [ShiftBits-1:0] shift;
    logic [NumWidth-1:0]  num;
  } scalar_t;
  // The bits of these, written out: Yosys knows $bits of no type.
  localparam int unsigned MatrixBits  = 8 + RowBits + BeatsBits + 6 * ShiftBits + GainBits + BaseBits;
  localparam int unsigned ScalarBits  = 6 + ShiftBits + NumWidth, QuantBits = 6 + VRowBits;
  localparam int unsigned PayloadBits = MatrixBits > ScalarBits ? MatrixBits : ScalarBits;

  // The microprogram.
  logic                   valid, ready, seq_ready, begin_token, fresh;
  logic [TokenBits-1:0]   token;
  logic [2:0]             op;
  logic [PayloadBits-1:0] payload;
  logic [Units-1:0]       busy;
  matrix_t                matrix;
  quant_t                 quant;
  scalar_t                scalar;
  assign matrix        = payload[MatrixBits-1:0];
  assign quant         = payload[QuantBits-1:0];
  assign scalar        = payload[ScalarBits-1:0];
  assign token_ready_o = seq_ready;
  assign begin_token   = token_valid_i && seq_ready;
  qs_lm_seq #(.Words(ProgWords), .OpBits(SeqOps), .Units(Units), .PayloadBits(PayloadBits), .File(ProgFile)) u_seq (
    .clk_i, .rst_ni, .start_i(begin_token), .head_i(token_head_i), .ready_o(seq_ready), .busy_i(busy), .m_valid_o(valid), .m_ready_i(ready),
    .m_op_o(op), .m_payload_o(payload)
  );
  always_ff @(posedge clk_i) if (begin_token) {fresh, token} <= {token_first_i, token_i};

  // Who is offered the command, and takes it.
  logic embed_valid, embed_ready, gemv_valid, gemv_ready, vector_valid, vector_ready, head_valid, head_ready;
  logic quant_valid, quant_ready, scalar_valid, scalar_ready, seek;
  assign embed_valid  = valid && op == Embed && vector_ready;
  assign gemv_valid   = valid && (op == Matrix ? vector_ready : op == Head && head_ready);
  assign vector_valid = valid && (op == Matrix ? gemv_ready : op == Embed && embed_ready);
  assign head_valid   = valid && op == Head && gemv_ready;
  assign quant_valid  = valid && op == Quant;
  assign scalar_valid = valid && op == Scalar;
  assign seek         = (valid && op == EndUnlessHead) || (begin_token && token_first_i);
  always_comb begin
    unique case (op)
      Embed:   ready = embed_ready && vector_ready;
      Matrix:  ready = gemv_ready && vector_ready;
      Head:    ready = gemv_ready && head_ready;
      Quant:   ready = quant_ready;
      Scalar:  ready = scalar_ready;
      default: ready = 1'b1;
    endcase
  end

  // Weights, a stream an engine.
  logic [Engines-1:0]               beat_valid, beat_ready, far_error, far_timeout;
  logic [Engines-1:0][BeatBits-1:0] beat;
  logic [Engines-1:0][31:0]         underruns;
  logic                             want;
  for (genvar e = 0; e < Engines; e++) begin : gen_weights
    logic seek_ready, unused_seek;
    assign unused_seek = seek_ready;   // always
    if (Far) begin : gen_far
      qs_lm_stream #(
        .BeatWidth(BeatBits), .Words(WeightWords), .DataWidth(BeatBits), .AddrWidth(AddrWidth), .Burst(Burst), .Depth(Ahead), .Limit(Limit)
      ) u_stream (
        .clk_i, .rst_ni, .base_i(base_i[e]), .c_valid_i(seek), .c_ready_o(seek_ready), .c_data_i('0), .want_i(want),
        .m_valid_o(beat_valid[e]), .m_ready_i(beat_ready[e]), .m_data_o(beat[e]),
        .m_axi_arvalid(m_axi_arvalid[e]), .m_axi_arready(m_axi_arready[e]), .m_axi_araddr(m_axi_araddr[e]), .m_axi_arlen(m_axi_arlen[e]),
        .m_axi_arsize(m_axi_arsize[e]), .m_axi_arburst(m_axi_arburst[e]), .m_axi_rvalid(m_axi_rvalid[e]), .m_axi_rready(m_axi_rready[e]),
        .m_axi_rdata(m_axi_rdata[e]), .m_axi_rresp(m_axi_rresp[e]), .m_axi_rlast(m_axi_rlast[e]),
        .underruns_o(underruns[e]), .error_o(far_error[e]), .timeout_o(far_timeout[e])
      );
    end else begin : gen_near
      logic unused;
      assign unused = ^{base_i[e], m_axi_arready[e], m_axi_rvalid[e], m_axi_rdata[e], m_axi_rresp[e], m_axi_rlast[e]};
      qs_lm_source #(.BeatWidth(BeatBits), .Words(WeightWords), .File({WeightFile, 8'(48 + e / 10), 8'(48 + e % 10), ".mem"})) u_source (
        .clk_i, .rst_ni, .c_valid_i(seek), .c_ready_o(seek_ready), .c_data_i(SeekBits'(0)), .m_valid_o(beat_valid[e]),
        .m_ready_i(beat_ready[e]), .m_data_o(beat[e])
      );
      assign {m_axi_arvalid[e], m_axi_araddr[e], m_axi_arlen[e], m_axi_arsize[e], m_axi_arburst[e], m_axi_rready[e]} = '0;
      assign {underruns[e], far_error[e], far_timeout[e]} = '0;
    end
  end
  always_comb begin
    underruns_o = '0;
    for (int e = 0; e < int'(Engines); e++) underruns_o = underruns_o + underruns[e];
  end

  // Sums: codes in, rows out, to the vector path or to the head.
  logic                            code_valid, row_valid, row_ready, to_head, vector_row_ready, head_row_ready, illegal, gemv_busy;
  logic [1:0]                      code_buf;
  logic [ReadBits-1:0]             code_addr;
  logic                            code_last, x_ready;
  logic [Lanes*ActWidth-1:0]       codes;
  logic [RowBits-1:0]              row;
  logic [AccWidth-1:0]             acc;
  qs_lm_gemv #(
    .Engines(Engines), .Trits(Trits), .ActWidth(ActWidth), .AccWidth(AccWidth), .Encoding(Encoding), .Lanes(Lanes), .Bufs(3), .Depth(Beats),
    .RowBits(RowBits)
  ) u_gemv (
    .clk_i, .rst_ni, .x_valid_i(code_valid), .x_ready_o(x_ready), .x_data_i({code_buf, code_addr == '0, codes}),
    .c_valid_i(gemv_valid), .c_ready_o(gemv_ready), .c_data_i({matrix.rows, matrix.beats, matrix.buf_id}),
    .s_valid_i(beat_valid), .s_ready_o(beat_ready), .s_data_i(beat), .want_o(want),
    .m_valid_o(row_valid), .m_ready_i(row_ready), .m_data_o({row, acc}), .busy_o(gemv_busy), .error_o(illegal)
  );
  assign row_ready = to_head ? head_row_ready : vector_row_ready;
  assign errors_o  = {|far_timeout, |far_error, illegal};
  always_ff @(posedge clk_i) if (gemv_valid && gemv_ready) to_head <= op == Head;

  // The vector path, and the rows of the embeddings.
  logic                      embed_row_valid, embed_row_ready, embed_error, embed_busy, vector_busy;
  logic [DimBits-1:0]        embed_row;
  logic [EmbWidth-1:0]       embed_word;
  logic [4*TopWidth-1:0]     tops;
  logic [SquareWidth-1:0]    square;
  logic [1:0]                read_vector;
  logic [ReadBits-1:0]       read_addr;
  logic [Lanes*VecWidth-1:0] read_data;
  logic [4*FactorWidth-1:0]  factors;
  qs_lm_embed #(.Vocab(Vocab), .Dim(Dim), .Width(EmbWidth), .TokenWidth(TokenBits), .File(EmbedFile)) u_embed (
    .clk_i, .rst_ni, .s_valid_i(embed_valid), .s_ready_o(embed_ready), .s_token_i(token), .m_valid_o(embed_row_valid),
    .m_ready_i(embed_row_ready), .m_index_o(embed_row), .m_word_o(embed_word), .error_o(embed_error), .busy_o(embed_busy)
  );

  logic                   value_valid, curve_valid, forget_valid, state_valid, silu_valid, gated_valid, residual_valid;
  logic [3:0]             vector_valids;
  logic [YWidth-1:0]      tap_value;
  logic [CurveWidth-1:0]  tap_curve;
  logic [Sigmoid-1:0]     tap_forget;
  logic [StateWidth-1:0]  tap_state;
  logic [GateWidth-1:0]   tap_silu;
  logic [VecWidth-1:0]    tap_gated;
  logic [ResWidth-1:0]    tap_residual;
  logic [4*VecWidth-1:0]  tap_vectors;
  logic [6:0][VRowBits-1:0] tap_rows;
  logic [6:0]             tap_tags;
  qs_lm_vector #(
    .Dim(Dim), .Hidden(Hidden), .Layers(Layers), .Lanes(Lanes), .AccWidth(AccWidth), .FactorWidth(FactorWidth), .ResWidth(ResWidth),
    .VecWidth(VecWidth), .GainWidth(GainWidth), .EmbWidth(EmbWidth), .SumWidth(SquareWidth), .Gate(Gate), .GateWidth(GateWidth),
    .PieceBits(PieceBits), .Sigmoid(Sigmoid), .State(State), .StateWidth(StateWidth), .ValueWidth(ValueWidth), .SlopeWidth(SlopeWidth),
    .SigmoidShift(SigmoidShift), .SigmoidLo(SigmoidLo), .SigmoidHi(SigmoidHi), .SiluShift(SiluShift), .SiluLo(SiluLo), .SiluHi(SiluHi),
    .ShiftBits(ShiftBits), .ValueLeast(ValueLeast), .ValueMost(ValueMost), .SquareMost(SquareMost), .ProductLeast(ProductLeast),
    .ProductMost(ProductMost), .GainLeast(GainLeast), .GainMost(GainMost), .GainRows(GainRows), .GainFile(GainFile), .MoreFile(MoreFile),
    .LowerFile(LowerFile), .CurvesFile(CurvesFile), .SiluFile(SiluFile), .Taps(Taps)
  ) u_vector (
    .clk_i, .rst_ni,
    .cmd_valid_i(vector_valid), .cmd_ready_o(vector_ready), .cmd_mode_i(matrix.mode), .cmd_rows_i(VRowBits'(matrix.rows)),
    .cmd_factor_i(factors[matrix.factor*FactorWidth+:FactorWidth]), .cmd_shift_i(matrix.shift), .cmd_product_i(matrix.product),
    .cmd_gain_shifts_i(matrix.gain_shifts), .cmd_gain_base_i(matrix.gain_base), .cmd_base_i(matrix.base), .cmd_all_i(matrix.all),
    .cmd_fresh_i(fresh), .cmd_tag_i(1'b0),
    .s_valid_i(row_valid && !to_head), .s_ready_o(vector_row_ready), .s_row_i(VRowBits'(row)), .s_acc_i(acc),
    .e_valid_i(embed_row_valid), .e_ready_o(embed_row_ready), .e_row_i(VRowBits'(embed_row)), .e_word_i(embed_word), .hold_i,
    .busy_o(vector_busy), .tops_o(tops), .sum_o(square),
    .read_vector_i(read_vector), .read_addr_i(read_addr), .read_data_o(read_data),
    .tap_value_valid_o(value_valid), .tap_value_row_o(tap_rows[0]), .tap_value_o(tap_value), .tap_value_tag_o(tap_tags[0]),
    .tap_curve_valid_o(curve_valid), .tap_curve_row_o(tap_rows[1]), .tap_curve_o(tap_curve), .tap_curve_tag_o(tap_tags[1]),
    .tap_forget_valid_o(forget_valid), .tap_state_valid_o(state_valid), .tap_state_row_o(tap_rows[2]), .tap_forget_o(tap_forget),
    .tap_state_o(tap_state), .tap_state_tag_o(tap_tags[2]),
    .tap_silu_valid_o(silu_valid), .tap_silu_row_o(tap_rows[3]), .tap_silu_o(tap_silu), .tap_silu_tag_o(tap_tags[3]),
    .tap_gated_valid_o(gated_valid), .tap_gated_row_o(tap_rows[4]), .tap_gated_o(tap_gated), .tap_gated_tag_o(tap_tags[4]),
    .tap_residual_valid_o(residual_valid), .tap_residual_row_o(tap_rows[5]), .tap_residual_o(tap_residual), .tap_residual_tag_o(tap_tags[5]),
    .tap_vector_valid_o(vector_valids), .tap_vector_row_o(tap_rows[6]), .tap_vector_o(tap_vectors), .tap_vector_tag_o(tap_tags[6])
  );

  // Codes and norms; what waits for a buffer of codes waits from the command to the last word.
  logic                 norm_valid, read, quant_busy;
  logic [NormWidth-1:0] norm_sum;
  logic [TopWidth-1:0]  norm_top, extra;
  logic [2:0]           filling;
  logic                 norming;
  qs_lm_quant #(
    .Lanes(Lanes), .VecWidth(VecWidth), .ActWidth(ActWidth), .ShareBits(ShareBits), .Depth(Depth), .SumWidth(NormWidth), .Read(2)
  ) u_quant (
    .clk_i, .rst_ni, .cmd_valid_i(quant_valid), .cmd_ready_o(quant_ready), .cmd_norm_i(quant.norm), .cmd_vec_i(quant.vec),
    .cmd_buf_i(quant.buf_id), .cmd_count_i(quant.count), .cmd_top_i(tops[quant.vec*TopWidth+:TopWidth]),
    .cmd_extra_i(quant.extra ? extra : '0), .read_o(read), .rvec_o(read_vector), .raddr_o(read_addr), .rdata_i(read_data),
    .code_valid_o(code_valid), .code_buf_o(code_buf), .code_addr_o(code_addr), .code_last_o(code_last), .code_data_o(codes),
    .norm_valid_o(norm_valid), .sum_o(norm_sum), .top_o(norm_top), .busy_o(quant_busy)
  );
  always_ff @(posedge clk_i or negedge rst_ni) begin
    if (!rst_ni) begin
      filling <= '0;
      norming <= 1'b0;
    end else begin
      if (code_valid && code_last) filling[code_buf] <= 1'b0;
      if (norm_valid) norming <= 1'b0;
      if (quant_valid && quant_ready) begin
        if (quant.norm) norming <= 1'b1;
        else filling[quant.buf_id] <= 1'b1;
      end
    end
  end

  // Roots, factors, epsilons.
  logic                   root_valid, factor_valid, extra_valid, scalar_busy;
  logic [RootWidth-1:0]   root;
  logic [FactorWidth-1:0] factor;
  qs_lm_scalar #(
    .VecWidth(VecWidth), .NumWidth(NumWidth), .MulWidth(MulWidth), .SumWidth(NormWidth), .SquareWidth(SquareWidth), .FactorWidth(FactorWidth),
    .ShiftBits(ShiftBits), .Regs(4)
  ) u_scalar (
    .clk_i, .rst_ni, .cmd_valid_i(scalar_valid), .cmd_ready_o(scalar_ready), .cmd_op_i(scalar.op), .cmd_reg_i(scalar.factor),
    .cmd_num_i(scalar.num), .cmd_shift_i(scalar.shift), .sum_i(norm_sum), .top_i(norm_top), .tv_i(tops[scalar.top*TopWidth+:TopWidth]),
    .square_i(square), .root_o(root), .root_valid_o(root_valid), .factor_o(factors), .factor_new_o(factor), .factor_valid_o(factor_valid),
    .extra_o(extra), .extra_valid_o(extra_valid), .busy_o(scalar_busy)
  );
  assign busy = {scalar_busy, norming, filling, vector_busy};

  // The answer.
  logic head_busy;
  qs_lm_head #(
    .TopK(TopK), .Vocab(Vocab), .AccWidth(AccWidth), .FactorWidth(FactorWidth), .ShiftBits(ShiftBits), .ExpFile(ExpFile)
  ) u_head (
    .clk_i, .rst_ni, .seed_valid_i, .seed_i, .cmd_valid_i(head_valid), .cmd_ready_o(head_ready), .cmd_k_i(k_i), .cmd_invtemp_i(invtemp_i),
    .factor_i(factors[FactorWidth-1:0]), .shift_i(ShiftBits'(HeadShift)), .s_valid_i(row_valid && to_head), .s_ready_o(head_row_ready),
    .s_row_i(TokenBits'(row)), .s_acc_i(acc), .m_valid_o(answer_valid_o), .m_ready_i(answer_ready_i), .m_token_o(answer_o), .busy_o(head_busy)
  );

  // Taps: a value each, sign-extended; codes as they are.
  if (Taps) begin : gen_taps
    logic [16*64-1:0] values;   // flat: Yosys misreads packed arrays of packed words in a generate block
    always_comb begin
      values = '0;
      values[0*64+:64]  = 64'(signed'(tap_residual));
      values[1*64+:64]  = 64'(signed'(tap_vectors[0*VecWidth+:VecWidth]));
      values[2*64+:64]  = 64'(signed'(tap_vectors[1*VecWidth+:VecWidth]));
      values[3*64+:64]  = 64'(signed'(tap_vectors[2*VecWidth+:VecWidth]));
      values[4*64+:64]  = 64'(signed'(tap_vectors[3*VecWidth+:VecWidth]));
      values[6*64+:64]  = 64'(signed'(acc));
      values[7*64+:64]  = 64'(signed'(tap_value));
      values[8*64+:64]  = 64'(signed'(tap_curve));
      values[9*64+:64]  = 64'(tap_forget);
      values[10*64+:64] = 64'(signed'(tap_state));
      values[11*64+:64] = 64'(signed'(tap_silu));
      values[12*64+:64] = 64'(signed'(tap_gated));
      values[13*64+:64] = 64'(root);
      values[14*64+:64] = 64'(factor);
      values[15*64+:64] = 64'(extra);
      for (int g = 0; g < 16; g++) tap_data_o[g*int'(TapWidth)+:TapWidth] = g == 5 ? TapWidth'(codes) : TapWidth'(values[g*64+:64]);
    end
    assign tap_valid_o = {extra_valid, factor_valid, root_valid, gated_valid, silu_valid, state_valid, forget_valid, curve_valid, value_valid,
                          row_valid && row_ready, code_valid, vector_valids[3], vector_valids[2], vector_valids[1], vector_valids[0], residual_valid};
  end else begin : gen_no_taps
    logic unused_taps;
    assign unused_taps = ^{root, root_valid, factor, factor_valid, extra_valid, value_valid, tap_value, curve_valid, tap_curve, forget_valid, tap_forget,
                           state_valid, tap_state, silu_valid, tap_silu, gated_valid, tap_gated, residual_valid, tap_residual, vector_valids, tap_vectors};
    assign tap_valid_o = '0;
    assign tap_data_o  = '0;
  end

  logic unused;   // a token is known to be in the vocabulary; what else is busy follows from who waits for whom
  assign unused = ^{embed_error, embed_busy, gemv_busy, quant_busy, head_busy, read, x_ready, tap_rows, tap_tags, want};

`ifndef SYNTHESIS
  initial begin
    if (MatrixBits != $bits(matrix_t) || ScalarBits != $bits(scalar_t) || QuantBits != $bits(quant_t)) $fatal(1, "%m: a command has other fields");
    if (TopK > Vocab) $fatal(1, "%m: TopK=%0d of %0d tokens", TopK, Vocab);
    if (Engines == 0 || Lanes == 0 || Trits % Lanes != 0) $fatal(1, "%m: Engines=%0d Lanes=%0d Trits=%0d", Engines, Lanes, Trits);
  end
`endif
endmodule
