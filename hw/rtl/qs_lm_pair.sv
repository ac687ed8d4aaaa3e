// Sum of two operands that each are added, subtracted or left out: y = (a & on) ^ minus + (b & on) ^ minus + carry, modulo 2**Width.
//
// minus_i only with on_i, and of each operand that is subtracted a carry is due: one here, one in an adder behind.  With Carry (the bits
// of a carry cell of AMD's devices: 4 or 8) a bit is one LUT6_2: O6 is both operands' sum, and O5, that table with b left out, is operand a,
// which is the carry where both are equal.  Else it is an expression.
module qs_lm_pair #(
  parameter int unsigned Width = 9,
  parameter int unsigned Carry = 0
) (
  input  logic [Width-1:0] a_i,
  input  logic [Width-1:0] b_i,
  input  logic [1:0]       on_i,      // of a, of b
  input  logic [1:0]       minus_i,
  input  logic             carry_i,
  output logic [Width-1:0] y_o
);
`ifdef SYNTHESIS
  function automatic logic [63:0] sums();
    for (int unsigned i = 0; i < 64; i++) sums[i] = ((i[0] & i[1]) ^ i[2]) ^ (i[5] & (i[3] ^ i[4]));
  endfunction

  if (Carry != 0) begin : gen_cells
    localparam int unsigned Padded = (Width + Carry - 1) / Carry * Carry;
    logic [Padded-1:0] s, d, o;
    logic [Padded:0]   co;
    assign co[0] = carry_i;
    for (genvar i = 0; i < Padded; i++) begin : gen_bit
      if (i < Width) begin : gen_lut
        LUT6_2 #(.INIT(sums())) u_lut (.O6(s[i]), .O5(d[i]), .I0(a_i[i]), .I1(on_i[0]), .I2(minus_i[0]), .I3(b_i[i]), .I4(minus_i[1]), .I5(on_i[1]));
      end else begin : gen_idle
        assign s[i] = 1'b0;
        assign d[i] = 1'b0;
      end
    end
    for (genvar i = 0; i < Padded; i += Carry) begin : gen_cell
      if (Carry == 4) begin : gen_four
        CARRY4 u_carry (.CI(i == 0 ? 1'b0 : co[i]), .CYINIT(i == 0 ? co[0] : 1'b0), .DI(d[i+:4]), .S(s[i+:4]), .O(o[i+:4]), .CO(co[i+1+:4]));
      end else begin : gen_eight
        CARRY8 u_carry (.CI(co[i]), .CI_TOP(1'b0), .DI(d[i+:8]), .S(s[i+:8]), .O(o[i+:8]), .CO(co[i+1+:8]));
      end
    end
    assign y_o = o[Width-1:0];
  end else
`endif
  begin : gen_plain
    assign y_o = ((a_i & {Width{on_i[0]}}) ^ {Width{minus_i[0]}}) + ((b_i & {Width{on_i[1]}}) ^ {Width{minus_i[1]}}) + Width'(carry_i);
  end

`ifndef SYNTHESIS
  initial if (Width == 0 || !(Carry inside {0, 4, 8})) $fatal(1, "%m: Width=%0d Carry=%0d", Width, Carry);
`endif
endmodule
