// A memory with a port to write and one to read; a word is read two cycles after its address, so that a block RAM's slow output
// has a cycle of its own.  What is read from an address in the cycle in which it is written is open.
module qs_lm_memory #(
  parameter int unsigned Depth = 16,
  parameter int unsigned Width = 8,
  localparam int unsigned AddrWidth = Depth > 1 ? $clog2(Depth) : 1
) (
  input  logic                 clk_i,
  input  logic                 we_i,
  input  logic [AddrWidth-1:0] waddr_i,
  input  logic [Width-1:0]     wdata_i,
  input  logic [AddrWidth-1:0] raddr_i,
  output logic [Width-1:0]     rdata_o
);
  (* no_rw_check *) logic [Width-1:0] mem [Depth];
  logic [Width-1:0] word;
  always_ff @(posedge clk_i) begin
    if (we_i) mem[waddr_i] <= wdata_i;
  end
  always_ff @(posedge clk_i) begin
    word    <= mem[raddr_i];
    rdata_o <= word;
  end

`ifndef SYNTHESIS
  initial if (Depth == 0 || Width == 0) $fatal(1, "%m: Depth and Width are at least 1");
`endif
endmodule
