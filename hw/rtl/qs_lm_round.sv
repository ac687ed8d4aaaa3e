// y = clamp(round_shift(x, Least + shift), lo, hi), ties towards +infinity.  Meaning: ir/ops.py, round_shift and clamp.
//
// shift_i goes from 0 to Span.  lo and hi are Lo and Hi, or Lo1 and Hi1 where bounds_i.  Three registers: shifted by the upper
// half of the bits of shift, by the lower half with one more bit than stays, and y.
module qs_lm_round #(
  parameter int unsigned        InWidth   = 38,
  parameter int unsigned        OutWidth  = 24,
  parameter int unsigned        Least     = 0,
  parameter int unsigned        Span      = 63,
  parameter int unsigned        ShiftBits = 6,
  parameter logic signed [63:0] Lo        = -65536,
  parameter logic signed [63:0] Hi        = 65407,
  parameter logic signed [63:0] Lo1       = Lo,
  parameter logic signed [63:0] Hi1       = Hi
) (
  input  logic                 clk_i,
  input  logic [InWidth-1:0]   x_i,
  input  logic [ShiftBits-1:0] shift_i,   // with x_i
  input  logic                 bounds_i,  // two cycles after x_i
  output logic [OutWidth-1:0]  y_o
);
  localparam int unsigned Bits  = Span > 0 ? $clog2(Span + 1) : 0;  // of shift_i that count
  localparam int unsigned Fine  = Bits / 2;
  localparam int unsigned Wide  = InWidth + 1 > OutWidth + 2 ? InWidth + 1 : OutWidth + 2;
  typedef logic signed [Wide-1:0] wide_t;  // twice what is meant

  localparam wide_t Under  = wide_t'(2 * Lo - 1);   // below it the result is below lo
  localparam wide_t Over   = wide_t'(2 * Hi);       // above it the result is above hi
  localparam wide_t Under1 = wide_t'(2 * Lo1 - 1);
  localparam wide_t Over1  = wide_t'(2 * Hi1);

  wide_t                twice, coarse_next, coarse, fine_next, fine;
  logic [ShiftBits-1:0] rest;
  logic                 under, over;
  assign twice = wide_t'(signed'({x_i, 1'b0})) >>> Least;

  always_comb begin
    coarse_next = twice;
    for (int k = int'(Fine); k < int'(Bits); k++) if (shift_i[k]) coarse_next = coarse_next >>> (1 << k);
  end
  always_comb begin
    fine_next = coarse;
    for (int k = 0; k < int'(Fine); k++) if (rest[k]) fine_next = fine_next >>> (1 << k);
  end
  assign under = bounds_i ? fine < Under1 : fine < Under;
  assign over  = bounds_i ? fine > Over1 : fine > Over;

  always_ff @(posedge clk_i) begin
    coarse <= coarse_next;
    rest   <= shift_i;
    fine   <= fine_next;
    y_o    <= under ? OutWidth'(bounds_i ? Lo1 : Lo) : over ? OutWidth'(bounds_i ? Hi1 : Hi) : OutWidth'((fine + wide_t'(1)) >>> 1);
  end

`ifndef SYNTHESIS
  initial begin
    if (Bits > ShiftBits) $fatal(1, "%m: ShiftBits=%0d do not hold Span=%0d", ShiftBits, Span);
    if (OutWidth > 62 || Lo < -(64'sd1 <<< (OutWidth - 1)) || Hi >= 64'sd1 <<< (OutWidth - 1)
        || Lo1 < -(64'sd1 <<< (OutWidth - 1)) || Hi1 >= 64'sd1 <<< (OutWidth - 1))
      $fatal(1, "%m: OutWidth=%0d does not hold the bounds", OutWidth);
  end
`endif
endmodule
