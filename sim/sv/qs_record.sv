// Writes every beat of an AXI4-Stream to a file: TLAST above the data, and the cycle, in hexadecimal.  Stalls at random.  Bench only.
//
// It also holds the sender to the protocol: an offered beat stays, unchanged, until it is taken (AXI4-Stream, 2.2.1).
module qs_record #(
  parameter int unsigned DataWidth = 8,
  parameter              File      = ""
) (
  input  logic                 clk_i,
  input  logic                 rst_ni,
  input  logic [31:0]          seed_i,
  input  logic [7:0]           often_i,
  input  logic [31:0]          cycle_i,
  input  logic                 stop_i,  // all has been written
  output logic [31:0]          count_o,
  input  logic                 s_axis_tvalid,
  output logic                 s_axis_tready,
  input  logic [DataWidth-1:0] s_axis_tdata,
  input  logic                 s_axis_tlast
);
  localparam logic [31:0] Alive = 32'h600d_5eed;  // what random power-up bits will not be
  int                   file;
  logic                 stall, waiting, last;
  logic [31:0]          state;                    // Alive after the first reset: before it nothing on the port is an offer
  logic [DataWidth-1:0] data;

  initial file = $fopen(File, "w");
  assign s_axis_tready = rst_ni && !stall;

  qs_stall #(.Salt(0)) u_stall (.clk_i(clk_i), .rst_ni(rst_ni), .seed_i(seed_i), .often_i(often_i), .stall_o(stall));

  always_ff @(posedge clk_i or negedge rst_ni) begin
    if (!rst_ni) begin  // an empty file again, whatever happened before the reset
      $fclose(file);
      file    <= $fopen(File, "w");
      count_o <= '0;
      waiting <= 1'b0;
      state   <= Alive;
    end else begin
      waiting <= s_axis_tvalid && !s_axis_tready;
      data    <= s_axis_tdata;
      last    <= s_axis_tlast;
      if (state == Alive && waiting && !(s_axis_tvalid && s_axis_tdata == data && s_axis_tlast == last))
        $error("an offered beat was changed or withdrawn");
      if (s_axis_tvalid && s_axis_tready) begin
        count_o <= count_o + 1;
        $fwrite(file, "%h %h\n", {3'b0, s_axis_tlast, s_axis_tdata}, cycle_i);
      end
    end
  end
  always @(posedge stop_i) $fflush(file);
  final $fclose(file);
endmodule
