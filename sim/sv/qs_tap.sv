// Writes every beat that passes on a stream inside a design to a file, in hexadecimal.  Bench only.
module qs_tap #(
  parameter int unsigned Width = 8,
  parameter              File  = ""
) (
  input logic             clk_i,
  input logic             rst_ni,
  input logic             fire_i,
  input logic [Width-1:0] data_i
);
  int file;

  initial file = $fopen(File, "w");

  always_ff @(posedge clk_i or negedge rst_ni) begin
    if (!rst_ni) begin  // an empty file again, whatever happened before the reset
      $fclose(file);
      file <= $fopen(File, "w");
    end else if (fire_i) $fwrite(file, "%h\n", data_i);
  end
  final $fclose(file);
endmodule
