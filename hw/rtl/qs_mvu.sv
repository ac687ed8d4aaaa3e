// Matrix-vector unit, folded: y = weight * x + bias, Pe outputs and Simd inputs a cycle.  Meaning: ir/interpret.py, Dense and Conv.
//
// For each of Groups groups in turn, a vector of Cols elements arrives in Cols/Simd beats and Rows results leave in Rows/Pe
// beats: Groups * (Rows/Pe) * (Cols/Simd) cycles in all.  The vector is kept for the second and later turns (`replay`).
// Sums are taken modulo 2**OutWidth; the final ones fit (ir/infer.py proves it), so they are exact.
// Memories: one word for each cycle, weight (pe, simd) at bits (pe*Simd + simd)*WeightWidth; one bias word for each beat of results.
//
// Products and Magnitude: what multiplies and how weights are stored, see qs_products.sv and, for ternary ones, qs_ternary.sv.
// Measured with Pe=4, Simd=16, Rows=32, Cols=144, unsigned 8-bit inputs, all parts included: LUT4 of ECP5 a product, after Yosys:
// weights of 1 and -1 17.1; ternary 18.7; 3 bits 30.1; 4 bits 40.7; 6 bits 62.7; 8 bits 84.7 in rows, 23.7 beside a multiplier each;
// 5 bits packed 21.1 beside half a multiplier.  With Simd=8 routed on ECP5 (speed 6): ternary 105 MHz, 4 bits 136 MHz.
// Pipeline: operands are read (in two clocks if from a buffer or from what may be a slow block RAM), products, sums, two levels
// of adders a clock, accumulators.  Where a vector takes more beats than that takes clocks (Free) nothing in it ever stands: only one result is
// under way at a time, and the beat that would end a second one waits.  Else the whole stands while a result waits.
module qs_mvu #(
  parameter int unsigned Groups      = 1,
  parameter int unsigned Rows        = 4,
  parameter int unsigned Cols        = 4,
  parameter int unsigned Pe          = 1,
  parameter int unsigned Simd        = 1,
  parameter int unsigned InWidth     = 8,
  parameter bit          InSigned    = 1,
  parameter int unsigned InMax       = InSigned ? 1 << (InWidth - 1) : (1 << InWidth) - 1,  // largest magnitude of an input
  parameter int unsigned WeightWidth = 8,
  parameter int unsigned ProdWidth   = InWidth + WeightWidth,   // of a product, signed
  parameter int unsigned BiasWidth   = 8,   // signed
  parameter int unsigned OutWidth    = 20,
  parameter int unsigned Products    = 0,   // 0 *, 1 rows of adders, 2 multiplier blocks, 3 two products in each
  parameter bit          Magnitude   = 0,   // weights as sign and magnitude, else in two's complement
  parameter int unsigned Weights     = 0,   // kept: 0 as the tool likes, 1 logic, 2 distributed RAM, 3 block RAM
  parameter              WeightFile  = "",
  parameter              BiasFile    = ""
) (
  input  logic                    clk_i,
  input  logic                    rst_ni,
  input  logic                    s_valid_i,
  output logic                    s_ready_o,
  input  logic [Simd*InWidth-1:0] s_data_i,
  output logic                    m_valid_o,
  input  logic                    m_ready_i,
  output logic [Pe*OutWidth-1:0]  m_data_o
);
  localparam int unsigned Turns       = Rows / Pe;
  localparam int unsigned Beats       = Cols / Simd;
  localparam int unsigned Words       = Groups * Turns * Beats;
  localparam int unsigned WordWidth   = Pe * Simd * WeightWidth;
  localparam int unsigned TurnWidth   = Turns > 1 ? $clog2(Turns) : 1;
  localparam int unsigned BeatWidth   = Beats > 1 ? $clog2(Beats) : 1;
  localparam int unsigned AddrWidth   = Words > 1 ? $clog2(Words) : 1;
  localparam bit          Plain       = Words == 1;   // constant weights: synthesis folds them
  localparam bit          Extra       = Turns > 1 || (Words > 1 && (Weights == 3 || Words * WordWidth > 2048));
  localparam int unsigned TreeStages  = ($clog2(Simd) + 1) / 2;
  localparam int unsigned MagRows     = Magnitude ? WeightWidth - 1 : WeightWidth;
  localparam int unsigned ProdStages  = Products != 1 ? 1 : MagRows == 0 ? 0 : MagRows < 5 ? 1 : (MagRows + 1) / 3;
  localparam int unsigned DotStages   = Products == 1 && Magnitude && WeightWidth == 2 ? (Simd + 3) / 4 : ProdStages + TreeStages;
  localparam bit          Free        = Beats > DotStages + 2 + (Extra ? 1 : 0);
  typedef logic [TurnWidth-1:0] turn_t;
  typedef logic [BeatWidth-1:0] beat_t;
  typedef logic [AddrWidth-1:0] addr_t;

  // Where in the matrix the next cycle's products stand.
  turn_t turn;
  beat_t beat;
  addr_t addr;
  logic  go, full, issue, last_beat;

  assign issue     = go && !(last_beat && full) && (turn != '0 || s_valid_i);
  assign s_ready_o = go && !(last_beat && full) && turn == '0;
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
      turn <= '0;
      beat <= '0;
      addr <= '0;
    end else if (issue) begin
      beat <= last_beat ? '0 : beat + beat_t'(1);
      addr <= addr == addr_t'(Words - 1) ? '0 : addr + addr_t'(1);
      if (last_beat) turn <= turn == turn_t'(Turns - 1) ? '0 : turn + turn_t'(1);
    end
  end

  // Operands.
  logic [Simd*InWidth-1:0] x2;
  logic [WordWidth-1:0]    w2;
  logic [2:0]              tag1, tag2, tag3;   // valid, first, last

  qs_weights #(.Depth(Words), .Width(WordWidth), .Kind(Weights), .Extra(Extra), .File(WeightFile)) u_weights (
    .clk_i, .en_i(go), .addr_i(addr), .data_o(w2), .load_valid_i(1'b0), .load_addr_i('0), .load_data_i('0));

  if (Turns > 1 && Beats > 1) begin : gen_replay  // read a clock after it is written, so what is new needs no way around
    logic [Simd*InWidth-1:0] replay [Beats];
    beat_t                   from;
    always_ff @(posedge clk_i) begin
      if (s_valid_i && s_ready_o) replay[beat] <= s_data_i;
    end
    always_ff @(posedge clk_i) begin
      if (go) from <= beat;
    end
    always_ff @(posedge clk_i) begin
      if (go) x2 <= replay[from];
    end
  end else begin : gen_no_replay
    logic [Simd*InWidth-1:0] x1;
    always_ff @(posedge clk_i) begin
      if (go && turn == '0) x1 <= s_data_i;
    end
    if (Extra) begin : gen_extra
      always_ff @(posedge clk_i) if (go) x2 <= x1;
    end else begin : gen_direct
      assign x2 = x1;
    end
  end

  always_ff @(posedge clk_i or negedge rst_ni) begin
    if (!rst_ni) tag1 <= '0;
    else if (go) tag1 <= {issue, beat == '0, last_beat};
  end

  if (Extra) begin : gen_extra_tag
    always_ff @(posedge clk_i or negedge rst_ni) begin
      if (!rst_ni) tag2 <= '0;
      else if (go) tag2 <= tag1;
    end
  end else begin : gen_direct_tag
    assign tag2 = tag1;
  end

  // Sums of products, and sums of those.
  logic [Pe*OutWidth-1:0] dot;
  logic [Pe-1:0]          carry;

  qs_dot #(.Pe(Pe), .Simd(Simd), .InWidth(InWidth), .InSigned(InSigned), .InMax(InMax), .WeightWidth(WeightWidth), .ProdWidth(ProdWidth),
           .OutWidth(OutWidth), .Products(Products), .Magnitude(Magnitude), .Plain(Plain), .Stages(DotStages)) u_dot (
    .clk_i, .rst_ni, .en_i(go), .x_i(x2), .w_i(w2), .tag_i(tag2), .sum_o(dot), .carry_o(carry), .tag_o(tag3));

  qs_accumulate #(.Pe(Pe), .Beats(Beats), .Words(Groups*Turns), .BiasWidth(BiasWidth), .OutWidth(OutWidth), .Plain(Plain), .BiasFile(BiasFile))
    u_accumulate (
    .clk_i, .rst_ni, .en_i(go), .valid_i(tag3[2]), .first_i(tag3[1]), .last_i(tag3[0]), .dot_i(dot), .carry_i(carry),
    .m_valid_o, .m_ready_i, .m_data_o);

`ifndef SYNTHESIS
  initial begin
    if (Groups == 0 || Pe == 0 || Simd == 0 || InWidth == 0 || WeightWidth == 0 || BiasWidth == 0 || OutWidth == 0)
      $fatal(1, "%m: every number is at least 1");
    if (Rows == 0 || Rows % Pe != 0) $fatal(1, "%m: Pe=%0d does not divide Rows=%0d", Pe, Rows);
    if (Cols == 0 || Cols % Simd != 0) $fatal(1, "%m: Simd=%0d does not divide Cols=%0d", Simd, Cols);
  end
`endif
endmodule
