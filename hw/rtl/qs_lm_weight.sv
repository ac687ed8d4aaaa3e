// How likely a candidate is, of its sum's distance from the best: one a cycle, nine cycles later.  Meaning: ir/lm/sample.py, weights().
//
// d = min(floor(behind * factor / 2**shift + 1/2), 2**24 - 1) in 1/4096 nat; x = min(floor(d * invtemp / 256 + 1/2), 65535), which a
// larger d would not change; weight = floor(exp[x >> 8] * exp[256 + (x & 255)] / 2**16 + 1/2).  ExpFile: 2**16 * exp(-i / 16), then
// 2**16 * exp(-j / 4096), 256 of each, of 17 bits.
module qs_lm_weight #(
  parameter int unsigned AccWidth    = 20,
  parameter int unsigned FactorWidth = 17,
  parameter int unsigned ShiftBits   = 6,
  parameter int unsigned TagWidth    = 4,
  parameter              ExpFile     = ""
) (
  input  logic                   clk_i,
  input  logic                   rst_ni,
  input  logic [FactorWidth-1:0] factor_i,   // this, shift_i and invtemp_i stay while anything is on its way
  input  logic [ShiftBits-1:0]   shift_i,
  input  logic [15:0]            invtemp_i,
  input  logic                   valid_i,
  input  logic [AccWidth-1:0]    behind_i,   // best - sum, unsigned
  input  logic [TagWidth-1:0]    tag_i,
  output logic                   valid_o,
  output logic [16:0]            weight_o,
  output logic [TagWidth-1:0]    tag_o,
  output logic                   busy_o
);
  localparam int unsigned Ranks     = 9;
  localparam int unsigned FarWidth  = AccWidth + FactorWidth;
  localparam int unsigned BackWidth = 24;
  localparam int unsigned Scaled    = BackWidth + 16;

  logic [Ranks-1:0]    valid;
  logic [TagWidth-1:0] tag [Ranks];
  assign valid_o = valid[Ranks-1];
  assign tag_o   = tag[Ranks-1];
  assign busy_o  = valid != '0;
  always_ff @(posedge clk_i or negedge rst_ni) begin
    if (!rst_ni) valid <= '0;
    else valid <= {valid[Ranks-2:0], valid_i};
  end

  logic [16:0] exps [512];
  initial $readmemh(ExpFile, exps);

  logic [AccWidth-1:0]  behind;
  logic [FarWidth-1:0]  far;
  logic [FarWidth:0]    half, rounded, shifted;  // half of a longer shift is not in it: then nothing is left either way
  logic [BackWidth-1:0] back;
  logic [Scaled-1:0]    scaled;
  logic [Scaled:0]      nearest;
  logic [15:0]          x;
  logic [16:0]          coarse, fine;
  logic [33:0]          both, both_half;
  always_comb begin
    half = '0;
    for (int n = 1; n < 2**int'(ShiftBits); n++) if (n <= int'(FarWidth) + 1 && shift_i == ShiftBits'(n)) half[n-1] = 1'b1;
  end
  assign shifted   = rounded >> shift_i;
  assign nearest   = (Scaled+1)'(scaled) + (Scaled+1)'(128);
  assign both_half = both + 34'h8000;
  always_ff @(posedge clk_i) begin
    tag[0] <= tag_i;
    for (int k = 1; k < int'(Ranks); k++) tag[k] <= tag[k-1];
    behind   <= behind_i;
    far      <= FarWidth'(behind) * FarWidth'(factor_i);
    rounded  <= (FarWidth+1)'(far) + half;
    back     <= shifted >> BackWidth != '0 ? '1 : BackWidth'(shifted);
    scaled   <= Scaled'(back) * Scaled'(invtemp_i);
    x        <= nearest >> 24 != '0 ? '1 : nearest[23:8];
    both     <= 34'(coarse) * 34'(fine);
    weight_o <= both_half[32:16];
  end
  always_ff @(posedge clk_i) coarse <= exps[{1'b0, x[15:8]}];
  always_ff @(posedge clk_i) fine <= exps[{1'b1, x[7:0]}];

  logic unused;
  assign unused = ^{both_half[33], both_half[15:0], nearest[7:0]};
endmodule
