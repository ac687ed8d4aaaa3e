// Shares of a vector, a word of Lanes values a cycle: q = floor(v * One / t + 1/2) for |v| <= t, t >= 1, the same t for a word.
// One is 2**ShareBits where share_i, else 2**(CodeWidth-1) - 1.  Meaning: ir/ops.py, divide().
//
// With n = v * One + floor(t / 2) it is floor(n / t), and of a negative n that is ~((~n) / t): a division of magnitudes.  Without
// restoring: a remainder r below zero stays, and the next step adds t where it would subtract it: 2 (r + t) - t = 2 r + t, so
// the signs, which are the digits of the quotient, are those of the restoring division.  |r| <= t, so a step is one sum of
// VecWidth bits, in one carry chain (qs_sum2).  No value waits: a word in is a word out after Digits + 2 cycles.
module qs_lm_share #(
  parameter int unsigned Lanes     = 2,
  parameter int unsigned VecWidth  = 26,
  parameter int unsigned CodeWidth = 8,
  parameter int unsigned ShareBits = 12,
  parameter int unsigned TagWidth  = 1,     // travels along, above the divisor and share_i
  parameter int unsigned Digits    = CodeWidth > ShareBits + 2 ? CodeWidth - 1 : ShareBits + 1
) (
  input  logic                          clk_i,
  input  logic                          rst_ni,
  input  logic                          valid_i,
  input  logic [Lanes*VecWidth-1:0]     v_i,
  input  logic [VecWidth-2:0]           top_i,
  input  logic                          share_i,
  input  logic [TagWidth-1:0]           tag_i,
  output logic                          valid_o,
  output logic [Lanes*(Digits+1)-1:0]   q_o,
  output logic [VecWidth-2:0]           top_o,
  output logic                          share_o,
  output logic [TagWidth-1:0]           tag_o,
  output logic                          busy_o    // a word is on its way
);
  localparam int unsigned Ranks = Digits + 2;   // difference, numerator, a rank for each digit
  localparam int unsigned CodeBits = CodeWidth - 1;
  localparam int unsigned Wide  = VecWidth + Digits;  // of a numerator, with its sign

  logic [Ranks-1:0]    valid;
  logic [VecWidth-2:0] top   [Ranks];
  logic                share [Ranks];
  logic [TagWidth-1:0] tag   [Ranks];
  assign valid_o = valid[Ranks-1];
  assign top_o   = top[Ranks-1];
  assign share_o = share[Ranks-1];
  assign tag_o   = tag[Ranks-1];
  assign busy_o  = valid != '0;

  always_ff @(posedge clk_i or negedge rst_ni) begin
    if (!rst_ni) valid <= '0;
    else valid <= {valid[Ranks-2:0], valid_i};
  end
  always_ff @(posedge clk_i) begin
    top[0]   <= top_i;
    share[0] <= share_i;
    tag[0]   <= tag_i;
    for (int k = 1; k < int'(Ranks); k++) begin
      top[k]   <= top[k-1];
      share[k] <= share[k-1];
      tag[k]   <= tag[k-1];
    end
  end

  for (genvar l = 0; l < Lanes; l++) begin : gen_lane
    // n = (v << CodeBits) + (floor(t / 2) - v), or (v << ShareBits) + floor(t / 2)
    logic signed [VecWidth-1:0] v, v_q;
    logic [VecWidth:0]          less, less_q;
    logic [Wide-1:0]            n, n_q;
    assign v = v_i[l*VecWidth+:VecWidth];
    qs_sum2 #(.Width(VecWidth + 1), .Kind(0)) u_less (
      .a_i((VecWidth+1)'(top_i >> 1)), .b_i((VecWidth+1)'(v)), .c_i({(VecWidth+1){!share_i}}), .d_i({(VecWidth+1){!share_i}}),
      .carry_i(!share_i), .y_o(less)
    );
    qs_sum2 #(.Width(Wide), .Kind(3)) u_n (
      .a_i(Wide'(signed'(less_q))), .b_i(Wide'(v_q) << ShareBits), .c_i(Wide'(v_q) << CodeBits), .d_i({Wide{share[0]}}),
      .carry_i(1'b0), .y_o(n)
    );
    always_ff @(posedge clk_i) begin
      v_q    <= v;
      less_q <= less;
      n_q    <= n;
    end

    // Index k: after digit k.  A numerator leaves `digits` at the top, still with its sign's inversion to do; the quotient enters below.
    logic [Digits:0]     negative;
    logic [VecWidth-1:0] rest   [Digits+1];
    logic [Digits-1:0]   digits [Digits+1];
    assign negative[0] = n_q[Wide-1];
    assign rest[0]     = n_q[Wide-1:Digits];
    assign digits[0]   = n_q[Digits-1:0];
    for (genvar k = 1; k <= Digits; k++) begin : gen_digit
      logic [VecWidth-1:0] a, r;
      assign a = {rest[k-1][VecWidth-2:0], digits[k-1][Digits-1] ^ (k == 1 ? 1'b0 : negative[k-1])};
      if (k == 1) begin : gen_first
        qs_sum2 #(.Width(VecWidth), .Kind(2)) u_sum (
          .a_i(a), .b_i(VecWidth'(top[k])), .c_i({VecWidth{negative[0]}}), .d_i('1), .carry_i(1'b1), .y_o(r)
        );
      end else begin : gen_next
        logic minus;
        assign minus = !rest[k-1][VecWidth-1];
        qs_sum2 #(.Width(VecWidth), .Kind(0)) u_sum (
          .a_i(a), .b_i(VecWidth'(top[k])), .c_i('1), .d_i({VecWidth{minus}}), .carry_i(minus), .y_o(r)
        );
      end
      always_ff @(posedge clk_i) begin
        negative[k] <= negative[k-1];
        rest[k]     <= r;
        digits[k]   <= {digits[k-1][Digits-2:0], !r[VecWidth-1] ^ negative[k-1]};
      end
    end
    assign q_o[l*(Digits+1)+:Digits+1] = {negative[Digits], digits[Digits]};
    logic unused;
    assign unused = ^{rest[Digits], rest[0][VecWidth-1]};
  end

`ifndef SYNTHESIS
  initial begin
    if (Lanes == 0 || VecWidth < 3 || CodeWidth < 2 || ShareBits == 0) $fatal(1, "%m: Lanes=%0d VecWidth=%0d CodeWidth=%0d", Lanes, VecWidth, CodeWidth);
    if (Digits < CodeBits || Digits < ShareBits + 1) $fatal(1, "%m: no quotient has %0d digits", Digits);
  end
`endif
endmodule
