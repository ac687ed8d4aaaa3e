// y = clamp(round_shift(x * mul, Shift) + Zero, Lo, Hi), ties towards +infinity.  Meaning: ir/ops.py, requant().
//
// MulFile has Rows lines; a line holds the multipliers (two's complement if MulSigned) of the Lanes of one beat, lane 0 in the lowest bits.
// The line advances every Repeat beats and wraps: per tensor Rows = 1; per channel, channels innermost, Rows = C / Lanes
// and Repeat = 1; per row of (T, C), Rows = T and Repeat = C / Lanes.
//
// The bounds are moved before the addition of Zero and into the range of the shifted product, both at elaboration, so
// that nothing is wider than the product, however wide Zero, Lo and Hi are.  Three registers: x and mul, product, y.
module qs_requant #(
  parameter int unsigned        Lanes    = 1,
  parameter int unsigned        Rows     = 1,
  parameter int unsigned        Repeat   = 1,
  parameter int unsigned        InWidth  = 16,
  parameter bit                 InSigned = 1,
  parameter int unsigned        OutWidth = 8,
  parameter int unsigned        MulWidth = 16,
  parameter bit                 MulSigned = 0,
  parameter int unsigned        Shift    = 16,
  parameter logic signed [63:0] Zero     = 0,
  parameter logic signed [63:0] Lo       = -128,
  parameter logic signed [63:0] Hi       = 127,
  parameter                     MulFile  = ""
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
  localparam int unsigned ProdWidth  = InWidth + (InSigned ? 0 : 1) + MulWidth;
  localparam int unsigned SumWidth   = (ProdWidth > Shift + 1 ? ProdWidth : Shift + 1) + 1;
  localparam int unsigned RoundWidth = SumWidth - Shift;
  typedef logic signed [ProdWidth-1:0]  prod_t;
  typedef logic signed [SumWidth-1:0]   sum_t;
  typedef logic signed [RoundWidth-1:0] round_t;
  typedef logic signed [OutWidth-1:0]   out_t;
  typedef logic signed [127:0]          wide_t;  // for constants only

  localparam sum_t   Half      = sum_t'((wide_t'(1) << Shift) >> 1);
  localparam wide_t  RoundMax  = (wide_t'(1) <<< (RoundWidth - 1)) - 1;
  localparam wide_t  RoundMin  = -RoundMax - 1;
  localparam wide_t  LoMoved   = wide_t'(Lo) - wide_t'(Zero);
  localparam wide_t  HiMoved   = wide_t'(Hi) - wide_t'(Zero);
  localparam bit     AlwaysLo  = LoMoved > RoundMax;  // no product reaches the bounds
  localparam bit     AlwaysHi  = HiMoved < RoundMin;
  localparam round_t LoBound   = LoMoved < RoundMin ? round_t'(RoundMin) : round_t'(LoMoved);
  localparam round_t HiBound   = HiMoved > RoundMax ? round_t'(RoundMax) : round_t'(HiMoved);

`ifndef SYNTHESIS
  initial begin
    if (Lanes == 0 || Rows == 0 || Repeat == 0) $fatal(1, "%m: Lanes, Rows and Repeat are at least 1");
    if (Lo > Hi) $fatal(1, "%m: Lo=%0d is above Hi=%0d", Lo, Hi);
    if (SumWidth > 72) $fatal(1, "%m: %0d bits times %0d bits with Shift=%0d is too wide", InWidth, MulWidth, Shift);
  end
`endif

  logic [Lanes*MulWidth-1:0] muls [Rows];
  initial $readmemh(MulFile, muls);

  logic advance, have_x, have_product;
  assign advance   = !m_valid_o || m_ready_i;
  assign s_ready_o = advance;

  always_ff @(posedge clk_i or negedge rst_ni) begin
    if (!rst_ni) {m_valid_o, have_product, have_x} <= 3'b000;
    else if (advance) {m_valid_o, have_product, have_x} <= {have_product, have_x, s_valid_i};
  end

  logic [Lanes*MulWidth-1:0] row;
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

  logic [Lanes*InWidth-1:0]  x_q;
  logic [Lanes*MulWidth-1:0] mul_q;
  always_ff @(posedge clk_i) begin
    if (advance) begin
      x_q   <= s_data_i;
      mul_q <= row;
    end
  end

  for (genvar l = 0; l < Lanes; l++) begin : gen_lane
    logic [InWidth-1:0]  x;
    logic [MulWidth-1:0] mul;
    prod_t               product;
    round_t              rounded;
    assign x       = x_q[l*InWidth+:InWidth];
    assign mul     = mul_q[l*MulWidth+:MulWidth];
    assign rounded = round_t'((sum_t'(product) + Half) >>> Shift);
    always_ff @(posedge clk_i) begin
      if (advance) begin
        product <= prod_t'(signed'({InSigned & x[InWidth-1], x})) * prod_t'(signed'({MulSigned & mul[MulWidth-1], mul}));
        m_data_o[l*OutWidth+:OutWidth] <= AlwaysLo || rounded < LoBound ? out_t'(Lo)
                                        : AlwaysHi || rounded > HiBound ? out_t'(Hi)
                                        : out_t'(rounded) + out_t'(Zero);
      end
    end
  end
endmodule
