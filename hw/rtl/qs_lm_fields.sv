// Five trits of a byte in fields, so that few look-up tables tell them: each counts (on_o), and negatively (minus_o, only with on_o).
//
// A field of two bits is a trit as 00 (0), 01 (1) or 11 (-1); 10 says that a neighbour is -1 and lends the place of its bits.  Bits 4
// to 0 hold trits 0 to 2: {t2 == 1, field of t1, field of t0}, with t2 = -1 {t1 == 1, field of t0, 10}, with t1 = t2 = -1 {0, 10, field of t0}.
// Bits 7 to 5 hold trits 3 and 4: {t4 == 1, field of t3}, with t4 = -1 {t3 == 1, 10}; if both are -1 bits 4 to 2 are 110 and bits 7 to 5
// what bits 4 to 2 would be.  All 243 fives have one code.  error_o: it is one of the 13 others.
module qs_lm_fields (
  input  logic [7:0] code_i,
  output logic [4:0] on_o,
  output logic [4:0] minus_o,
  output logic       error_o
);
  logic [4:0] three;
  logic       both, low, mid, high;   // trits 3 and 4 are -1; the field of t0, t1, t3 is 10
  assign both       = code_i[4:2] == 3'b110;
  assign three      = {both ? code_i[7:5] : code_i[4:2], code_i[1:0]};
  assign low        = three[1:0] == 2'b10;
  assign mid        = three[3:2] == 2'b10;
  assign high       = code_i[6:5] == 2'b10;
  assign on_o[0]    = low ? three[2] : three[0];
  assign minus_o[0] = low ? three[3] : three[1];
  assign on_o[1]    = low ? three[4] : three[2] || three[3];
  assign minus_o[1] = !low && three[3];
  assign on_o[2]    = low || mid || three[4];
  assign minus_o[2] = low || mid;
  assign on_o[3]    = both || (high ? code_i[7] : code_i[5]);
  assign minus_o[3] = both || (!high && code_i[6]);
  assign on_o[4]    = both || high || code_i[7];
  assign minus_o[4] = both || high;
  assign error_o    = mid && (low || three[4]);
endmodule
