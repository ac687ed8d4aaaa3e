// A curve in straight pieces: y = clamp(round_shift(value[p] + slope[p] * o, Shift), lo, hi), x = p * 2**PieceBits + o with the nearest p.
//
// Meaning: ir/lm/expand.py, curve.  File has a line {slope, value} for each piece, the lowest p first, of curve 0 and, if Curves is 2,
// then of curve 1, which select_i chooses.  Every x is at most 2**(InWidth-1) - 2**(PieceBits-1) - 1.
// Five registers: word of the table, its output register, product, line, y.
module qs_lm_curve #(
  parameter int unsigned        InWidth    = 17,
  parameter int unsigned        OutWidth   = 17,
  parameter int unsigned        PieceBits  = 8,
  parameter int unsigned        ValueWidth = 30,
  parameter int unsigned        SlopeWidth = 14,
  parameter int unsigned        Curves     = 1,
  parameter int unsigned        Shift      = 12,
  parameter int unsigned        Shift1     = 12,
  parameter logic signed [63:0] Lo         = -65536,
  parameter logic signed [63:0] Hi         = 65407,
  parameter logic signed [63:0] Lo1        = Lo,
  parameter logic signed [63:0] Hi1        = Hi,
  parameter                     File       = ""
) (
  input  logic                clk_i,
  input  logic [InWidth-1:0]  x_i,
  input  logic                select_i,
  output logic [OutWidth-1:0] y_o
);
  localparam int unsigned IndexBits = InWidth - PieceBits;
  localparam int unsigned AddrWidth = IndexBits + (Curves > 1 ? 1 : 0);
  localparam int unsigned LineWidth = (ValueWidth > SlopeWidth + PieceBits ? ValueWidth : SlopeWidth + PieceBits) + 1;
  localparam int unsigned TwiceWidth = LineWidth > OutWidth + 2 ? LineWidth : OutWidth + 2;
  typedef logic signed [LineWidth-1:0]  line_t;
  typedef logic signed [TwiceWidth-1:0] twice_t;  // twice the result

  // x + half a piece: above the point the piece, below it the offset from its lower end.
  logic [InWidth-1:0]               moved;
  logic [AddrWidth-1:0]             addr;
  logic [IndexBits-1:0]             piece;
  logic [SlopeWidth+ValueWidth-1:0] word;
  assign moved = x_i + InWidth'(1 << (PieceBits - 1));
  assign piece = {~moved[InWidth-1], moved[InWidth-2:PieceBits]};
  if (Curves > 1) begin : gen_two
    assign addr = {select_i, piece};
  end else begin : gen_one
    assign addr = piece;
  end
  qs_weights #(
    .Depth(1 << AddrWidth),
    .Width(SlopeWidth + ValueWidth),
    .Extra(1),
    .File (File)
  ) u_table (
    .clk_i      (clk_i),
    .en_i       (1'b1),
    .addr_i     (addr),
    .data_o     (word),
    .load_valid_i(1'b0),
    .load_addr_i('0),
    .load_data_i('0)
  );

  logic signed [PieceBits-1:0]            offset_q, offset;
  logic signed [SlopeWidth-1:0]           slope;
  logic signed [ValueWidth-1:0]           value;
  logic signed [SlopeWidth+PieceBits-1:0] rise;
  line_t                                  line;
  logic [3:0]                             second;
  twice_t                                 twice;
  logic                                   under, over;
  assign slope = word[ValueWidth+:SlopeWidth];
  assign twice = twice_t'(second[3] ? line >>> (Shift1 - 1) : line >>> (Shift - 1));
  assign under = twice < (second[3] ? twice_t'(2 * Lo1 - 1) : twice_t'(2 * Lo - 1));
  assign over  = twice > (second[3] ? twice_t'(2 * Hi1) : twice_t'(2 * Hi));
  always_ff @(posedge clk_i) begin
    second   <= {second[2:0], select_i && Curves > 1};
    offset_q <= {~moved[PieceBits-1], moved[PieceBits-2:0]};
    offset   <= offset_q;
    rise     <= slope * offset;
    value    <= word[ValueWidth-1:0];
    line     <= line_t'(value) + line_t'(rise);
    y_o      <= under ? OutWidth'(second[3] ? Lo1 : Lo) : over ? OutWidth'(second[3] ? Hi1 : Hi) : OutWidth'((twice + twice_t'(1)) >>> 1);
  end

`ifndef SYNTHESIS
  initial begin
    if (PieceBits < 2 || PieceBits >= InWidth) $fatal(1, "%m: PieceBits=%0d of %0d", PieceBits, InWidth);
    if (Shift == 0 || Shift1 == 0) $fatal(1, "%m: Shift and Shift1 are at least 1");
  end
`endif
endmodule
