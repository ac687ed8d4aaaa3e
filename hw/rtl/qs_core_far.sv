// An outer memory for simulation: Words words from File, the first of a run Latency cycles after its request, then one a cycle.
//
// Where the weights are in a DRAM its place is taken by qs_axi_read, which has the same streams.
module qs_core_far #(
  parameter int unsigned WordBits = 64,
  parameter int unsigned Words    = 4,
  parameter int unsigned FarBits  = 2,     // of an address
  parameter int unsigned RunBits  = 3,     // of the length of a run
  parameter int unsigned Latency  = 40,
  parameter              File     = ""
) (
  input  logic                       clk_i,
  input  logic                       rst_ni,
  input  logic                       a_valid_i,
  output logic                       a_ready_o,
  input  logic [RunBits+FarBits-1:0] a_data_i,    // {words, address}
  output logic                       m_valid_o,
  input  logic                       m_ready_i,
  output logic [WordBits-1:0]        m_data_o
);
  localparam int unsigned WaitBits = $clog2(Latency + 1);
  logic [WordBits-1:0] mem [Words];
  initial $readmemh(File, mem);

  logic [RunBits-1:0]  left;
  logic [FarBits-1:0]  at, next;
  logic [WaitBits-1:0] pause;
  logic                take;
  assign a_ready_o = left == '0;
  assign take      = m_valid_o && m_ready_i;
  assign m_valid_o = left != '0 && pause == '0;
  assign next      = at + FarBits'(take);

  always_ff @(posedge clk_i) m_data_o <= mem[next];
  always_ff @(posedge clk_i or negedge rst_ni) begin
    if (!rst_ni) left <= '0;
    else if (a_ready_o) left <= a_valid_i ? a_data_i[FarBits+:RunBits] : '0;
    else if (take) left <= left - 1'b1;
  end
  always_ff @(posedge clk_i) begin
    at    <= a_ready_o ? a_data_i[FarBits-1:0] : next;
    pause <= a_ready_o ? WaitBits'(Latency) : pause == '0 ? '0 : pause - 1'b1;
  end

`ifndef SYNTHESIS
  initial begin
    if (Latency < 2 || Words == 0) $fatal(1, "%m: Latency=%0d is at least 2, Words=%0d at least 1", Latency, Words);
  end
`endif
endmodule
