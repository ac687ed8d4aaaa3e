// y = table[x], a row of RowBeats beats for every index x.  Meaning: ir/interpret.py, Gather.
//
// TableFile has NumRows * RowBeats lines, row by row, each a beat of OutWidth-bit elements (lane 0 in the lowest bits).
// One index a beat; x stays on the input until its last beat is read.
module qs_gather #(
  parameter int unsigned InWidth   = 8,
  parameter int unsigned NumRows   = 256,
  parameter int unsigned RowBeats  = 4,
  parameter int unsigned Lanes     = 1,
  parameter int unsigned OutWidth  = 8,
  parameter              TableFile = ""
) (
  input  logic                      clk_i,
  input  logic                      rst_ni,
  input  logic                      s_valid_i,
  output logic                      s_ready_o,
  input  logic [InWidth-1:0]        s_data_i,
  output logic                      m_valid_o,
  input  logic                      m_ready_i,
  output logic [Lanes*OutWidth-1:0] m_data_o
);
  localparam int unsigned Depth      = NumRows * RowBeats;
  localparam int unsigned AddrWidth  = Depth > 1 ? $clog2(Depth) : 1;
  localparam int unsigned CountWidth = RowBeats > 1 ? $clog2(RowBeats) : 1;

  logic [Lanes*OutWidth-1:0] rows [Depth];
  initial $readmemh(TableFile, rows);

  logic                  advance, last;
  logic [CountWidth-1:0] count;
  logic [AddrWidth-1:0]  addr;
  assign advance   = !m_valid_o || m_ready_i;
  assign last      = count == CountWidth'(RowBeats - 1);
  assign s_ready_o = advance && last;
  assign addr      = AddrWidth'(s_data_i) * AddrWidth'(RowBeats) + AddrWidth'(count);

  always_ff @(posedge clk_i or negedge rst_ni) begin
    if (!rst_ni) begin
      m_valid_o <= 1'b0;
      count     <= '0;
    end else if (advance) begin
      m_valid_o <= s_valid_i;
      if (s_valid_i) count <= last ? '0 : count + 1'b1;
    end
  end

  always_ff @(posedge clk_i) begin
    if (advance) m_data_o <= rows[addr];
  end

`ifndef SYNTHESIS
  initial begin
    if (Lanes == 0 || RowBeats == 0) $fatal(1, "%m: Lanes and RowBeats are at least 1");
    if (InWidth > 31 || NumRows > 2**InWidth) $fatal(1, "%m: an index of %0d bits does not fit %0d rows", InWidth, NumRows);
  end
`endif
endmodule
