// sum = a + b + c, modulo 2**Width, where of each operand only the bits of its Mask count and those of its Flip are complemented:
// x stands for (x & Mask) ^ Flip.  A constant operand has an empty Mask and its value as Flip.
//
// With Carry 0 it is an expression.  On AMD devices (Carry 4 or 8: their carry cells' bits) each column of bits is one LUT6_2 in
// front of the carry chain: its O6 adds up the column, its O5 is a second carry, an operand of the next column.
module qs_add3 #(
  parameter int unsigned      Width  = 8,
  parameter bit [Width-1:0]   MaskA  = '1,
  parameter bit [Width-1:0]   MaskB  = '1,
  parameter bit [Width-1:0]   MaskC  = '0,
  parameter bit [Width-1:0]   FlipA  = '0,
  parameter bit [Width-1:0]   FlipB  = '0,
  parameter bit [Width-1:0]   FlipC  = '0,
  parameter int unsigned      Carry  = 0
) (
  input  logic [Width-1:0] a_i,
  input  logic [Width-1:0] b_i,
  input  logic [Width-1:0] c_i,
  output logic [Width-1:0] sum_o
);
`ifdef SYNTHESIS
  // Which columns take a carry of weight two from the one below: those above a column with three bits or more.
  function automatic logic [Width:0] carried();
    carried = '0;
    for (int unsigned i = 0; i < Width; i++) begin
      carried[i+1] = 32'(MaskA[i]) + 32'(MaskB[i]) + 32'(MaskC[i]) + 32'(carried[i]) + 32'((FlipA[i] & !MaskA[i]) ^ (FlipB[i] & !MaskB[i]) ^
               (FlipC[i] & !MaskC[i])) > 2;
    end
  endfunction

  // The lower half of a LUT6_2, 32 rows: I0, I1, I2 the operands, I3 the carry from below.
  function automatic logic [31:0] column(logic [2:0] flip);
    for (int unsigned i = 0; i < 32; i++) column[i] = ^(3'(i) ^ flip) ^ i[3];
  endfunction

  function automatic logic [31:0] majority(logic [2:0] flip);
    for (int unsigned i = 0; i < 32; i++) begin
      majority[i] = ((i[0] ^ flip[0]) & (i[1] ^ flip[1])) | ((i[0] ^ flip[0]) & (i[2] ^ flip[2])) | ((i[1] ^ flip[1]) & (i[2] ^ flip[2]));
    end
  endfunction

  function automatic logic [31:0] operand(logic [2:0] live, logic [2:0] flip);
    for (int unsigned i = 0; i < 32; i++) operand[i] = live[0] ? i[0] ^ flip[0] : live[1] ? i[1] ^ flip[1] : i[2] ^ flip[2];
  endfunction

  if (Carry != 0) begin : gen_lut6
    localparam bit [Width:0] Carried = carried();
    localparam int unsigned  Cells   = (Width + Carry - 1) / Carry;
    localparam int unsigned  Padded  = Cells * Carry;
    logic [Padded:0]   m, co;
    logic [Padded-1:0] s, di, o;
    assign m[0]  = 1'b0;
    assign co[0] = 1'b0;
    for (genvar i = 0; i < Padded; i++) begin : gen_bit
      if (i < Width) begin : gen_used
        localparam bit [2:0]    Live  = {MaskC[i], MaskB[i], MaskA[i]};
        localparam bit [2:0]    Flip  = {FlipC[i], FlipB[i], FlipA[i]};
        localparam int unsigned Items = 32'(Live[0]) + 32'(Live[1]) + 32'(Live[2]) + 32'(Carried[i]);
        logic [2:0] x;
        assign x = Live & {c_i[i], b_i[i], a_i[i]};
        if (Items == 0) begin : gen_constant
          assign s[i]   = ^Flip;
          assign di[i]  = 1'b0;
          assign m[i+1] = 1'b0;
        end else if (Items == 1 && !(^Flip)) begin : gen_wire
          assign s[i]   = ^x ^ m[i];
          assign di[i]  = 1'b0;
          assign m[i+1] = 1'b0;
        end else begin : gen_lut
          // What the chain sees beside the column's sum: the carry from below, or else one of two operands.
          localparam bit Own = !Carried[i] && !Carried[i+1];
          logic o5;
          LUT6_2 #(.INIT({column(Flip), Own ? operand(Live, Flip) : majority(Flip)})) u_lut (
            .O6(s[i]), .O5(o5), .I0(x[0]), .I1(x[1]), .I2(x[2]), .I3(m[i]), .I4(1'b0), .I5(1'b1));
          assign m[i+1] = Carried[i+1] && o5;
          assign di[i]  = Own ? o5 : m[i];
        end
      end else begin : gen_idle
        assign s[i]   = 1'b0;
        assign di[i]  = 1'b0;
        assign m[i+1] = 1'b0;
      end
    end
    for (genvar i = 0; i < Padded; i += Carry) begin : gen_cell
      if (Carry == 4) begin : gen_four
        logic [3:0] carry;
        CARRY4 u_carry (.CI(co[i]), .CYINIT(1'b0), .DI(di[i+:4]), .S(s[i+:4]), .O(o[i+:4]), .CO(carry));
        assign co[i+4] = carry[3];
      end else begin : gen_eight
        logic [7:0] carry;
        CARRY8 u_carry (.CI(co[i]), .CI_TOP(1'b0), .DI(di[i+:8]), .S(s[i+:8]), .O(o[i+:8]), .CO(carry));
        assign co[i+8] = carry[7];
      end
    end
    assign sum_o = o[Width-1:0];
  end else
`endif
  begin : gen_plain
    assign sum_o = ((a_i & MaskA) ^ FlipA) + ((b_i & MaskB) ^ FlipB) + ((c_i & MaskC) ^ FlipC);
  end

`ifndef SYNTHESIS
  initial begin
    if (Width == 0 || !(Carry inside {0, 4, 8})) $fatal(1, "%m: Width=%0d Carry=%0d", Width, Carry);
  end
`endif
endmodule
