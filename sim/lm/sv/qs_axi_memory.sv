// A memory behind an AXI4 read port that is as slow as it is told to be, and that holds the master to the protocol.  Bench only.
//
// Bursts (INCR, whole beats) are answered in order, the first beat at least latency_i cycles after its request was taken.  With
// seed_i both channels stand still in often_i of 256 cycles; share_i of 256 cycles carry a beat at most (0: all of them).  From
// beat mute_i on it never answers again, beat bad_i and those behind it come with SLVERR (all ones: never).
module qs_axi_memory #(
  parameter int unsigned DataWidth = 128,
  parameter int unsigned AddrWidth = 32,
  parameter int unsigned Beats     = 16,    // that it holds
  parameter int unsigned Base      = 0,     // address of the first
  parameter int unsigned Depth     = 16,    // requests that wait at most
  parameter int unsigned Salt      = 1,
  parameter              File      = ""     // $readmemh: a beat a line
) (
  input  logic                 clk_i,
  input  logic                 rst_ni,
  input  logic [31:0]          seed_i,
  input  logic [7:0]           often_i,
  input  logic [15:0]          latency_i,
  input  logic [7:0]           share_i,
  input  logic [31:0]          mute_i,
  input  logic [31:0]          bad_i,
  output logic [31:0]          beats_o,     // sent since reset
  input  logic                 s_axi_arvalid,
  output logic                 s_axi_arready,
  input  logic [AddrWidth-1:0] s_axi_araddr,
  input  logic [7:0]           s_axi_arlen,
  input  logic [2:0]           s_axi_arsize,
  input  logic [1:0]           s_axi_arburst,
  output logic                 s_axi_rvalid,
  input  logic                 s_axi_rready,
  output logic [DataWidth-1:0] s_axi_rdata,
  output logic [1:0]           s_axi_rresp,
  output logic                 s_axi_rlast
);
  localparam int unsigned BeatBytes = DataWidth / 8;
  localparam int unsigned IndexBits = Depth > 1 ? $clog2(Depth) : 1;
  localparam logic [31:0] Alive     = 32'h600d_5eed;  // what random power-up bits will not be

  logic [DataWidth-1:0] mem [Beats];
  initial $readmemh(File, mem);

  typedef struct packed {
    logic [31:0] beat;
    logic [31:0] due;
    logic [7:0]  left;
  } request_t;
  request_t             queue [Depth];
  request_t             head;
  logic [IndexBits:0]   count;
  logic [IndexBits-1:0] first, free;
  logic [31:0]          cycle, state;
  logic [8:0]           credit;
  logic                 ask, send, pop, stall_ar, stall_r, waiting;
  logic [AddrWidth+12:0] offer, held;

  qs_stall #(.Salt(Salt)) u_stall_ar (.clk_i(clk_i), .rst_ni(rst_ni), .seed_i(seed_i), .often_i(often_i), .stall_o(stall_ar));
  qs_stall #(.Salt(Salt + 64)) u_stall_r (.clk_i(clk_i), .rst_ni(rst_ni), .seed_i(seed_i), .often_i(often_i), .stall_o(stall_r));

  assign s_axi_arready = rst_ni && !stall_ar && count < (IndexBits+1)'(Depth);
  assign ask           = s_axi_arvalid && s_axi_arready;
  assign offer         = {s_axi_arburst, s_axi_arsize, s_axi_arlen, s_axi_araddr};
  assign head          = queue[first];
  assign send          = count != '0 && cycle >= head.due && !stall_r && beats_o < mute_i && (share_i == '0 || credit[8])
                      && (!s_axi_rvalid || s_axi_rready);
  assign pop           = send && head.left == '0;

  always_ff @(posedge clk_i or negedge rst_ni) begin
    if (!rst_ni) begin
      {count, first, free, cycle, credit, beats_o} <= '0;
      s_axi_rvalid <= 1'b0;
      waiting      <= 1'b0;
      state        <= Alive;
    end else begin
      cycle <= cycle + 1;
      count <= count + (IndexBits+1)'(ask) - (IndexBits+1)'(pop);
      if (ask) free <= free == IndexBits'(Depth - 1) ? '0 : free + 1'b1;
      if (pop) first <= first == IndexBits'(Depth - 1) ? '0 : first + 1'b1;
      if (send) beats_o <= beats_o + 1;
      if (send) s_axi_rvalid <= 1'b1;
      else if (s_axi_rready) s_axi_rvalid <= 1'b0;
      if (share_i == '0) credit <= '0;
      else if (send) credit <= credit - 9'd256 + 9'(share_i);
      else if (!credit[8]) credit <= credit + 9'(share_i);
      waiting <= s_axi_arvalid && !s_axi_arready;
      held    <= offer;
      if (state == Alive && waiting && !(s_axi_arvalid && offer == held)) $error("%m: a request was changed or withdrawn before it was taken");
      if (ask) check();
    end
  end

  always_ff @(posedge clk_i) begin
    if (ask) queue[free] <= '{beat: 32'((s_axi_araddr - AddrWidth'(Base)) / BeatBytes), due: cycle + 32'(latency_i), left: s_axi_arlen};
    if (send) begin
      queue[first].beat <= head.beat + 1;
      queue[first].left <= head.left - 1'b1;
      s_axi_rdata       <= mem[head.beat];
      s_axi_rresp       <= beats_o >= bad_i ? 2'b10 : 2'b00;
      s_axi_rlast       <= head.left == '0;
    end
  end

  // What AXI4 asks of a burst (A3.4.1), and that it stays in the memory.
  function automatic void check();
    logic [31:0] from, bytes;
    from  = 32'(s_axi_araddr - AddrWidth'(Base));
    bytes = (32'(s_axi_arlen) + 1) * BeatBytes;
    if (s_axi_arburst != 2'b01) $error("%m: ARBURST=%b; INCR (01) is expected", s_axi_arburst);
    if (s_axi_arsize != 3'($clog2(BeatBytes))) $error("%m: ARSIZE=%0d; the bus has %0d bytes", s_axi_arsize, BeatBytes);
    if (s_axi_araddr % AddrWidth'(BeatBytes) != '0) $error("%m: ARADDR=%h is not aligned to %0d bytes", s_axi_araddr, BeatBytes);
    if (32'(s_axi_araddr[11:0]) + bytes > 4096) $error("%m: the burst at %h of %0d bytes crosses a border of 4096", s_axi_araddr, bytes);
    if (64'(from) + 64'(bytes) > 64'(Beats * BeatBytes))   // an address below Base is far above it
      $error("%m: the burst at %h of %0d bytes leaves the memory of %0d bytes at %h", s_axi_araddr, bytes, Beats * BeatBytes, Base);
  endfunction
endmodule
