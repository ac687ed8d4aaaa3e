// Sum of Count signed operands by a balanced tree of adders, each as wide as what it may hold; Stages clocks.
//
// An operand may be inverted (flip_i) and may get a carry: all adders weigh 1 at their carry inputs, so the Count carries go
// into the Count - 1 adders and one is left over, carry_o, for the adder behind.  Registers stand behind every second level.
module qs_tree #(
  parameter int unsigned Count    = 4,
  parameter int unsigned Width    = 8,      // of an operand
  parameter int unsigned OutWidth = 10,     // the sum is taken modulo 2**OutWidth
  parameter bit          Plain    = 0
) (
  input  logic                   clk_i,
  input  logic                   en_i,
  input  logic [Count*Width-1:0] a_i,
  input  logic [Count-1:0]       flip_i,
  input  logic [Count-1:0]       carry_i,
  output logic [OutWidth-1:0]    sum_o,
  output logic                   carry_o
);
  localparam int unsigned Levels = $clog2(Count);

  for (genvar l = 0; l <= Levels; l++) begin : gen_level
    localparam int unsigned Num  = (Count + (1 << l) - 1) >> l;
    localparam int unsigned W    = Width + l < OutWidth ? Width + l : OutWidth;
    logic [Num*W-1:0] v;
    logic [Num-1:0]   rest;    // carries that are left: one for each operand

    if (l == 0) begin : gen_leaves
      for (genvar j = 0; j < Num; j++) begin : gen_leaf
        logic [Width-1:0] a;
        assign a = a_i[j*Width+:Width];
        if (Count == 1 || (j == Num - 1 && Count % 2 == 1)) begin : gen_alone  // no adder of the first level takes it
          assign v[j*W+:W] = W'(signed'({a[Width-1], a})) ^ {W{flip_i[j]}};
        end else begin : gen_paired
          assign v[j*W+:W] = W'(signed'({a[Width-1], a}));
        end
      end
      assign rest = carry_i;
    end else begin : gen_sums
      localparam int unsigned Below  = (Count + (1 << (l - 1)) - 1) >> (l - 1);
      localparam int unsigned WBelow = Width + l - 1 < OutWidth ? Width + l - 1 : OutWidth;
      logic [Num*W-1:0] sums;
      logic [Num-1:0]   left;

      for (genvar j = 0; j < Num; j++) begin : gen_node
        logic [WBelow-1:0] a;
        logic [W-1:0]      wide_a;
        assign a      = gen_level[l-1].v[2*j*WBelow+:WBelow];
        assign wide_a = W'(signed'({a[WBelow-1], a}));
        if (2 * j + 1 < Below) begin : gen_add
          logic [WBelow-1:0] b;
          logic [W-1:0]      wide_b;
          logic              flip_a, flip_b, carry;
          assign b      = gen_level[l-1].v[(2*j+1)*WBelow+:WBelow];
          assign wide_b = W'(signed'({b[WBelow-1], b}));
          if (l == 1) begin : gen_first
            assign flip_a = flip_i[2*j];
            assign flip_b = flip_i[2*j+1];
            assign carry  = gen_level[l-1].rest[2*j];
            assign left[j] = gen_level[l-1].rest[2*j+1];
          end else begin : gen_later
            assign flip_a = 1'b0;
            assign flip_b = 1'b0;
            assign carry  = gen_level[l-1].rest[j];
          end
          qs_sum2 #(.Width(W), .Kind(2), .Plain(Plain)) u_sum (
            .a_i(wide_a), .b_i(wide_b), .c_i({W{flip_a}}), .d_i({W{flip_b}}), .carry_i(carry), .y_o(sums[j*W+:W]));
        end else begin : gen_pass
          assign sums[j*W+:W] = wide_a;
          if (l == 1) begin : gen_carry
            assign left[j] = gen_level[l-1].rest[2*j];
          end
        end
      end
      if (l > 1) begin : gen_left
        assign left = gen_level[l-1].rest[Below-1:Below-Num];
      end

      if (l % 2 == 0 || l == Levels) begin : gen_register
        always_ff @(posedge clk_i) begin
          if (en_i) begin
            v    <= sums;
            rest <= left;
          end
        end
      end else begin : gen_wires
        assign v    = sums;
        assign rest = left;
      end
    end
  end

  if (Levels == 0) begin : gen_no_register
    logic unused;
    assign unused = clk_i ^ en_i;
  end

  localparam int unsigned Last = Width + Levels < OutWidth ? Width + Levels : OutWidth;
  logic [Last-1:0] last;
  assign last    = gen_level[Levels].v;
  assign sum_o   = OutWidth'(signed'({last[Last-1], last}));
  assign carry_o = gen_level[Levels].rest[0];

`ifndef SYNTHESIS
  initial if (Count == 0 || Width == 0 || OutWidth == 0) $fatal(1, "%m: every number is at least 1");
`endif
endmodule
