// Watches the handshakes of every stream of a design and says when to stop: done, nothing moves any more, or no end.  Bench only.
//
// At the stop it writes File: a line with output beats, cycle of the last transfer, cycles, frame error; then for each stream
// its valid and ready, and in how many cycles until the last wanted beat it moved, waited for its reader, waited for its writer.
module qs_watch #(
  parameter int unsigned Streams = 1,
  parameter              File    = ""
) (
  input  logic               clk_i,
  input  logic               rst_ni,
  input  logic [Streams-1:0] valid_i,
  input  logic [Streams-1:0] ready_i,
  input  logic               error_i,
  input  logic [31:0]        count_i,      // beats that have come out
  input  logic [31:0]        beats_i,      // beats that should
  input  logic [31:0]        patience_i,   // cycles without any transfer that mean a deadlock
  input  logic [31:0]        limit_i,      // cycles after which to give up
  output logic [31:0]        cycle_o,
  output logic               stop_o
);
  localparam logic [31:0] Tail = 32'd64;   // quiet cycles, or surplus beats, after the last wanted one
  logic [31:0] still;                      // cycles since the last transfer of any stream
  logic [31:0] moved [Streams], blocked [Streams], starved [Streams];
  int          file;

  initial file = $fopen(File, "w");

  always_ff @(posedge clk_i or negedge rst_ni) begin
    if (!rst_ni) begin
      $fclose(file);
      file    <= $fopen(File, "w");
      cycle_o <= '0;
      still   <= '0;
      stop_o  <= 1'b0;
    end else begin
      cycle_o <= cycle_o + 1;
      still   <= |(valid_i & ready_i) ? '0 : still + 1;
      stop_o  <= still > (count_i < beats_i ? patience_i : Tail) || cycle_o >= limit_i || count_i >= beats_i + Tail;
    end
  end

  always_ff @(posedge clk_i or negedge rst_ni) begin
    for (int k = 0; k < Streams; k++) begin
      if (!rst_ni) begin
        moved[k]   <= '0;
        blocked[k] <= '0;
        starved[k] <= '0;
      end else if (count_i < beats_i) begin
        moved[k]   <= moved[k] + 32'(valid_i[k] && ready_i[k]);
        blocked[k] <= blocked[k] + 32'(valid_i[k] && !ready_i[k]);
        starved[k] <= starved[k] + 32'(!valid_i[k] && ready_i[k]);
      end
    end
  end

  always @(posedge stop_o) begin
    $fwrite(file, "%0d %0d %0d %b\n", count_i, cycle_o - still, cycle_o, error_i);
    for (int k = 0; k < Streams; k++) $fwrite(file, "%b %b %0d %0d %0d\n", valid_i[k], ready_i[k], moved[k], blocked[k], starved[k]);
    $fflush(file);
  end
  final $fclose(file);
endmodule
