// p = a * b, signed; two registers: products of limbs that fit a DSP block, and their sum.
//
// An operand wider than its limb is cut from below into unsigned limbs of one bit less and a signed one on top.
module qs_lm_mul #(
  parameter int unsigned AWidth = 18,
  parameter int unsigned BWidth = 18,
  parameter int unsigned ALimb  = 18,  // signed bits that one block takes
  parameter int unsigned BLimb  = 18
) (
  input  logic                     clk_i,
  input  logic [AWidth-1:0]        a_i,
  input  logic [BWidth-1:0]        b_i,
  output logic [AWidth+BWidth-1:0] p_o
);
  localparam int unsigned AStep = ALimb - 1;
  localparam int unsigned BStep = BLimb - 1;
  localparam int unsigned ACount = AWidth <= ALimb ? 1 : (AWidth - 2) / AStep + 1;
  localparam int unsigned BCount = BWidth <= BLimb ? 1 : (BWidth - 2) / BStep + 1;
  localparam int unsigned ATotal = ACount * AStep + 1;
  localparam int unsigned BTotal = BCount * BStep + 1;
  typedef logic signed [AWidth+BWidth-1:0] product_t;
  typedef logic signed [ALimb+BLimb-1:0]   part_t;

  logic signed [ATotal-1:0] a;
  logic signed [BTotal-1:0] b;
  assign a = ATotal'(signed'(a_i));
  assign b = BTotal'(signed'(b_i));

  part_t [ACount*BCount-1:0] parts;
  for (genvar i = 0; i < ACount; i++) begin : gen_a
    logic signed [ALimb-1:0] x;
    if (i == ACount - 1) begin : gen_top
      assign x = a[i*AStep+:ALimb];
    end else begin : gen_low
      assign x = {1'b0, a[i*AStep+:AStep]};
    end
    for (genvar j = 0; j < BCount; j++) begin : gen_b
      logic signed [BLimb-1:0] y;
      if (j == BCount - 1) begin : gen_top
        assign y = b[j*BStep+:BLimb];
      end else begin : gen_low
        assign y = {1'b0, b[j*BStep+:BStep]};
      end
      always_ff @(posedge clk_i) parts[i*BCount+j] <= part_t'(x) * part_t'(y);
    end
  end

  product_t sum;
  always_comb begin
    sum = '0;
    for (int i = 0; i < int'(ACount); i++)
      for (int j = 0; j < int'(BCount); j++)
        sum = sum + (product_t'(signed'(parts[i*int'(BCount)+j])) <<< (i * int'(AStep) + j * int'(BStep)));
  end
  always_ff @(posedge clk_i) p_o <= sum;

`ifndef SYNTHESIS
  initial if (ALimb < 2 || BLimb < 2 || AWidth == 0 || BWidth == 0) $fatal(1, "%m: limbs have at least 2 bits, operands 1");
`endif
endmodule
