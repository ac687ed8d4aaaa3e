// w = clamp(round_shift(a * z, shift)) of a kept sum a and the curve z of a gate; the sums are written as they come.
// Meaning: ir/lm/expand.py, gated.
//
// z_i comes two cycles after ahead_*_i, which is its row, w six cycles after z_i.  Settings as in qs_lm_epilogue.
module qs_lm_gated #(
  parameter int unsigned Depth      = 400,
  parameter int unsigned RowBits    = 9,
  parameter int unsigned AccWidth   = 17,
  parameter int unsigned ZWidth     = 17,
  parameter int unsigned VecWidth   = 26,
  parameter int unsigned ShiftBits  = 6,
  parameter int unsigned ShiftLeast = 0,
  parameter int unsigned ShiftMost  = 63
) (
  input  logic                 clk_i,
  input  logic                 rst_ni,
  input  logic [ShiftBits-1:0] shift_i,
  input  logic                 a_valid_i,
  input  logic [RowBits-1:0]   a_row_i,
  input  logic [AccWidth-1:0]  a_i,
  input  logic                 ahead_valid_i,
  input  logic                 ahead_first_i,
  input  logic [RowBits-1:0]   ahead_row_i,
  input  logic [ZWidth-1:0]    z_i,
  output logic                 valid_o,
  output logic                 first_o,
  output logic [RowBits-1:0]   row_o,
  output logic [VecWidth-1:0]  w_o,
  output logic                 busy_o,
  output logic                 begun_o
);
  localparam int unsigned Last    = 8;
  localparam int unsigned RowSize = Depth > 1 ? $clog2(Depth) : 1;
  typedef logic [RowSize-1:0] addr_t;

  logic [Last:1]              valid, first, valid_next, first_next;
  logic [Last:1][RowBits-1:0] row;
  logic [ShiftBits-1:0]       shift5;
  always_ff @(posedge clk_i or negedge rst_ni) begin
    if (!rst_ni) {valid, first, busy_o, begun_o} <= '0;
    else begin
      valid   <= valid_next;
      first   <= first_next;
      busy_o  <= |valid_next;
      begun_o <= |first_next;
    end
  end
  always_ff @(posedge clk_i) begin
    row   <= {row[Last-1:1], ahead_row_i};
    if (first[4]) shift5 <= shift_i - ShiftBits'(ShiftLeast);
  end
  assign valid_next = {valid[Last-1:1], ahead_valid_i};
  assign first_next = {first[Last-1:1], ahead_first_i};
  assign valid_o = valid[Last];
  assign first_o = first[Last];
  assign row_o   = row[Last];

  logic unused;
  assign unused = ^a_row_i;
  logic [AccWidth-1:0]        kept, a;
  logic [ZWidth-1:0]          z;
  logic [AccWidth+ZWidth-1:0] product;
  qs_lm_memory #(
    .Depth(Depth),
    .Width(AccWidth)
  ) u_memory (
    .clk_i,
    .we_i   (a_valid_i),
    .waddr_i(addr_t'(a_row_i)),
    .wdata_i(a_i),
    .raddr_i(addr_t'(ahead_row_i)),
    .rdata_o(kept)
  );
  always_ff @(posedge clk_i) begin
    a <= kept;
    z <= z_i;
  end
  qs_lm_mul #(
    .AWidth(AccWidth),
    .BWidth(ZWidth)
  ) u_mul (
    .clk_i,
    .a_i(a),
    .b_i(z),
    .p_o(product)
  );
  qs_lm_round #(
    .InWidth  (AccWidth + ZWidth),
    .OutWidth (VecWidth),
    .Least    (ShiftLeast),
    .Span     (ShiftMost - ShiftLeast),
    .ShiftBits(ShiftBits),
    .Lo       (64'sd1 - (64'sd1 <<< (VecWidth - 1))),
    .Hi       ((64'sd1 <<< (VecWidth - 1)) - 64'sd1)
  ) u_round (
    .clk_i,
    .x_i     (product),
    .shift_i (shift5),
    .bounds_i(1'b0),
    .y_o     (w_o)
  );
endmodule
