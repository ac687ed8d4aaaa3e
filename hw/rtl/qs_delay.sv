// What came Depth steps ago: a register, or a ring in a memory that is read a step ahead into its output register.
module qs_delay #(
  parameter int unsigned Width = 8,
  parameter int unsigned Depth = 4
) (
  input  logic             clk_i,
  input  logic             rst_ni,
  input  logic             step_i,
  input  logic [Width-1:0] d_i,
  output logic [Width-1:0] q_o
);
  if (Depth == 1) begin : gen_register
    always_ff @(posedge clk_i) begin
      if (step_i) q_o <= d_i;
    end
    logic unused;
    assign unused = rst_ni;
  end else begin : gen_ring
    // Depth - 1 words: what is written now is read Depth - 1 steps later, for the step after.
    localparam int unsigned Words     = Depth - 1;
    localparam int unsigned AddrWidth = Words > 1 ? $clog2(Words) : 1;
    logic [Width-1:0]     mem [Words];
    logic [AddrWidth-1:0] at;
    always_ff @(posedge clk_i or negedge rst_ni) begin
      if (!rst_ni) at <= '0;
      else if (step_i) at <= at == AddrWidth'(Words - 1) ? '0 : at + 1'b1;
    end
    always_ff @(posedge clk_i) begin
      if (step_i) mem[at] <= d_i;
    end
    always_ff @(posedge clk_i) begin
      if (step_i) q_o <= mem[at];
    end
  end

`ifndef SYNTHESIS
  initial begin
    if (Width == 0 || Depth == 0) $fatal(1, "%m: Width and Depth are at least 1");
  end
`endif
endmodule
