// Yosys techmap, run before alumacc: every adder becomes an $alu of its own (alumacc would merge them into carry-save
// trees, which cost more LUTs than the carry chains they replace), and a product smaller than `DSP_BITS by `DSP_BITS bits
// becomes rows of LUT adders; a larger one is left for the multiplier blocks.

(* techmap_celltype = "$add" *)
module qs_map_add (A, B, Y);
  parameter A_SIGNED = 0;
  parameter B_SIGNED = 0;
  parameter A_WIDTH = 1;
  parameter B_WIDTH = 1;
  parameter Y_WIDTH = 1;
  (* force_downto *) input [A_WIDTH-1:0] A;
  (* force_downto *) input [B_WIDTH-1:0] B;
  (* force_downto *) output [Y_WIDTH-1:0] Y;
  wire [Y_WIDTH-1:0] x, co;
  \$alu #(.A_SIGNED(A_SIGNED), .B_SIGNED(B_SIGNED), .A_WIDTH(A_WIDTH), .B_WIDTH(B_WIDTH), .Y_WIDTH(Y_WIDTH))
    alu (.A(A), .B(B), .BI(1'b0), .CI(1'b0), .X(x), .Y(Y), .CO(co));
endmodule

(* techmap_celltype = "$sub" *)
module qs_map_sub (A, B, Y);
  parameter A_SIGNED = 0;
  parameter B_SIGNED = 0;
  parameter A_WIDTH = 1;
  parameter B_WIDTH = 1;
  parameter Y_WIDTH = 1;
  (* force_downto *) input [A_WIDTH-1:0] A;
  (* force_downto *) input [B_WIDTH-1:0] B;
  (* force_downto *) output [Y_WIDTH-1:0] Y;
  wire [Y_WIDTH-1:0] x, co;
  \$alu #(.A_SIGNED(A_SIGNED), .B_SIGNED(B_SIGNED), .A_WIDTH(A_WIDTH), .B_WIDTH(B_WIDTH), .Y_WIDTH(Y_WIDTH))
    alu (.A(A), .B(B), .BI(1'b1), .CI(1'b1), .X(x), .Y(Y), .CO(co));
endmodule

// A row for each bit of B, from the lowest: half the sum so far, plus A where the bit is set (minus A for a sign bit).
// An operand whose sign bit is known to be 0 (an unsigned one, extended) has a row less, so it is B if that makes it shorter.
(* techmap_celltype = "$mul" *)
module qs_map_mul (A, B, Y);
  parameter A_SIGNED = 0;
  parameter B_SIGNED = 0;
  parameter A_WIDTH = 1;
  parameter B_WIDTH = 1;
  parameter Y_WIDTH = 1;
  parameter _TECHMAP_CONSTMSK_A_ = 0;
  parameter _TECHMAP_CONSTVAL_A_ = 0;
  parameter _TECHMAP_CONSTMSK_B_ = 0;
  parameter _TECHMAP_CONSTVAL_B_ = 0;
  (* force_downto *) input [A_WIDTH-1:0] A;
  (* force_downto *) input [B_WIDTH-1:0] B;
  (* force_downto *) output [Y_WIDTH-1:0] Y;
  localparam SIGNED = A_SIGNED && B_SIGNED;
  localparam A_PLUS = SIGNED && A_WIDTH > 1 && _TECHMAP_CONSTMSK_A_[A_WIDTH-1] && !_TECHMAP_CONSTVAL_A_[A_WIDTH-1];
  localparam B_PLUS = SIGNED && B_WIDTH > 1 && _TECHMAP_CONSTMSK_B_[B_WIDTH-1] && !_TECHMAP_CONSTVAL_B_[B_WIDTH-1];
  localparam ROWS = B_WIDTH - B_PLUS;
  localparam W = A_WIDTH + 1;
  genvar k;
  generate
    if (A_WIDTH - A_PLUS < ROWS) begin
      \$mul #(.A_SIGNED(B_SIGNED), .B_SIGNED(A_SIGNED), .A_WIDTH(B_WIDTH), .B_WIDTH(A_WIDTH), .Y_WIDTH(Y_WIDTH))
        _TECHMAP_REPLACE_ (.A(B), .B(A), .Y(Y));
    end else if (ROWS * A_WIDTH >= `DSP_BITS * `DSP_BITS || SIGNED && B_WIDTH == 1) begin
      wire _TECHMAP_FAIL_ = 1;
    end else begin
      wire [W-1:0] a = {SIGNED && A[A_WIDTH-1], A};
      wire [ROWS*W-1:0] t;
      wire [W+ROWS-2:0] p;
      assign t[0+:W] = B[0] ? a : {W{1'b0}};
      for (k = 1; k < ROWS; k = k + 1) begin : row
        qs_row #(.W(W), .SUB(SIGNED && k == B_WIDTH - 1))
          add (.A({SIGNED && t[k*W-1], t[k*W-1:(k-1)*W+1]}), .B(a), .ON(B[k]), .Y(t[k*W+:W]));
        assign p[k-1] = t[(k-1)*W];
      end
      assign p[W+ROWS-2:ROWS-1] = t[(ROWS-1)*W+:W];
      if (Y_WIDTH > W + ROWS - 1)
        assign Y = {{(Y_WIDTH-W-ROWS+1){SIGNED && p[W+ROWS-2]}}, p};
      else
        assign Y = p[Y_WIDTH-1:0];
    end
  endgenerate
endmodule

// Y = A + (ON ? B : 0), or A - (ON ? B : 0).
(* techmap_celltype = "qs_row" *)
module qs_map_row (A, B, ON, Y);
  parameter W = 1;
  parameter SUB = 0;
  input [W-1:0] A, B;
  input ON;
  output [W-1:0] Y;
`ifdef CCU2C  // the mask goes into the fourth input of the carry cell's LUT, where an AND gate would cost one more
  localparam N = (W + 1) / 2;
  wire [2*N-1:0] a = A, b = B, y;
  wire [N:0] c;
  genvar i;
  assign c[0] = SUB ? ON : 1'b0;
  assign Y = y[W-1:0];
  generate for (i = 0; i < N; i = i + 1) begin : slice
    CCU2C #(.INIT0(16'h96AA), .INIT1(16'h96AA), .INJECT1_0("NO"), .INJECT1_1("NO")) cell (
      .CIN(c[i]), .A0(a[2*i]), .B0(b[2*i]), .C0(SUB ? 1'b1 : 1'b0), .D0(ON),
      .A1(a[2*i+1]), .B1(b[2*i+1]), .C1(SUB ? 1'b1 : 1'b0), .D1(ON), .S0(y[2*i]), .S1(y[2*i+1]), .COUT(c[i+1]));
  end endgenerate
`else
  generate
    if (SUB) assign Y = A - (ON ? B : {W{1'b0}});
    else assign Y = A + (ON ? B : {W{1'b0}});
  endgenerate
`endif
endmodule
