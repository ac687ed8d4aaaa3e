// First-in first-out buffer for Depth beats in a memory, with one more in the output register.
//
// The memory is read synchronously (a block RAM fits); a beat needs two cycles to pass an empty buffer.
module qs_fifo #(
  parameter int unsigned DataWidth = 8,
  parameter int unsigned Depth     = 2
) (
  input  logic                 clk_i,
  input  logic                 rst_ni,
  input  logic                 s_valid_i,
  output logic                 s_ready_o,
  input  logic [DataWidth-1:0] s_data_i,
  output logic                 m_valid_o,
  input  logic                 m_ready_i,
  output logic [DataWidth-1:0] m_data_o
);
  localparam int unsigned AddrWidth  = Depth > 1 ? $clog2(Depth) : 1;
  localparam int unsigned CountWidth = $clog2(Depth + 1);
  typedef logic [AddrWidth-1:0]  addr_t;
  typedef logic [CountWidth-1:0] count_t;

  logic [DataWidth-1:0] mem [Depth];
  addr_t                wr, rd;
  count_t               count;
  logic                 push, pop;

  assign s_ready_o = count != count_t'(Depth);
  assign push      = s_valid_i && s_ready_o;
  assign pop       = count != '0 && (!m_valid_o || m_ready_i);

  always_ff @(posedge clk_i or negedge rst_ni) begin
    if (!rst_ni) begin
      wr        <= '0;
      rd        <= '0;
      count     <= '0;
      m_valid_o <= 1'b0;
    end else begin
      if (push) wr <= wr == addr_t'(Depth - 1) ? '0 : wr + addr_t'(1);
      if (pop)  rd <= rd == addr_t'(Depth - 1) ? '0 : rd + addr_t'(1);
      if (push && !pop) count <= count + count_t'(1);
      if (pop && !push) count <= count - count_t'(1);
      if (pop) m_valid_o <= 1'b1;
      else if (m_ready_i) m_valid_o <= 1'b0;
    end
  end

  always_ff @(posedge clk_i) begin
    if (push) mem[wr] <= s_data_i;
  end

  always_ff @(posedge clk_i) begin
    if (pop) m_data_o <= mem[rd];
  end

`ifndef SYNTHESIS
  initial begin
    if (DataWidth == 0 || Depth == 0) $fatal(1, "%m: DataWidth and Depth are at least 1");
  end
`endif
endmodule
