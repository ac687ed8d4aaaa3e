// A MatMul-free language model on a chip: registers on AXI4-Lite, prompt tokens in and made tokens out on AXI4-Stream, every
// intermediate on taps.  The registers stand in qs_lm_regs.sv, the way of a run in qs_lm_run.sv, the computation in qs_lm_core.sv.
//
// One run: write TOKENS (and K, INVTEMP, SEED), write CONTROL = 1, send the prompt on s_axis (32-bit words, one token each, TLAST with
// the last), take TOKENS words from m_axis (TLAST with the last); STATUS then says done.
//
// Taps.  In a cycle with tap_valid_o[g] the next beat of group g stands at tap_data_o[g * TapWidth +: TapWidth]: one value, sign-extended
// to 64 bits, or for codes Lanes values of ActWidth bits each, the lowest first.  Groups, and what they show for each token, in order:
//    0 residual  embeddings; of each layer attn residual, mlp residual
//    1 vector 0  of each layer g_proj.in, o_proj.in, gate_proj.in, down_proj.in; lm_head.in
//    2 vector 1  of each layer f_proj.in                               3 vector 2  of each layer i_proj.in
//    4 unit      of each layer attn norm.u, attn gated.norm.u, mlp norm.u, mlp gated.norm.u; norm.u
//    5 codes     of each layer g, f, i, o, gate, down; lm_head
//    6 sums      of each layer g, f, i, o, gate rows v, gate rows u, down; lm_head
//    7 value     of each layer f, i, o, gate rows u, down              8 curve     of each layer f_proj.sigmoid, i_proj.silu, mlp silu
//    9 forget    10 state    11 state.silu                            12 gated     of each layer attn gated, mlp gated
//   13 root      of each norm                                         14 factor    of each layer f, i, o, gate, down; lm_head
//   15 eps       of each layer attn gated.eps, mlp gated.eps
// A token whose answer is not wanted shows no codes, sums, root and factor of the head; root and factor are computed where TopK > 1.
// manifest.json of a design lists the same with sizes ("taps").
// m_axis_tap carries the beats of the group that register TAP names; the vector path stands still while it is not taken.  A beat of another unit
// that finds no room is lost, and TLAST marks the next one.
module qs_lm_top #(
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
  parameter logic [31:0]        Model        = '0,
  // Follow from the others.
  parameter int unsigned        BeatBits     = Encoding == 1 ? 2 * Trits : Trits / 5 * 8,
  parameter int unsigned        TapWidth     = Lanes * ActWidth > 64 ? Lanes * ActWidth : 64
) (
  input  logic                              clk_i,
  input  logic                              rst_ni,
  input  logic                              s_axil_awvalid,
  output logic                              s_axil_awready,
  input  logic [7:0]                        s_axil_awaddr,
  input  logic                              s_axil_wvalid,
  output logic                              s_axil_wready,
  input  logic [31:0]                       s_axil_wdata,
  input  logic [3:0]                        s_axil_wstrb,
  output logic                              s_axil_bvalid,
  input  logic                              s_axil_bready,
  output logic [1:0]                        s_axil_bresp,
  input  logic                              s_axil_arvalid,
  output logic                              s_axil_arready,
  input  logic [7:0]                        s_axil_araddr,
  output logic                              s_axil_rvalid,
  input  logic                              s_axil_rready,
  output logic [31:0]                       s_axil_rdata,
  output logic [1:0]                        s_axil_rresp,
  input  logic                              s_axis_tvalid,
  output logic                              s_axis_tready,
  input  logic [31:0]                       s_axis_tdata,
  input  logic                              s_axis_tlast,
  output logic                              m_axis_tvalid,
  input  logic                              m_axis_tready,
  output logic [31:0]                       m_axis_tdata,
  output logic                              m_axis_tlast,
  output logic [Engines-1:0]                m_axi_arvalid,  // AXI4 read masters, engine 0 lowest; nothing without Far
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
  output logic [15:0]                       tap_valid_o,
  output logic [16*TapWidth-1:0]            tap_data_o,
  output logic                              m_axis_tap_tvalid,
  input  logic                              m_axis_tap_tready,
  output logic [TapWidth-1:0]               m_axis_tap_tdata,
  output logic                              m_axis_tap_tlast
);

  localparam int unsigned TokenBits = Vocab > 1 ? $clog2(Vocab) : 1;
  localparam int unsigned KBits     = $clog2(TopK + 1);

  // Registers.
  logic                     start, keep, core_rst_n, busy, done, outside;
  logic [31:0]              tokens, k, seed, tap, prompt, made, last, underruns;
  logic [15:0]              invtemp;
  logic [Engines-1:0][63:0] base;
  logic [2:0]               errors;
  qs_lm_regs #(.Engines(Engines), .Model(Model)) u_regs (
    .clk_i, .rst_ni, .s_axil_awvalid, .s_axil_awready, .s_axil_awaddr, .s_axil_wvalid, .s_axil_wready, .s_axil_wdata, .s_axil_wstrb,
    .s_axil_bvalid, .s_axil_bready, .s_axil_bresp, .s_axil_arvalid, .s_axil_arready, .s_axil_araddr, .s_axil_rvalid, .s_axil_rready,
    .s_axil_rdata, .s_axil_rresp, .start_o(start), .keep_o(keep), .tokens_o(tokens), .k_o(k), .invtemp_o(invtemp), .seed_o(seed), .tap_o(tap),
    .base_o(base), .core_rst_no(core_rst_n), .busy_i(busy), .done_i(done), .errors_i({outside, errors}), .prompt_i(prompt), .made_i(made),
    .last_i(last), .underruns_i(underruns)
  );

  // Tokens.
  logic                 token_valid, token_ready, token_head, token_first, answer_valid, answer_ready;
  logic [TokenBits-1:0] token, answer;
  qs_lm_run #(.Vocab(Vocab)) u_run (
    .clk_i, .rst_ni(core_rst_n), .start_i(start), .keep_i(keep), .tokens_i(tokens), .error_i(|errors), .busy_o(busy), .done_o(done),
    .outside_o(outside), .prompt_o(prompt), .made_o(made), .last_o(last), .s_axis_tvalid, .s_axis_tready, .s_axis_tdata, .s_axis_tlast,
    .m_axis_tvalid, .m_axis_tready, .m_axis_tdata, .m_axis_tlast, .token_valid_o(token_valid), .token_ready_i(token_ready), .token_o(token),
    .token_head_o(token_head), .token_first_o(token_first), .answer_valid_i(answer_valid), .answer_ready_o(answer_ready), .answer_i(answer)
  );

  // The core.  More candidates than there are cells are as many as there are; none counts as one.
  logic [KBits-1:0]                  candidates;
  logic [Engines-1:0][AddrWidth-1:0] bases;
  logic                              hold;
  assign candidates = k > 32'(TopK) ? KBits'(TopK) : k == '0 ? KBits'(1) : KBits'(k);
  for (genvar e = 0; e < Engines; e++) begin : gen_base
    assign bases[e] = AddrWidth'(base[e]);
  end
  qs_lm_core #(
    .Dim(Dim), .Hidden(Hidden), .Layers(Layers), .Vocab(Vocab), .Engines(Engines), .Trits(Trits), .Encoding(Encoding), .Lanes(Lanes),
    .ActWidth(ActWidth), .TopK(TopK), .Far(Far), .Taps(Taps), .AddrWidth(AddrWidth), .Burst(Burst), .Ahead(Ahead), .Limit(Limit),
    .WeightWords(WeightWords), .ProgWords(ProgWords), .AccWidth(AccWidth), .FactorWidth(FactorWidth), .ResWidth(ResWidth), .VecWidth(VecWidth),
    .GainWidth(GainWidth), .EmbWidth(EmbWidth), .ShareBits(ShareBits), .NormWidth(NormWidth), .SquareWidth(SquareWidth), .NumWidth(NumWidth),
    .MulWidth(MulWidth), .Gate(Gate), .GateWidth(GateWidth), .PieceBits(PieceBits), .Sigmoid(Sigmoid), .State(State), .StateWidth(StateWidth),
    .ValueWidth(ValueWidth), .SlopeWidth(SlopeWidth), .SigmoidShift(SigmoidShift), .SigmoidLo(SigmoidLo), .SigmoidHi(SigmoidHi),
    .SiluShift(SiluShift), .SiluLo(SiluLo), .SiluHi(SiluHi), .ShiftBits(ShiftBits), .ValueLeast(ValueLeast), .ValueMost(ValueMost),
    .SquareMost(SquareMost), .ProductLeast(ProductLeast), .ProductMost(ProductMost), .GainLeast(GainLeast), .GainMost(GainMost),
    .HeadShift(HeadShift), .GainRows(GainRows), .WeightFile(WeightFile), .ProgFile(ProgFile), .GainFile(GainFile), .MoreFile(MoreFile),
    .LowerFile(LowerFile), .CurvesFile(CurvesFile), .SiluFile(SiluFile), .EmbedFile(EmbedFile), .ExpFile(ExpFile)
  ) u_core (
    .clk_i, .rst_ni(core_rst_n), .token_valid_i(token_valid), .token_ready_o(token_ready), .token_i(token), .token_head_i(token_head),
    .token_first_i(token_first), .answer_valid_o(answer_valid), .answer_ready_i(answer_ready), .answer_o(answer), .seed_valid_i(start && !keep),
    .seed_i(seed), .k_i(candidates), .invtemp_i(invtemp), .base_i(bases), .m_axi_arvalid, .m_axi_arready, .m_axi_araddr, .m_axi_arlen,
    .m_axi_arsize, .m_axi_arburst, .m_axi_rvalid, .m_axi_rready, .m_axi_rdata, .m_axi_rresp, .m_axi_rlast, .errors_o(errors),
    .underruns_o(underruns), .hold_i(hold), .tap_valid_o, .tap_data_o
  );

  // One group of taps as a stream.
  if (Taps) begin : gen_tap
    qs_lm_tap #(.Groups(16), .Width(TapWidth)) u_tap (
      .clk_i, .rst_ni(core_rst_n), .enable_i(tap[31]), .select_i(tap[4:0]), .tap_valid_i(tap_valid_o), .tap_data_i(tap_data_o), .hold_o(hold),
      .m_axis_tvalid(m_axis_tap_tvalid), .m_axis_tready(m_axis_tap_tready), .m_axis_tdata(m_axis_tap_tdata), .m_axis_tlast(m_axis_tap_tlast)
    );
  end else begin : gen_no_tap
    logic unused_tap;
    assign unused_tap = m_axis_tap_tready;
    assign {hold, m_axis_tap_tvalid, m_axis_tap_tdata, m_axis_tap_tlast} = '0;
  end
  logic unused;
  assign unused = ^{tap, base};
endmodule
