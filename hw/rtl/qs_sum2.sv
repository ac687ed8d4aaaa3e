// Sum of two gated operands in one carry chain, modulo 2**Width, at the cost of a plain adder where the chain's LUTs have an
// input to spare: the gates sit in the LUT that forms the sum, and the carry input costs nothing or one bit.
//
// Kind 0, select:  y = a + ((b & c) ^ d) + carry     adds, subtracts or skips b
// Kind 1, masked:  y = (a & c) + (b & d) + carry     first rows of a product
// Kind 2, signed:  y = (a ^ c) + (b ^ d) + carry     two operands that may be negated
// Kind 3, either:  y = a + (d ? b : c) + carry       a sum that goes on or starts anew
//
// CCU2C names the carry cell of ECP5 (two bits; LUT4 with a second function of A and B that gives the carry where the
// bit does not propagate it); its first bit makes the carry, so that the chain needs no other entry.  QS_ALU names Yosys'
// own adder with a carry input.  Else, and with Plain (operands that synthesis should fold): the sum as it stands.
module qs_sum2 #(
  parameter int unsigned Width = 8,
  parameter int unsigned Kind  = 0,
  parameter bit          Plain = 0
) (
  input  logic [Width-1:0] a_i,
  input  logic [Width-1:0] b_i,
  input  logic [Width-1:0] c_i,
  input  logic [Width-1:0] d_i,
  input  logic             carry_i,
  output logic [Width-1:0] y_o
);
`ifdef CCU2C
  localparam bit Known = 1;
`else
  localparam bit Known = 0;
`endif
  localparam bit Cells = Known && !Plain;

  if (Cells) begin : gen_cells
`ifdef CCU2C
    localparam int unsigned Num = (Width + 2) / 2;
    localparam bit Swap = Kind == 1 || Kind == 2;  // the carry is a function of A and B alone
    localparam bit [15:0] Init = Kind == 0 ? 16'h956A : Kind == 1 ? 16'h7888 : Kind == 2 ? 16'h6996 : 16'h665A;
    wire [2*Num-1:0] a = {{(2*Num-1-Width){1'b0}}, a_i, carry_i};
    wire [2*Num-1:0] b = {{(2*Num-1-Width){1'b0}}, Swap ? c_i : b_i, 1'b0};
    wire [2*Num-1:0] c = {{(2*Num-1-Width){1'b0}}, Swap ? b_i : c_i, 1'b1};
    wire [2*Num-1:0] d = {{(2*Num-1-Width){1'b0}}, d_i, 1'b1};
    wire [2*Num-1:0] y;
    wire [Num-1:0]   carry;
    for (genvar k = 0; k < Num; k++) begin : gen_cell
      if (k == 0) begin : gen_entry
        CCU2C #(.INIT0(16'h000A), .INIT1(Init), .INJECT1_0("NO"), .INJECT1_1("NO")) u_cell (
          .A0(a[0]), .B0(b[0]), .C0(c[0]), .D0(d[0]), .A1(a[1]), .B1(b[1]), .C1(c[1]), .D1(d[1]),
          .S0(y[0]), .S1(y[1]), .COUT(carry[0]));
      end else begin : gen_next
        CCU2C #(.INIT0(Init), .INIT1(Init), .INJECT1_0("NO"), .INJECT1_1("NO")) u_cell (
          .CIN(carry[k-1]), .A0(a[2*k]), .B0(b[2*k]), .C0(c[2*k]), .D0(d[2*k]),
          .A1(a[2*k+1]), .B1(b[2*k+1]), .C1(c[2*k+1]), .D1(d[2*k+1]), .S0(y[2*k]), .S1(y[2*k+1]), .COUT(carry[k]));
      end
    end
    assign y_o = y[Width:1];
`endif
  end else begin : gen_sum
    logic [Width-1:0] p, q;
    if (Kind == 0) begin : gen_select
      assign p = a_i;
      assign q = (b_i & c_i) ^ d_i;
    end else if (Kind == 1) begin : gen_masked
      assign p = a_i & c_i;
      assign q = b_i & d_i;
    end else if (Kind == 2) begin : gen_signed
      assign p = a_i ^ c_i;
      assign q = b_i ^ d_i;
    end else begin : gen_either
      assign p = a_i;
      assign q = (d_i & b_i) | (~d_i & c_i);
    end
`ifdef QS_ALU
    wire [Width-1:0] x, co;
    \$alu #(.A_SIGNED(0), .B_SIGNED(0), .A_WIDTH(Width), .B_WIDTH(Width), .Y_WIDTH(Width)) u_alu (
      .A(p), .B(q), .BI(1'b0), .CI(carry_i), .X(x), .Y(y_o), .CO(co));
`else
    assign y_o = p + q + Width'(carry_i);
`endif
  end

`ifndef SYNTHESIS
  initial if (Width == 0 || Kind > 3) $fatal(1, "%m: Width is at least 1, Kind at most 3");
`endif
endmodule
