// y = a * b, lane by lane; two streams are joined.  Meaning: ir/interpret.py, Mul.
//
// Every lane of y has OutWidth bits, enough for every product (ir/infer.py proves it).
// Two registers, before and after the multiplier, as DSP blocks have them; ready passes through combinationally.
module qs_mul #(
  parameter int unsigned Lanes    = 1,
  parameter int unsigned AWidth   = 8,
  parameter bit          ASigned  = 1,
  parameter int unsigned BWidth   = 8,
  parameter bit          BSigned  = 1,
  parameter int unsigned OutWidth = 16
) (
  input  logic                      clk_i,
  input  logic                      rst_ni,
  input  logic                      a_valid_i,
  output logic                      a_ready_o,
  input  logic [Lanes*AWidth-1:0]   a_data_i,
  input  logic                      b_valid_i,
  output logic                      b_ready_o,
  input  logic [Lanes*BWidth-1:0]   b_data_i,
  output logic                      m_valid_o,
  input  logic                      m_ready_i,
  output logic [Lanes*OutWidth-1:0] m_data_o
);
  typedef logic signed [OutWidth-1:0] product_t;  // modulo 2**OutWidth; the product itself fits

  logic advance, take, held;
  assign advance   = !m_valid_o || m_ready_i;
  assign take      = a_valid_i && b_valid_i && advance;
  assign a_ready_o = take;
  assign b_ready_o = take;

  logic [Lanes*AWidth-1:0] a_q;
  logic [Lanes*BWidth-1:0] b_q;
  logic [Lanes*OutWidth-1:0] products;
  for (genvar l = 0; l < Lanes; l++) begin : gen_lane
    logic [AWidth-1:0] a;
    logic [BWidth-1:0] b;
    product_t          product;
    assign a       = a_q[l*AWidth+:AWidth];
    assign b       = b_q[l*BWidth+:BWidth];
    assign product = product_t'(signed'({ASigned & a[AWidth-1], a})) * product_t'(signed'({BSigned & b[BWidth-1], b}));
    assign products[l*OutWidth+:OutWidth] = product;
  end

  always_ff @(posedge clk_i or negedge rst_ni) begin
    if (!rst_ni) {m_valid_o, held} <= 2'b00;
    else if (advance) {m_valid_o, held} <= {held, take};
  end

  always_ff @(posedge clk_i) begin
    if (advance) begin
      a_q      <= a_data_i;
      b_q      <= b_data_i;
      m_data_o <= products;
    end
  end

`ifndef SYNTHESIS
  initial begin
    if (Lanes == 0 || AWidth == 0 || BWidth == 0 || OutWidth == 0) $fatal(1, "%m: Lanes and widths are at least 1");
  end
`endif
endmodule
