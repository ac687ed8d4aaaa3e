// A beat of packed weights as trits, each as two bits: it counts (on_o), and negatively (minus_o, only with on_o).
//
// Encoding 0, base 3: byte j holds trits 5j to 5j+4 as the sum of (trit + 1) * 3**(0 to 4); 243 and above are illegal.
// Encoding 1, two bits: trit j stands at bits 2j+1 and 2j as 00 (0), 01 (1) or 11 (-1); 10 is illegal.
// Encoding 2, fields: byte j holds trits 5j to 5j+4 as qs_lm_fields reads them, at a quarter of the logic of base 3.
// error_o: a code of the beat is illegal.
module qs_lm_unpack #(
  parameter int unsigned Trits     = 5,
  parameter int unsigned Encoding  = 0,
  parameter int unsigned BeatWidth = Encoding == 1 ? 2 * Trits : Trits / 5 * 8
) (
  input  logic [BeatWidth-1:0] beat_i,
  output logic [Trits-1:0]     on_o,
  output logic [Trits-1:0]     minus_o,
  output logic                 error_o
);
  if (Encoding == 1) begin : gen_two_bit
    logic [Trits-1:0] bad;
    for (genvar t = 0; t < Trits; t++) begin : gen_trit
      assign on_o[t]    = beat_i[2*t];
      assign minus_o[t] = beat_i[2*t+1];
      assign bad[t]     = minus_o[t] && !on_o[t];
    end
    assign error_o = |bad;
  end else begin : gen_bytes
    logic [Trits/5-1:0] bad;
    for (genvar j = 0; j < Trits / 5; j++) begin : gen_byte
      if (Encoding == 0) begin : gen_base3
        qs_lm_trits u_trits (.code_i(beat_i[8*j+:8]), .on_o(on_o[5*j+:5]), .minus_o(minus_o[5*j+:5]), .error_o(bad[j]));
      end else begin : gen_fields
        qs_lm_fields u_trits (.code_i(beat_i[8*j+:8]), .on_o(on_o[5*j+:5]), .minus_o(minus_o[5*j+:5]), .error_o(bad[j]));
      end
    end
    assign error_o = |bad;
  end

`ifndef SYNTHESIS
  initial begin
    if (Encoding > 2) $fatal(1, "%m: Encoding=%0d is none of 0 (base 3), 1 (two bits), 2 (fields)", Encoding);
    if (Trits == 0 || (Encoding != 1 && Trits % 5 != 0)) $fatal(1, "%m: Trits=%0d does not fill bytes of five", Trits);
  end
`endif
endmodule
