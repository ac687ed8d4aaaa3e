// Dot products of Simd inputs with the weights of Pe outputs, Stages clocks; tag_i comes out beside the sums it came in with.
//
// The sums lack carry_o, which the adder behind takes in.  Ternary weights (Products=1, Magnitude, two bits) go through
// qs_ternary, all others through qs_products and a tree for each output.
module qs_dot #(
  parameter int unsigned Pe          = 2,
  parameter int unsigned Simd        = 4,
  parameter int unsigned InWidth     = 8,
  parameter bit          InSigned    = 0,
  parameter int unsigned InMax       = 255,
  parameter int unsigned WeightWidth = 2,
  parameter int unsigned ProdWidth   = 9,
  parameter int unsigned OutWidth    = 12,
  parameter int unsigned Products    = 1,     // Kind of qs_products
  parameter bit          Magnitude   = 1,
  parameter bit          Plain       = 0,
  parameter int unsigned Stages      = 1      // as the caller counts them
) (
  input  logic                           clk_i,
  input  logic                           rst_ni,
  input  logic                           en_i,
  input  logic [Simd*InWidth-1:0]        x_i,
  input  logic [Pe*Simd*WeightWidth-1:0] w_i,
  input  logic [2:0]                     tag_i,
  output logic [Pe*OutWidth-1:0]         sum_o,
  output logic [Pe-1:0]                  carry_o,
  output logic [2:0]                     tag_o
);
  localparam bit Ternary = Products == 1 && Magnitude && WeightWidth == 2;

  if (Ternary) begin : gen_ternary
    qs_ternary #(.Pe(Pe), .Simd(Simd), .InWidth(InWidth), .InSigned(InSigned), .InMax(InMax), .OutWidth(OutWidth)) u_ternary (
      .clk_i, .en_i, .x_i, .w_i, .sum_o, .carry_o);
  end else begin : gen_products
    logic [Pe*Simd*ProdWidth-1:0] p;
    logic [Pe*Simd-1:0]           flip, carry;
    qs_products #(.Pe(Pe), .Simd(Simd), .InWidth(InWidth), .InSigned(InSigned), .WeightWidth(WeightWidth), .ProdWidth(ProdWidth),
                  .Kind(Products), .Magnitude(Magnitude), .Plain(Plain)) u_products (
      .clk_i, .en_i, .x_i, .w_i, .p_o(p), .flip_o(flip), .carry_o(carry));
    for (genvar k = 0; k < Pe; k++) begin : gen_pe
      qs_tree #(.Count(Simd), .Width(ProdWidth), .OutWidth(OutWidth), .Plain(Plain)) u_tree (
        .clk_i, .en_i, .a_i(p[k*Simd*ProdWidth+:Simd*ProdWidth]), .flip_i(flip[k*Simd+:Simd]), .carry_i(carry[k*Simd+:Simd]),
        .sum_o(sum_o[k*OutWidth+:OutWidth]), .carry_o(carry_o[k]));
    end
  end

  if (Stages == 0) begin : gen_now
    assign tag_o = tag_i;
    logic unused;
    assign unused = rst_ni;
  end else begin : gen_tags
    logic [Stages*3-1:0] tags;
    always_ff @(posedge clk_i or negedge rst_ni) begin
      if (!rst_ni) tags <= '0;
      else if (en_i) tags <= (Stages*3)'({tags, tag_i});
    end
    assign tag_o = tags[Stages*3-1-:3];
  end
endmodule
