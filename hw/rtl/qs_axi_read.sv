// AXI4 read master: runs of words from an outer memory as bursts, in order.  The same streams as qs_core_far.
//
// A word is WordBits / DataWidth beats, the first in its lowest bits; word k stands at byte base_i + k * WordBits / 8, which a
// burst reaches with INCR, at most Burst beats, never across a border of 4096 bytes (AXI4, A3.4.1).  Several bursts of a run may be
// on their way.  error_o: a beat came with RRESP other than OKAY; it stays high until reset.
module qs_axi_read #(
  parameter int unsigned WordBits  = 128,
  parameter int unsigned FarBits   = 8,     // of an address in words
  parameter int unsigned RunBits   = 4,     // of the length of a run
  parameter int unsigned DataWidth = 64,    // of the bus: a power of two, at most WordBits
  parameter int unsigned AddrWidth = 32,
  parameter int unsigned Burst     = 64     // beats: a power of two, at most 256
) (
  input  logic                       clk_i,
  input  logic                       rst_ni,
  input  logic [AddrWidth-1:0]       base_i,
  input  logic                       a_valid_i,
  output logic                       a_ready_o,
  input  logic [RunBits+FarBits-1:0] a_data_i,    // {words, address}
  output logic                       m_valid_o,
  input  logic                       m_ready_i,
  output logic [WordBits-1:0]        m_data_o,
  output logic                       m_axi_arvalid,
  input  logic                       m_axi_arready,
  output logic [AddrWidth-1:0]       m_axi_araddr,
  output logic [7:0]                 m_axi_arlen,
  output logic [2:0]                 m_axi_arsize,
  output logic [1:0]                 m_axi_arburst,
  input  logic                       m_axi_rvalid,
  output logic                       m_axi_rready,
  input  logic [DataWidth-1:0]       m_axi_rdata,
  input  logic [1:0]                 m_axi_rresp,
  input  logic                       m_axi_rlast,
  output logic                       error_o
);
  localparam int unsigned Beats     = WordBits / DataWidth;   // of a word
  localparam int unsigned BeatBytes = DataWidth / 8;
  localparam int unsigned LeftBits  = RunBits + $clog2(Beats) + 1;
  localparam int unsigned PageBits  = $clog2(4096 / BeatBytes);
  localparam int unsigned SizeBits  = (LeftBits > PageBits + 1 ? LeftBits : PageBits + 1) > 9 ? (LeftBits > PageBits + 1 ? LeftBits : PageBits + 1) : 9;

  logic [RunBits-1:0]   words;
  logic [FarBits-1:0]   far;
  logic [AddrWidth-1:0] address;
  logic [SizeBits-1:0]  left, page, size;   // beats still to ask for, up to the next border, of this burst
  logic                 start, ask;
  assign {words, far}  = a_data_i;
  assign start         = a_valid_i && a_ready_o;
  assign a_ready_o     = left == '0;
  assign page          = SizeBits'(4096 / BeatBytes) - SizeBits'(PageBits'(address >> $clog2(BeatBytes)));
  assign ask           = m_axi_arvalid && m_axi_arready;
  assign m_axi_arvalid = left != '0;
  assign m_axi_araddr  = address;
  assign m_axi_arlen   = 8'(size - 1'b1);
  assign m_axi_arsize  = 3'($clog2(BeatBytes));
  assign m_axi_arburst = 2'b01;
  always_comb begin
    size = left < page ? left : page;
    if (size > SizeBits'(Burst)) size = SizeBits'(Burst);
  end

  always_ff @(posedge clk_i or negedge rst_ni) begin
    if (!rst_ni) left <= '0;
    else if (start) left <= SizeBits'(words) * SizeBits'(Beats);
    else if (ask) left <= left - size;
  end
  always_ff @(posedge clk_i) begin
    if (start) address <= base_i + AddrWidth'(far) * AddrWidth'(WordBits / 8);
    else if (ask) address <= address + AddrWidth'(size) * AddrWidth'(BeatBytes);
  end

  // Beats to words.
  logic take, full;
  assign take         = m_axi_rvalid && m_axi_rready;
  assign m_axi_rready = !m_valid_o || m_ready_i;
  if (Beats == 1) begin : gen_whole
    assign full = 1'b1;
    always_ff @(posedge clk_i) if (take) m_data_o <= m_axi_rdata;
  end else begin : gen_parts
    localparam int unsigned At = $clog2(Beats);
    logic [At-1:0] at;
    assign full = at == At'(Beats - 1);
    always_ff @(posedge clk_i or negedge rst_ni) begin
      if (!rst_ni) at <= '0;
      else if (take) at <= full ? '0 : at + 1'b1;
    end
    always_ff @(posedge clk_i) if (take) m_data_o <= {m_axi_rdata, m_data_o[WordBits-1:DataWidth]};
  end
  always_ff @(posedge clk_i or negedge rst_ni) begin
    if (!rst_ni) begin
      m_valid_o <= 1'b0;
      error_o   <= 1'b0;
    end else begin
      if (take) m_valid_o <= full;
      else if (m_ready_i) m_valid_o <= 1'b0;
      if (take && m_axi_rresp != '0) error_o <= 1'b1;
    end
  end
  logic unused;
  assign unused = m_axi_rlast;   // beats are counted

`ifndef SYNTHESIS
  initial begin
    if (WordBits % DataWidth != 0 || $countones(DataWidth) != 1 || DataWidth < 8)
      $fatal(1, "%m: DataWidth=%0d is no power of two of at least 8 that divides WordBits=%0d", DataWidth, WordBits);
    if ($countones(Burst) != 1 || Burst > 256) $fatal(1, "%m: Burst=%0d is no power of two up to 256", Burst);
  end
`endif
endmodule
