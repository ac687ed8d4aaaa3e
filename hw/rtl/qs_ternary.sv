// Sums of Simd inputs times ternary weights for Pe outputs: a chain of adders that add, subtract or skip; Stages clocks.
//
// A link of the chain costs what a plain adder costs, as the selection sits in its LUTs, where a tree would need a LUT a bit
// to select every other operand.  So that the chain may be clocked fast a register stands behind every Link links, and
// later inputs and weights wait in registers; those of the inputs are shared by all outputs.
// Weight (pe, simd) stands at bits (pe*Simd + simd)*2 as {negative, nonzero}, zero not being negative.  One carry of each
// output, that of its first input, is left to the adder behind.  InMax bounds the inputs' magnitude: widths follow from it.
module qs_ternary #(
  parameter int unsigned Pe       = 2,
  parameter int unsigned Simd     = 4,
  parameter int unsigned InWidth  = 8,
  parameter bit          InSigned = 0,
  parameter int unsigned InMax    = 255,
  parameter int unsigned OutWidth = 12,     // sums are taken modulo 2**OutWidth
  parameter int unsigned Link     = 4
) (
  input  logic                   clk_i,
  input  logic                   en_i,
  input  logic [Simd*InWidth-1:0] x_i,
  input  logic [Pe*Simd*2-1:0]   w_i,
  output logic [Pe*OutWidth-1:0] sum_o,
  output logic [Pe-1:0]          carry_o
);
  localparam int unsigned Stages = (Simd + Link - 1) / Link;
  localparam int unsigned Least  = InSigned && InMax >= (1 << (InWidth - 1)) ? InMax : InMax + 1;  // of a first operand, inverted or not

  for (genvar s = 0; s < Stages; s++) begin : gen_stage
    localparam int unsigned Rest  = Simd - s * Link;                    // inputs that are left
    localparam int unsigned Num   = Rest < Link ? Rest : Link;
    localparam int unsigned Full  = 1 + $clog2(Least + (s * Link + Num - 1) * InMax);
    localparam int unsigned W     = Full < OutWidth ? Full : OutWidth;  // of the sum behind this stage
    logic [Rest*InWidth-1:0] x;
    logic [Pe*Rest*2-1:0]    w;
    logic [Pe-1:0]           carry;
    logic [Pe*W-1:0]         sum;

    if (s == 0) begin : gen_first
      assign x = x_i;
      assign w = w_i;
      for (genvar p = 0; p < Pe; p++) begin : gen_pe
        assign carry[p] = w_i[p*Simd*2+1];
      end
    end else begin : gen_later
      always_ff @(posedge clk_i) begin
        if (en_i) begin
          x     <= gen_stage[s-1].x[(Rest+Link)*InWidth-1:Link*InWidth];
          carry <= gen_stage[s-1].carry;
        end
      end
      for (genvar p = 0; p < Pe; p++) begin : gen_pe
        always_ff @(posedge clk_i) if (en_i) w[p*Rest*2+:Rest*2] <= gen_stage[s-1].w[(p*(Rest+Link)+Link)*2+:Rest*2];
      end
    end

    for (genvar p = 0; p < Pe; p++) begin : gen_sum
      for (genvar i = 0; i < Num; i++) begin : gen_link
        localparam int unsigned Wide = 1 + $clog2(Least + (s * Link + i) * InMax);
        localparam int unsigned V    = Wide < OutWidth ? Wide : OutWidth;
        logic [V-1:0] y, b;
        logic         on, neg;
        assign {neg, on} = w[(p*Rest+i)*2+:2];
        assign b = V'(signed'({InSigned & x[(i+1)*InWidth-1], x[i*InWidth+:InWidth]}));
        if (s == 0 && i == 0) begin : gen_start
          assign y = (b & {V{on}}) ^ {V{neg}};
        end else begin : gen_add
          logic [V-1:0] a;
          if (i == 0) begin : gen_from_register
            localparam int unsigned Sum = 1 + $clog2(Least + (s * Link - 1) * InMax);
            localparam int unsigned A   = Sum < OutWidth ? Sum : OutWidth;
            logic [A-1:0] prior;
            assign prior = gen_stage[s-1].sum[p*A+:A];
            assign a = V'(signed'({prior[A-1], prior}));
          end else begin : gen_from_link
            assign a = V'(signed'(gen_link[i-1].y));
          end
          qs_sum2 #(.Width(V), .Kind(0)) u_sum (.a_i(a), .b_i(b), .c_i({V{on}}), .d_i({V{neg}}), .carry_i(neg), .y_o(y));
        end
      end
      always_ff @(posedge clk_i) if (en_i) sum[p*W+:W] <= gen_link[Num-1].y;
    end
  end

  localparam int unsigned Sum = 1 + $clog2(Least + (Simd - 1) * InMax);
  localparam int unsigned A   = Sum < OutWidth ? Sum : OutWidth;
  always_ff @(posedge clk_i) if (en_i) carry_o <= gen_stage[Stages-1].carry;
  for (genvar p = 0; p < Pe; p++) begin : gen_out
    logic [A-1:0] last;
    assign last = gen_stage[Stages-1].sum[p*A+:A];
    assign sum_o[p*OutWidth+:OutWidth] = OutWidth'(signed'({last[A-1], last}));
  end

`ifndef SYNTHESIS
  initial if (Pe == 0 || Simd == 0 || InWidth == 0 || OutWidth == 0 || Link == 0) $fatal(1, "%m: every number is at least 1");
`endif
endmodule
