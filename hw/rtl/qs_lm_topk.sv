// The TopK largest sums that came since clear_i, in falling order, equal ones in the order of their coming; each in a cell of its own.
//
// A sum goes in before the first cell that it exceeds, and what stands there and below moves on by one.  shift_i moves all on by one,
// whatever comes: so the last cell shows the sums, the least first.  TopK must have come before; -2**(AccWidth-1) never comes.
module qs_lm_topk #(
  parameter int unsigned TopK     = 4,
  parameter int unsigned AccWidth = 20,  // signed
  parameter int unsigned TagWidth = 4    // what travels with a sum
) (
  input  logic                clk_i,
  input  logic                clear_i,
  input  logic                shift_i,
  input  logic                valid_i,
  input  logic [AccWidth-1:0] acc_i,
  input  logic [TagWidth-1:0] tag_i,
  output logic [AccWidth-1:0] first_acc_o,
  output logic [TagWidth-1:0] first_tag_o,
  output logic [AccWidth-1:0] last_acc_o,
  output logic [TagWidth-1:0] last_tag_o
);
  logic [TopK:0]                          above;       // of cell k, at index k + 1: what comes goes before it
  logic [TopK:0][AccWidth+TagWidth-1:0]   cells;       // cell k at index k + 1; index 0: what comes
  assign above[0]                   = 1'b0;
  assign cells[0]                   = {acc_i, tag_i};
  assign {first_acc_o, first_tag_o} = cells[1];
  assign {last_acc_o, last_tag_o}   = cells[TopK];

  for (genvar k = 1; k <= TopK; k++) begin : gen_cell
    assign above[k] = shift_i || signed'(acc_i) > signed'(cells[k][TagWidth+:AccWidth]);
    always_ff @(posedge clk_i) begin
      if (clear_i) cells[k] <= {1'b1, {(AccWidth+TagWidth-1){1'b0}}};
      else if ((shift_i || valid_i) && above[k]) cells[k] <= above[k-1] ? cells[k-1] : cells[0];
    end
  end

`ifndef SYNTHESIS
  initial if (TopK == 0 || AccWidth < 2 || TagWidth == 0) $fatal(1, "%m: TopK=%0d AccWidth=%0d TagWidth=%0d", TopK, AccWidth, TagWidth);
`endif
endmodule
