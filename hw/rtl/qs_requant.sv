// y = clamp(round_shift(x * mul, Shift) + Zero, Lo, Hi), ties towards +infinity.  Meaning: ir/ops.py, requant().
//
// MulFile has Rows lines; a line holds the multipliers (two's complement if MulSigned) of the Lanes of one beat, lane 0 in the lowest bits.
// The line advances every Repeat beats and wraps: per tensor Rows = 1; per channel, channels innermost, Rows = C / Lanes
// and Repeat = 1; per row of (T, C), Rows = T and Repeat = C / Lanes.  With Constant every multiplier is Mul, and a few
// additions of shifted x make the product; Split makes it of two halves of mul (products in LUTs, which are slow).
//
// What is rounded, with Zero, is always from Least to Most and has RoundWidth bits (signed): nothing beyond is computed.
// Three registers: x and mul; product, in two parts that are still to add; y.
module qs_requant #(
  parameter int unsigned        Lanes      = 1,
  parameter int unsigned        Rows       = 1,
  parameter int unsigned        Repeat     = 1,
  parameter int unsigned        InWidth    = 16,
  parameter bit                 InSigned   = 1,
  parameter int unsigned        OutWidth   = 8,
  parameter int unsigned        MulWidth   = 16,
  parameter bit                 MulSigned  = 0,
  parameter bit                 Constant   = 0,
  parameter logic signed [63:0] Mul        = 0,
  parameter bit                 Split      = 0,
  parameter int unsigned        Shift      = 16,
  parameter logic signed [63:0] Zero       = 0,
  parameter logic signed [63:0] Lo         = -128,
  parameter logic signed [63:0] Hi         = 127,
  parameter logic signed [63:0] Least      = -32768,
  parameter logic signed [63:0] Most       = 32768,
  parameter int unsigned        RoundWidth = 17,
  parameter                     MulFile    = ""
) (
  input  logic                      clk_i,
  input  logic                      rst_ni,
  input  logic                      s_valid_i,
  output logic                      s_ready_o,
  input  logic [Lanes*InWidth-1:0]  s_data_i,
  output logic                      m_valid_o,
  input  logic                      m_ready_i,
  output logic [Lanes*OutWidth-1:0] m_data_o
);
  localparam int unsigned XWidth    = InWidth + (InSigned ? 0 : 1);
  localparam int unsigned MWidth    = MulWidth + (MulSigned ? 0 : 1);
  localparam int unsigned ProdWidth = XWidth + MWidth;
  localparam int unsigned Cut       = Shift > 0 ? Shift - 1 : 0;  // bits below the half are never looked at
  localparam int unsigned SumWidth  = RoundWidth + (Shift > 0 ? 1 : 0);
  localparam int unsigned WideWidth = ProdWidth > SumWidth ? ProdWidth : SumWidth;
  localparam int unsigned LowWidth  = MulWidth / 2;               // of the lower half of mul
  typedef logic signed [XWidth-1:0]     x_t;
  typedef logic signed [ProdWidth-1:0]  prod_t;
  typedef logic signed [WideWidth-1:0]  wide_t;
  typedef logic signed [SumWidth-1:0]   sum_t;
  typedef logic signed [RoundWidth-1:0] round_t;
  typedef logic        [OutWidth-1:0]   out_t;

  localparam sum_t   Bias     = sum_t'((Shift > 0 ? Zero <<< 1 : Zero) + (Shift > 0 ? 64'sd1 : 64'sd0));
  localparam bit     AlwaysLo = Most < Lo;
  localparam bit     AlwaysHi = Least > Hi;
  localparam bit     NeedLo   = Least < Lo && !AlwaysLo;
  localparam bit     NeedHi   = Most > Hi && !AlwaysHi;
  localparam round_t LoBound  = round_t'(Lo);
  localparam round_t HiBound  = round_t'(Hi);
  // A bound that is a power of two takes the bits above it, not a comparator.
  localparam bit          LoBits   = NeedLo && Lo <= 0 && (Lo & -Lo) == -Lo;
  localparam bit          HiBits   = NeedHi && Hi >= 0 && (Hi & (Hi + 1)) == 0;
  localparam int unsigned LoHeight = LoBits && Lo < 0 ? $clog2(-Lo) : 0;
  localparam int unsigned HiHeight = HiBits ? $clog2(Hi + 64'sd1) : 0;

`ifndef SYNTHESIS
  initial begin
    if (Lanes == 0 || Rows == 0 || Repeat == 0) $fatal(1, "%m: Lanes, Rows and Repeat are at least 1");
    if (Lo > Hi) $fatal(1, "%m: Lo=%0d is above Hi=%0d", Lo, Hi);
    if (RoundWidth > 63 || Least < -(64'sd1 <<< (RoundWidth - 1)) || Most >= 64'sd1 <<< (RoundWidth - 1))
      $fatal(1, "%m: RoundWidth=%0d does not hold %0d to %0d", RoundWidth, Least, Most);
  end
`endif

  logic advance, have_x, have_product;
  assign advance   = !m_valid_o || m_ready_i;
  assign s_ready_o = advance;

  always_ff @(posedge clk_i or negedge rst_ni) begin
    if (!rst_ni) {m_valid_o, have_product, have_x} <= 3'b000;
    else if (advance) {m_valid_o, have_product, have_x} <= {have_product, have_x, s_valid_i};
  end

  logic [Lanes*InWidth-1:0]  x_q;
  logic [Lanes*MulWidth-1:0] mul_q;
  always_ff @(posedge clk_i) begin
    if (advance) x_q <= s_data_i;
  end

  if (Constant) begin : gen_constant
    assign mul_q = '0;
  end else begin : gen_table
    logic [Lanes*MulWidth-1:0] muls [Rows];
    logic [Lanes*MulWidth-1:0] row;
    initial $readmemh(MulFile, muls);
    always_ff @(posedge clk_i) begin
      if (advance) mul_q <= row;
    end

    if (Rows == 1) begin : gen_one
      assign row = muls[0];
    end else begin : gen_rows
      localparam int unsigned RowWidth    = $clog2(Rows);
      localparam int unsigned RepeatWidth = Repeat > 1 ? $clog2(Repeat) : 1;
      logic [RowWidth-1:0]    at;
      logic [RepeatWidth-1:0] beat;
      assign row = muls[at];
      always_ff @(posedge clk_i or negedge rst_ni) begin
        if (!rst_ni) begin
          at   <= '0;
          beat <= '0;
        end else if (s_valid_i && advance) begin
          beat <= beat == RepeatWidth'(Repeat - 1) ? '0 : beat + 1'b1;
          if (beat == RepeatWidth'(Repeat - 1)) at <= at == RowWidth'(Rows - 1) ? '0 : at + 1'b1;
        end
      end
    end
  end

  for (genvar l = 0; l < Lanes; l++) begin : gen_lane
    logic [InWidth-1:0]  word;
    logic [MulWidth-1:0] mul;
    x_t                  x;
    prod_t               part_a, part_b, a, b;  // the product is a + b
    assign word = x_q[l*InWidth+:InWidth];
    assign mul  = mul_q[l*MulWidth+:MulWidth];
    assign x    = x_t'(signed'({InSigned & word[InWidth-1], word}));

    if (Constant) begin : gen_adders
      // Canonical signed digits of Mul: those with an even number in a, the others in b (Reitwiesner, Binary arithmetic, 1960).
      logic unused;
      assign unused = ^mul;
      localparam logic [66:0] M    = 67'(Mul);
      localparam logic [66:0] M3   = M + (M << 1);
      localparam logic [65:0] Plus = 66'((M3 & ~M) >> 1), Minus = 66'((M & ~M3) >> 1);
      always_comb begin
        part_a = '0;
        part_b = '0;
        for (int k = 0; k <= int'(MulWidth); k++) begin
          if (Plus[k] && k % 4 < 2) part_a = part_a + (prod_t'(x) <<< k);
          if (Minus[k] && k % 4 < 2) part_a = part_a - (prod_t'(x) <<< k);
          if (Plus[k] && k % 4 >= 2) part_b = part_b + (prod_t'(x) <<< k);
          if (Minus[k] && k % 4 >= 2) part_b = part_b - (prod_t'(x) <<< k);
        end
      end
    end else if (Split && MulWidth > 1) begin : gen_halves
      assign part_a = prod_t'(x) * prod_t'(signed'({1'b0, mul[LowWidth-1:0]}));
      assign part_b = (prod_t'(x) * prod_t'(signed'({MulSigned & mul[MulWidth-1], mul[MulWidth-1:LowWidth]}))) <<< LowWidth;
    end else begin : gen_product
      assign part_a = prod_t'(x) * prod_t'(signed'({MulSigned & mul[MulWidth-1], mul}));
      assign part_b = '0;
    end

    wide_t  product;
    sum_t   sum;
    round_t rounded;
    logic   under, over;
    assign product = wide_t'(a) + wide_t'(b);
    assign sum     = sum_t'(product >>> Cut) + Bias;
    assign rounded = round_t'(sum >>> (Shift > 0 ? 1 : 0));

    if (LoBits && Lo == 0) begin : gen_lo_sign
      assign under = rounded[RoundWidth-1];
    end else if (LoBits) begin : gen_lo_bits
      assign under = rounded[RoundWidth-1] && !(&(rounded | round_t'((64'sd1 <<< LoHeight) - 64'sd1)));
    end else begin : gen_lo
      assign under = AlwaysLo || (NeedLo && rounded < LoBound);
    end
    if (HiBits) begin : gen_hi_bits
      assign over = !rounded[RoundWidth-1] && |(rounded & ~round_t'((64'sd1 <<< HiHeight) - 64'sd1));
    end else begin : gen_hi
      assign over = AlwaysHi || (NeedHi && rounded > HiBound);
    end

    always_ff @(posedge clk_i) begin
      if (advance) begin
        a <= part_a;
        b <= part_b;
        m_data_o[l*OutWidth+:OutWidth] <= under ? out_t'(Lo) : over ? out_t'(Hi) : out_t'(rounded);
      end
    end
  end
endmodule
