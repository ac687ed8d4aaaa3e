// Sum of Trits activations times ternary weights by pairs and then threes, a register behind each level: for LUTs of six inputs, where
// a pair with both its weights and a sum of three cost what an adder of two costs.  qs_ternary and qs_tree do the same elsewhere.
//
// A subtracted activation is complemented, and a carry is due for it.  Each adder takes one carry for each operand but one, so that a
// node hands on the sum and one carry; carry_o is left to the adder behind.  Levels clocks behind the pairs' one.
module qs_lm_tree #(
  parameter int unsigned Trits    = 80,
  parameter int unsigned ActWidth = 8,
  parameter int unsigned OutWidth = 15,    // the sum is taken modulo 2**OutWidth
  parameter int unsigned Levels   = 4,     // 3**Levels pairs at least
  parameter int unsigned Carry    = 0      // as in qs_lm_pair
) (
  input  logic                      clk_i,
  input  logic [Trits*ActWidth-1:0] x_i,
  input  logic [Trits-1:0]          on_i,
  input  logic [Trits-1:0]          minus_i,
  output logic [OutWidth-1:0]       sum_o,
  output logic                      carry_o
);
  localparam int unsigned Pairs = (Trits + 1) / 2;

  for (genvar l = 0; l <= Levels; l++) begin : gen_level
    localparam int unsigned Num  = (Pairs + 3 ** l - 1) / 3 ** l;
    localparam int unsigned Full = ActWidth + $clog2(2 * 3 ** l);
    localparam int unsigned W    = Full < OutWidth ? Full : OutWidth;
    logic [Num*W-1:0] v, sums;
    logic [Num-1:0]   rest, left;

    if (l == 0) begin : gen_pairs
      logic [2*Pairs*ActWidth-1:0] x;
      logic [2*Pairs-1:0]          on, minus;
      assign x     = (2*Pairs*ActWidth)'(x_i);
      assign on    = (2*Pairs)'(on_i);
      assign minus = (2*Pairs)'(minus_i);
      for (genvar j = 0; j < Num; j++) begin : gen_pair
        logic [ActWidth-1:0] a, b;
        assign {b, a}  = x[2*j*ActWidth+:2*ActWidth];
        assign left[j] = minus[2*j+1];
        qs_lm_pair #(.Width(W), .Carry(Carry)) u_pair (
          .a_i(W'(signed'({a[ActWidth-1], a}))), .b_i(W'(signed'({b[ActWidth-1], b}))), .on_i(on[2*j+:2]), .minus_i(minus[2*j+:2]),
          .carry_i(minus[2*j]), .y_o(sums[j*W+:W]));
      end
    end else begin : gen_threes
      localparam int unsigned Below  = (Pairs + 3 ** (l - 1) - 1) / 3 ** (l - 1);
      localparam int unsigned FullB  = ActWidth + $clog2(2 * 3 ** (l - 1));
      localparam int unsigned WBelow = FullB < OutWidth ? FullB : OutWidth;
      logic [3*Num*W-1:0] wide;
      logic [3*Num-1:0]   due;
      for (genvar j = 0; j < 3 * Num; j++) begin : gen_wide
        if (j < Below) begin : gen_used
          logic [WBelow-1:0] one;
          assign one          = gen_level[l-1].v[j*WBelow+:WBelow];
          assign wide[j*W+:W] = W'(signed'({one[WBelow-1], one}));
          assign due[j]       = gen_level[l-1].rest[j];
        end else begin : gen_none
          assign wide[j*W+:W] = '0;
          assign due[j]       = 1'b0;
        end
      end
      for (genvar j = 0; j < Num; j++) begin : gen_node
        if (3 * j + 2 < Below) begin : gen_three
          qs_lm_sum3 #(.Width(W), .Carry(Carry)) u_sum (.a_i(wide[3*j*W+:W]), .b_i(wide[(3*j+1)*W+:W]), .c_i(wide[(3*j+2)*W+:W]), .carry_i(due[3*j+:2]), .y_o(sums[j*W+:W]));
          assign left[j] = due[3*j+2];
        end else if (3 * j + 1 < Below) begin : gen_two
          qs_sum2 #(.Width(W), .Kind(0)) u_sum (.a_i(wide[3*j*W+:W]), .b_i(wide[(3*j+1)*W+:W]), .c_i('1), .d_i('0), .carry_i(due[3*j]), .y_o(sums[j*W+:W]));
          assign left[j] = due[3*j+1];
        end else begin : gen_one
          assign sums[j*W+:W] = wide[3*j*W+:W];
          assign left[j] = due[3*j];
        end
      end
      logic unused;
      assign unused = ^{wide, due};   // of the last node some do not exist
    end
    always_ff @(posedge clk_i) begin
      v    <= sums;
      rest <= left;
    end
  end

  localparam int unsigned FullSum = ActWidth + $clog2(2 * 3 ** Levels);
  localparam int unsigned Last    = FullSum < OutWidth ? FullSum : OutWidth;
  logic [Last-1:0] last;
  assign last    = gen_level[Levels].v;
  assign sum_o   = OutWidth'(signed'({last[Last-1], last}));
  assign carry_o = gen_level[Levels].rest[0];

`ifndef SYNTHESIS
  initial if (Trits == 0 || ActWidth < 2 || 3 ** Levels < Pairs) $fatal(1, "%m: Trits=%0d ActWidth=%0d Levels=%0d", Trits, ActWidth, Levels);
`endif
endmodule
