// Beats of weights from an outer memory: the stream of qs_lm_source, read ahead over AXI4.
//
// Beat k stands at byte base_i + k * BeatWidth / 8.  From the first seek on the stream is read ahead in runs of up to Burst beats, as
// far as the buffer of Depth beats reaches, so that a latency of some Depth - Burst cycles is hidden.  A seek flushes: the beat on
// offer is withdrawn, what is buffered or on its way is thrown away, one beat a cycle, while the new beats are asked for.
// want_i: the reader would take a beat.  Cycles in which it finds none are counted; Limit of them in a row raise timeout_o, and an RRESP
// other than OKAY raises error_o; both stay high until reset.
module qs_lm_stream #(
  parameter int unsigned BeatWidth = 128,
  parameter int unsigned Words     = 4096,  // beats of the stream
  parameter int unsigned DataWidth = 128,   // of the bus: a power of two that divides BeatWidth
  parameter int unsigned AddrWidth = 32,
  parameter int unsigned Burst     = 64,    // beats: a power of two, at most 256
  parameter int unsigned Depth     = 256,   // beats: a multiple of Burst, two at least
  parameter int unsigned Limit     = 65536, // cycles
  parameter int unsigned SeekBits  = Words > 1 ? $clog2(Words) : 1
) (
  input  logic                 clk_i,
  input  logic                 rst_ni,
  input  logic [AddrWidth-1:0] base_i,
  input  logic                 c_valid_i,
  output logic                 c_ready_o,
  input  logic [SeekBits-1:0]  c_data_i,    // the beat to go on with
  input  logic                 want_i,
  output logic                 m_valid_o,
  input  logic                 m_ready_i,
  output logic [BeatWidth-1:0] m_data_o,
  output logic                 m_axi_arvalid,
  input  logic                 m_axi_arready,
  output logic [AddrWidth-1:0] m_axi_araddr,
  output logic [7:0]           m_axi_arlen,
  output logic [2:0]           m_axi_arsize,
  output logic [1:0]           m_axi_arburst,
  input  logic                 m_axi_rvalid,
  output logic                 m_axi_rready,
  input  logic [DataWidth-1:0] m_axi_rdata,
  input  logic [1:0]           m_axi_rresp,
  input  logic                 m_axi_rlast,
  output logic [31:0]          underruns_o,
  output logic                 error_o,
  output logic                 timeout_o
);
  localparam int unsigned RunBits   = $clog2(Burst) + 1;
  localparam int unsigned CountBits = $clog2(Depth + 1);
  localparam int unsigned EndBits   = SeekBits + 1 > RunBits ? SeekBits + 1 : RunBits;
  localparam int unsigned WaitBits  = $clog2(Limit + 1);
  typedef logic [CountBits-1:0] count_t;

  // Runs of beats: up to a multiple of Burst, or to the end of the stream.
  logic [SeekBits-1:0] at;
  logic [EndBits-1:0]  left, run;
  count_t              claimed, skip;       // beats asked for and not delivered; of those, to be thrown away
  logic                open, ask, ready, fits, pop;
  assign left = EndBits'(Words) - EndBits'(at);
  always_comb begin
    run = EndBits'(Burst) - (EndBits'(at) & EndBits'(Burst - 1));
    if (run > left) run = left;
  end
  assign fits      = count_t'(Depth) - claimed >= count_t'(run);
  assign ask       = open && fits && !c_valid_i && ready;
  assign c_ready_o = 1'b1;

  always_ff @(posedge clk_i or negedge rst_ni) begin
    if (!rst_ni) begin
      open    <= 1'b0;
      at      <= '0;
      claimed <= '0;
      skip    <= '0;
    end else begin
      open    <= open || c_valid_i;
      claimed <= claimed + (ask ? count_t'(run) : '0) - count_t'(pop);
      if (c_valid_i) begin
        at   <= c_data_i;
        skip <= claimed - count_t'(pop);
      end else begin
        if (ask) at <= run == left ? '0 : at + SeekBits'(run);
        if (pop && skip != '0) skip <= skip - 1'b1;
      end
    end
  end

  logic                 word_valid, word_ready, beat_valid;
  logic [BeatWidth-1:0] word;
  qs_axi_read #(
    .WordBits(BeatWidth), .FarBits(SeekBits), .RunBits(RunBits), .DataWidth(DataWidth), .AddrWidth(AddrWidth), .Burst(Burst)
  ) u_read (
    .clk_i, .rst_ni, .base_i, .a_valid_i(open && fits && !c_valid_i), .a_ready_o(ready), .a_data_i({RunBits'(run), at}),
    .m_valid_o(word_valid), .m_ready_i(word_ready), .m_data_o(word), .m_axi_arvalid, .m_axi_arready, .m_axi_araddr, .m_axi_arlen,
    .m_axi_arsize, .m_axi_arburst, .m_axi_rvalid, .m_axi_rready, .m_axi_rdata, .m_axi_rresp, .m_axi_rlast, .error_o);
  qs_fifo #(.DataWidth(BeatWidth), .Depth(Depth)) u_fifo (
    .clk_i, .rst_ni, .s_valid_i(word_valid), .s_ready_o(word_ready), .s_data_i(word),
    .m_valid_o(beat_valid), .m_ready_i(m_ready_i || skip != '0), .m_data_o);
  assign m_valid_o = beat_valid && skip == '0;
  assign pop       = beat_valid && (m_ready_i || skip != '0);

  logic [WaitBits-1:0] waited;
  always_ff @(posedge clk_i or negedge rst_ni) begin
    if (!rst_ni) begin
      underruns_o <= '0;
      waited      <= '0;
      timeout_o   <= 1'b0;
    end else begin
      if (!want_i || m_valid_o) begin
        waited <= '0;
      end else begin
        underruns_o <= underruns_o + 1'b1;
        if (waited == WaitBits'(Limit - 1)) timeout_o <= 1'b1;
        else waited <= waited + 1'b1;
      end
    end
  end

`ifndef SYNTHESIS
  initial begin
    if (Words == 0 || Limit == 0) $fatal(1, "%m: Words and Limit are at least 1");
    if (Depth % Burst != 0 || Depth < 2 * Burst) $fatal(1, "%m: Depth=%0d is no multiple of Burst=%0d, or less than two", Depth, Burst);
  end
`endif
endmodule
