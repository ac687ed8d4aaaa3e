// Five trits of a byte, the sum of (trit + 1) * 3**(0 to 4): each counts (on_o), and negatively (minus_o, only with on_o).
//
// The high four bits are worth 27 a + r, with r below 27; r and the low four bits together give three trits, and whether they
// pass 27, which with the high bits gives the other two: so no function has more than six inputs.  error_o: a code from 243 on.
module qs_lm_trits (
  input  logic [7:0] code_i,
  output logic [4:0] on_o,
  output logic [4:0] minus_o,
  output logic       error_o
);
  logic [4:0] high;   // r
  logic [5:0] low;    // r and the low bits
  logic       over;
  assign low     = {1'b0, high} + {2'b0, code_i[3:0]};
  assign over    = low >= 6'd27;
  assign error_o = code_i >= 8'd243;

  always_comb begin
    high    = '0;
    on_o    = '0;
    minus_o = '0;
    for (int unsigned k = 0; k < 16; k++) if (code_i[7:4] == 4'(k)) high = 5'(16 * k % 27);
    for (int unsigned k = 0; k < 42; k++) begin
      if (low == 6'(k)) begin
        for (int unsigned t = 0; t < 3; t++) begin
          on_o[t]    = k / 3 ** t % 3 != 1;
          minus_o[t] = k / 3 ** t % 3 == 0;
        end
      end
    end
    for (int unsigned k = 0; k < 32; k++) begin
      if ({code_i[7:4], over} == 5'(k)) begin
        for (int unsigned t = 0; t < 2; t++) begin
          on_o[3+t]    = (k / 2 * 16 / 27 + k % 2) / 3 ** t % 3 != 1;
          minus_o[3+t] = (k / 2 * 16 / 27 + k % 2) / 3 ** t % 3 == 0;
        end
      end
    end
  end
endmodule
