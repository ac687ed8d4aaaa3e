// Watches the handshakes of every stream of a design and says when to stop: done, or nothing moves any more.  Bench only.
module qs_watch #(
  parameter int unsigned Streams = 1
) (
  input  logic               clk_i,
  input  logic               rst_ni,
  input  logic [Streams-1:0] valid_i,
  input  logic [Streams-1:0] ready_i,
  input  logic [31:0]        count_i,      // beats that have come out
  input  logic [31:0]        beats_i,      // beats that should
  input  logic [31:0]        patience_i,   // cycles without any transfer that mean a deadlock
  output logic [31:0]        cycle_o,
  output logic [31:0]        still_o,      // cycles since the last transfer of any stream
  output logic               stop_o
);
  localparam logic [31:0] Tail = 32'd64;   // quiet cycles after the last beat, so that surplus ones are seen

  always_ff @(posedge clk_i or negedge rst_ni) begin
    if (!rst_ni) begin
      cycle_o <= '0;
      still_o <= '0;
      stop_o  <= 1'b0;
    end else begin
      cycle_o <= cycle_o + 1;
      still_o <= |(valid_i & ready_i) ? '0 : still_o + 1;
      stop_o  <= still_o > (count_i < beats_i ? patience_i : Tail);
    end
  end
endmodule
