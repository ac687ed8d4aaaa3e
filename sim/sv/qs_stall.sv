// Random stalls: high in often_i of 256 cycles; with 0 there, in 0, 1/10, 1/2 or 9/10 of them as the seed has it; with seed 0
// never.  Bench only.
module qs_stall #(
  parameter int unsigned Salt = 1
) (
  input  logic        clk_i,
  input  logic        rst_ni,
  input  logic [31:0] seed_i,
  input  logic [7:0]  often_i,
  output logic        stall_o
);
  logic [31:0] state, a, b, start;
  logic [7:0]  often;

  // xorshift32 (Marsaglia, Xorshift RNGs, 2003)
  assign a     = state ^ (state << 13);
  assign b     = a ^ (a >> 17);
  assign start = seed_i * 32'h9e37_79b1 + Salt * 32'h85eb_ca6b;

  always_comb begin
    unique case (start[13:12])
      2'd0: often = 8'd0;
      2'd1: often = 8'd26;
      2'd2: often = 8'd128;
      2'd3: often = 8'd230;
    endcase
    if (often_i != '0) often = often_i;
  end

  always_ff @(posedge clk_i or negedge rst_ni) begin
    if (!rst_ni) state <= 32'd1;
    else state <= (state == 32'd1 ? start | 32'd2 : b ^ (b << 5));
  end
  assign stall_o = seed_i != '0 && state[23:16] < often;
endmodule
