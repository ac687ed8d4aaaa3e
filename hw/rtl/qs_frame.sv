// A double-buffered frame memory: a stream fills one half while the other, once full, is read at any address.
//
// have_o says that a full frame can be read.  data_o is the beat at addr_i, one cycle after read_i; done_i, together with
// the last read_i of a frame, gives its half back to the stream.
module qs_frame #(
  parameter int unsigned Width     = 8,  // of a beat
  parameter int unsigned Beats     = 4,  // of a frame
  parameter int unsigned AddrWidth = Beats > 1 ? $clog2(Beats) : 1
) (
  input  logic                 clk_i,
  input  logic                 rst_ni,
  input  logic                 s_valid_i,
  output logic                 s_ready_o,
  input  logic [Width-1:0]     s_data_i,
  output logic                 have_o,
  input  logic                 read_i,
  input  logic [AddrWidth-1:0] addr_i,
  input  logic                 done_i,
  output logic [Width-1:0]     data_o
);
  logic [Width-1:0]     store [2**(AddrWidth+1)];
  logic [1:0]           full;
  logic                 fill, drain;  // the half that is written, the half that is read
  logic [AddrWidth-1:0] count;
  logic                 write, last;
  assign s_ready_o = !full[fill];
  assign have_o    = full[drain];
  assign write     = s_valid_i && s_ready_o;
  assign last      = count == AddrWidth'(Beats - 1);

  always_ff @(posedge clk_i or negedge rst_ni) begin
    if (!rst_ni) begin
      full  <= '0;
      fill  <= 1'b0;
      drain <= 1'b0;
      count <= '0;
    end else begin
      if (write) count <= last ? '0 : count + 1'b1;
      if (write && last) begin
        full[fill] <= 1'b1;
        fill       <= !fill;
      end
      if (done_i) begin  // never the half that was just filled: that one was not full
        full[drain] <= 1'b0;
        drain       <= !drain;
      end
    end
  end

  always_ff @(posedge clk_i) begin
    if (write) store[{fill, count}] <= s_data_i;
    if (read_i) data_o <= store[{drain, addr_i}];
  end

`ifndef SYNTHESIS
  initial begin
    if (Width == 0 || Beats == 0) $fatal(1, "%m: Width and Beats are at least 1");
  end
`endif
endmodule
