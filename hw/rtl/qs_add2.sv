// sum = (a ^ FlipA) + (b ^ FlipB), modulo 2**Width: one sum, or several side by side that do not carry into each other.
//
// With Ccu2c (Lattice ECP5) it is one chain of explicit carry cells, two bits each: the complements are inside their look-up
// tables, and every chain saves the four look-up tables by which nextpnr leads a carry in and out.
module qs_add2 #(
  parameter int unsigned    Width = 8,
  parameter bit [Width-1:0] FlipA = '0,
  parameter bit [Width-1:0] FlipB = '0,
  parameter bit             Ccu2c = 0
) (
  input  logic [Width-1:0] a_i,
  input  logic [Width-1:0] b_i,
  output logic [Width-1:0] sum_o
);
`ifdef SYNTHESIS
  // With D high the table adds the bits of A and B, complemented by C; its lowest quarter is A as the sum takes it: the carry
  // where both bits are equal.
  function automatic logic [15:0] table4(logic flip);
    table4 = flip ? 16'h96A5 : 16'h96AA;
  endfunction

  if (Ccu2c) begin : gen_chain
    localparam int unsigned Cells = (Width + 1) / 2;
    localparam bit [2*Cells-1:0] FlipsA = (2*Cells)'(FlipA);
    localparam bit [2*Cells-1:0] FlipsB = (2*Cells)'(FlipB);
    logic [2*Cells-1:0] a, b, s;
    logic [Cells:0]     carry;
    assign a        = (2*Cells)'(a_i);
    assign b        = (2*Cells)'(b_i);
    assign carry[0] = 1'b0;
    assign sum_o    = s[Width-1:0];
    for (genvar i = 0; i < Cells; i++) begin : gen_cell
      CCU2C #(.INIT0(table4(FlipsA[2*i])), .INIT1(table4(FlipsA[2*i+1])), .INJECT1_0("NO"), .INJECT1_1("NO")) u_cell (
        .CIN(carry[i]), .COUT(carry[i+1]),
        .A0(a[2*i]), .B0(b[2*i]), .C0(FlipsA[2*i] ^ FlipsB[2*i]), .D0(1'b1), .S0(s[2*i]),
        .A1(a[2*i+1]), .B1(b[2*i+1]), .C1(FlipsA[2*i+1] ^ FlipsB[2*i+1]), .D1(1'b1), .S1(s[2*i+1]));
    end
  end else
`endif
  begin : gen_plain
    assign sum_o = (a_i ^ FlipA) + (b_i ^ FlipB);
  end

`ifndef SYNTHESIS
  initial begin
    if (Width == 0 || (Ccu2c && Width > 512)) $fatal(1, "%m: Width=%0d Ccu2c=%0d", Width, Ccu2c);
  end
`endif
endmodule
