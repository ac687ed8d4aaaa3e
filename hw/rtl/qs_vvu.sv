// Vector-vector unit, for depthwise convolutions: each channel has its own kernel.  Meaning: ir/interpret.py, Conv.
//
// For each of Blocks blocks of Lanes channels in turn, the Taps elements of the window arrive, Simd taps a beat of every lane
// (element (tap, lane) at bits (tap*Lanes + lane)*InWidth), and one beat of results leaves: Blocks * Taps/Simd cycles a
// window.  Sums are taken modulo 2**OutWidth; the final ones fit.
// Memories: one word for each beat, weight (lane, tap) at bits (lane*Simd + tap)*WeightWidth; one bias word for each block.
// Products, Magnitude, Weights and the pipeline: as in qs_mvu.sv.
module qs_vvu #(
  parameter int unsigned Lanes       = 1,
  parameter int unsigned Blocks      = 1,
  parameter int unsigned Taps        = 9,
  parameter int unsigned Simd        = 1,
  parameter int unsigned InWidth     = 8,
  parameter bit          InSigned    = 1,
  parameter int unsigned InMax       = InSigned ? 1 << (InWidth - 1) : (1 << InWidth) - 1,
  parameter int unsigned WeightWidth = 8,
  parameter int unsigned ProdWidth   = InWidth + WeightWidth,
  parameter int unsigned BiasWidth   = 8,   // signed
  parameter int unsigned OutWidth    = 20,
  parameter int unsigned Products    = 0,
  parameter bit          Magnitude   = 0,
  parameter int unsigned Weights     = 0,
  parameter              WeightFile  = "",
  parameter              BiasFile    = ""
) (
  input  logic                          clk_i,
  input  logic                          rst_ni,
  input  logic                          s_valid_i,
  output logic                          s_ready_o,
  input  logic [Simd*Lanes*InWidth-1:0] s_data_i,
  output logic                          m_valid_o,
  input  logic                          m_ready_i,
  output logic [Lanes*OutWidth-1:0]     m_data_o
);
  localparam int unsigned Beats      = Taps / Simd;
  localparam int unsigned Words      = Blocks * Beats;
  localparam int unsigned LaneWidth  = Simd * WeightWidth;
  localparam int unsigned WordWidth  = Lanes * LaneWidth;
  localparam int unsigned BeatWidth  = Beats > 1 ? $clog2(Beats) : 1;
  localparam int unsigned AddrWidth  = Words > 1 ? $clog2(Words) : 1;
  localparam bit          Plain      = Words == 1;
  localparam bit          Extra      = Words > 1 && (Weights == 3 || Words * WordWidth > 2048);
  localparam int unsigned TreeStages = ($clog2(Simd) + 1) / 2;
  localparam int unsigned MagRows    = Magnitude ? WeightWidth - 1 : WeightWidth;
  localparam int unsigned ProdStages = Products != 1 ? 1 : MagRows == 0 ? 0 : MagRows < 5 ? 1 : (MagRows + 1) / 3;
  localparam int unsigned DotStages  = Products == 1 && Magnitude && WeightWidth == 2 ? (Simd + 3) / 4 : ProdStages + TreeStages;
  localparam bit          Free       = Beats > DotStages + 2 + (Extra ? 1 : 0);
  typedef logic [BeatWidth-1:0] beat_t;
  typedef logic [AddrWidth-1:0] addr_t;

  beat_t beat;
  addr_t addr;
  logic  go, full, issue, last_beat;

  assign s_ready_o = go && !(last_beat && full);
  assign issue     = s_ready_o && s_valid_i;
  assign last_beat = beat == beat_t'(Beats - 1);

  if (Free) begin : gen_free
    assign go = 1'b1;
    always_ff @(posedge clk_i or negedge rst_ni) begin
      if (!rst_ni) full <= 1'b0;
      else full <= (issue && last_beat) || (full && !(m_valid_o && m_ready_i));
    end
  end else begin : gen_together
    assign go   = !m_valid_o || m_ready_i;
    assign full = 1'b0;
  end

  always_ff @(posedge clk_i or negedge rst_ni) begin
    if (!rst_ni) begin
      beat <= '0;
      addr <= '0;
    end else if (issue) begin
      beat <= last_beat ? '0 : beat + beat_t'(1);
      addr <= addr == addr_t'(Words - 1) ? '0 : addr + addr_t'(1);
    end
  end

  logic [Simd*Lanes*InWidth-1:0] x1, x2;
  logic [WordWidth-1:0]          w2;
  logic [2:0]                    tag1, tag2;   // valid, first, last

  qs_weights #(.Depth(Words), .Width(WordWidth), .Kind(Weights), .Extra(Extra), .File(WeightFile)) u_weights (
    .clk_i, .en_i(go), .addr_i(addr), .data_o(w2), .load_valid_i(1'b0), .load_addr_i('0), .load_data_i('0));

  always_ff @(posedge clk_i) if (go) x1 <= s_data_i;
  always_ff @(posedge clk_i or negedge rst_ni) begin
    if (!rst_ni) tag1 <= '0;
    else if (go) tag1 <= {issue, beat == '0, last_beat};
  end

  if (Extra) begin : gen_extra
    always_ff @(posedge clk_i) if (go) x2 <= x1;
    always_ff @(posedge clk_i or negedge rst_ni) begin
      if (!rst_ni) tag2 <= '0;
      else if (go) tag2 <= tag1;
    end
  end else begin : gen_direct
    assign x2   = x1;
    assign tag2 = tag1;
  end

  logic [Lanes*OutWidth-1:0] dot;
  logic [Lanes-1:0]          carry;
  logic [Lanes-1:0][2:0]     tags;             // all alike

  for (genvar l = 0; l < Lanes; l++) begin : gen_lane
    logic [Simd*InWidth-1:0] x;
    for (genvar t = 0; t < Simd; t++) begin : gen_tap
      assign x[t*InWidth+:InWidth] = x2[(t*Lanes+l)*InWidth+:InWidth];
    end
    qs_dot #(.Pe(1), .Simd(Simd), .InWidth(InWidth), .InSigned(InSigned), .InMax(InMax), .WeightWidth(WeightWidth), .ProdWidth(ProdWidth),
             .OutWidth(OutWidth), .Products(Products), .Magnitude(Magnitude), .Plain(Plain), .Stages(DotStages)) u_dot (
      .clk_i, .rst_ni, .en_i(go), .x_i(x), .w_i(w2[l*LaneWidth+:LaneWidth]), .tag_i(tag2), .sum_o(dot[l*OutWidth+:OutWidth]),
      .carry_o(carry[l]), .tag_o(tags[l]));
    if (l > 0) begin : gen_unused
      logic unused;
      assign unused = ^tags[l];
    end
  end

  qs_accumulate #(.Pe(Lanes), .Beats(Beats), .Words(Blocks), .BiasWidth(BiasWidth), .OutWidth(OutWidth), .Plain(Plain), .BiasFile(BiasFile))
    u_accumulate (
    .clk_i, .rst_ni, .en_i(go), .valid_i(tags[0][2]), .first_i(tags[0][1]), .last_i(tags[0][0]), .dot_i(dot), .carry_i(carry),
    .m_valid_o, .m_ready_i, .m_data_o);

`ifndef SYNTHESIS
  initial begin
    if (Lanes == 0 || Blocks == 0 || Taps == 0 || Simd == 0 || InWidth == 0 || WeightWidth == 0 || BiasWidth == 0 || OutWidth == 0)
      $fatal(1, "%m: every number is at least 1");
    if (Taps % Simd != 0) $fatal(1, "%m: Simd=%0d does not divide Taps=%0d", Simd, Taps);
  end
`endif
endmodule
