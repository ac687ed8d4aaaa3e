// Takes every beat and drops it: the end of a value that nobody reads.
module qs_drain #(
  parameter int unsigned Width = 8   // of a beat
) (
  input  logic             clk_i,
  input  logic             rst_ni,
  input  logic             s_valid_i,
  output logic             s_ready_o,
  input  logic [Width-1:0] s_data_i
);
  logic unused;
  assign s_ready_o = 1'b1;
  assign unused    = ^{clk_i, rst_ni, s_valid_i, s_data_i};
endmodule
