// y = a + b, lane by lane; two streams are joined.  Meaning: ir/interpret.py, Add.
//
// Every lane of y has OutWidth bits, enough for every sum (ir/infer.py proves it), so nothing is ever cut off.
// One register; ready passes through combinationally.
module qs_add #(
  parameter int unsigned Lanes    = 1,
  parameter int unsigned AWidth   = 8,
  parameter bit          ASigned  = 1,
  parameter int unsigned BWidth   = 8,
  parameter bit          BSigned  = 1,
  parameter int unsigned OutWidth = 9
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
  typedef logic signed [OutWidth-1:0] sum_t;  // modulo 2**OutWidth; the sum itself fits

  logic take;
  assign take      = a_valid_i && b_valid_i && (!m_valid_o || m_ready_i);
  assign a_ready_o = take;
  assign b_ready_o = take;

  logic [Lanes*OutWidth-1:0] sums;
  for (genvar l = 0; l < Lanes; l++) begin : gen_lane
    logic [AWidth-1:0] a;
    logic [BWidth-1:0] b;
    sum_t              sum;
    assign a   = a_data_i[l*AWidth+:AWidth];
    assign b   = b_data_i[l*BWidth+:BWidth];
    assign sum = sum_t'(signed'({ASigned & a[AWidth-1], a})) + sum_t'(signed'({BSigned & b[BWidth-1], b}));
    assign sums[l*OutWidth+:OutWidth] = sum;
  end

  always_ff @(posedge clk_i or negedge rst_ni) begin
    if (!rst_ni) m_valid_o <= 1'b0;
    else if (take) m_valid_o <= 1'b1;
    else if (m_ready_i) m_valid_o <= 1'b0;
  end

  always_ff @(posedge clk_i) begin
    if (take) m_data_o <= sums;
  end

`ifndef SYNTHESIS
  initial begin
    if (Lanes == 0 || AWidth == 0 || BWidth == 0 || OutWidth == 0) $fatal(1, "%m: Lanes and widths are at least 1");
  end
`endif
endmodule
