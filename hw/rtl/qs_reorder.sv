// Beat k of y is beat order[k] of the frame x.  Meaning: ir/interpret.py, Transpose and Reshape.
//
// OrderFile has OutBeats lines, each the number of a beat of x (InBeats of them); a beat may be taken often or never.
// Double-buffered: the next frame is taken while this one leaves, and frames follow each other without a gap.
module qs_reorder #(
  parameter int unsigned Width     = 8,  // of a beat
  parameter int unsigned InBeats   = 4,
  parameter int unsigned OutBeats  = 4,
  parameter              OrderFile = ""
) (
  input  logic             clk_i,
  input  logic             rst_ni,
  input  logic             s_valid_i,
  output logic             s_ready_o,
  input  logic [Width-1:0] s_data_i,
  output logic             m_valid_o,
  input  logic             m_ready_i,
  output logic [Width-1:0] m_data_o
);
  localparam int unsigned AddrWidth  = InBeats > 1 ? $clog2(InBeats) : 1;
  localparam int unsigned CountWidth = OutBeats > 1 ? $clog2(OutBeats) : 1;

  logic [AddrWidth-1:0] order [OutBeats];
  initial $readmemh(OrderFile, order);

  logic                  advance, last, have, have_addr, read, last_q;
  logic [CountWidth-1:0] count;
  logic [AddrWidth-1:0]  addr;
  assign advance = !m_valid_o || m_ready_i;
  assign last    = count == CountWidth'(OutBeats - 1);
  assign read    = have_addr && have && advance;

  // The address of the next beat waits in a register, whether or not its frame is there yet.
  always_ff @(posedge clk_i or negedge rst_ni) begin
    if (!rst_ni) begin
      have_addr <= 1'b0;
      count     <= '0;
      m_valid_o <= 1'b0;
    end else begin
      if (!have_addr || read) begin
        have_addr <= 1'b1;
        count     <= last ? '0 : count + 1'b1;
      end
      if (advance) m_valid_o <= read;
    end
  end

  always_ff @(posedge clk_i) begin
    if (!have_addr || read) begin
      addr   <= order[count];
      last_q <= last;
    end
  end

  qs_frame #(
    .Width    (Width),
    .Beats    (InBeats),
    .AddrWidth(AddrWidth)
  ) u_frame (
    .clk_i    (clk_i),
    .rst_ni   (rst_ni),
    .s_valid_i(s_valid_i),
    .s_ready_o(s_ready_o),
    .s_data_i (s_data_i),
    .have_o   (have),
    .read_i   (read),
    .addr_i   (addr),
    .done_i   (read && last_q),
    .data_o   (m_data_o)
  );

`ifndef SYNTHESIS
  initial begin
    if (OutBeats == 0) $fatal(1, "%m: OutBeats is at least 1");
  end
`endif
endmodule
