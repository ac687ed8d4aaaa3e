// Scratchpad of the core: words of Lanes elements, one read and one write a cycle; the write takes any set of the lanes.
module qs_core_spad #(
  parameter int unsigned Lanes     = 4,    // a power of two
  parameter int unsigned Width     = 8,    // of an element
  parameter int unsigned Words     = 16,
  parameter int unsigned AddrWidth = Words > 1 ? $clog2(Words) : 1
) (
  input  logic                   clk_i,
  input  logic                   read_i,
  input  logic [AddrWidth-1:0]   raddr_i,
  output logic [Lanes*Width-1:0] rdata_o,  // one cycle after read_i
  input  logic [Lanes-1:0]       write_i,
  input  logic [AddrWidth-1:0]   waddr_i,
  input  logic [Lanes*Width-1:0] wdata_i
);
  for (genvar l = 0; l < Lanes; l++) begin : gen_bank
    logic [Width-1:0] bank [Words];
    always_ff @(posedge clk_i) begin
      if (write_i[l]) bank[waddr_i] <= wdata_i[l*Width+:Width];
    end
    always_ff @(posedge clk_i) begin
      if (read_i) rdata_o[l*Width+:Width] <= bank[raddr_i];
    end
  end

`ifndef SYNTHESIS
  initial begin
    if (Lanes == 0 || Width == 0 || Words == 0) $fatal(1, "%m: Lanes=%0d Width=%0d Words=%0d", Lanes, Width, Words);
  end
`endif
endmodule
