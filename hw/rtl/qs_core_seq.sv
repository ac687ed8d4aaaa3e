// Microprogram sequencer: hands the words of a program out in order, {register, value} each, and starts again after HALT.
//
// Register 0 is the control register: its value is a command (0 HALT, 1 RUN, 2 FETCH, 3 SYNC), which the receiver delays by
// holding m_ready_i.  Any other command, and the end of the memory without HALT, set error_o and stop the sequencer until reset.
module qs_core_seq #(
  parameter int unsigned Words      = 4,
  parameter int unsigned RegBits    = 7,
  parameter int unsigned ValueBits  = 24,
  parameter              File       = "",
  parameter int unsigned AddrWidth  = Words > 1 ? $clog2(Words) : 1
) (
  input  logic                         clk_i,
  input  logic                         rst_ni,
  output logic                         m_valid_o,
  input  logic                         m_ready_i,
  output logic [RegBits+ValueBits-1:0] m_data_o,
  output logic [AddrWidth-1:0]         pc_o,
  output logic                         done_o,    // HALT was taken
  output logic                         error_o
);
  logic [RegBits+ValueBits-1:0] rom [Words];
  initial $readmemh(File, rom);

  logic [RegBits+ValueBits-1:0] word;
  logic [AddrWidth-1:0]         next;
  logic                         loaded, command, illegal, take, at_end;
  assign command   = word[ValueBits+:RegBits] == '0;
  assign at_end    = pc_o == AddrWidth'(Words - 1);
  assign take      = m_valid_o && m_ready_i;
  assign illegal   = command && word[ValueBits-1:0] > ValueBits'(3);
  assign m_valid_o = loaded && !illegal && !error_o;
  assign m_data_o  = word;
  assign done_o    = take && command && word[ValueBits-1:0] == '0;

  always_comb begin
    next = pc_o;
    if (done_o) next = '0;
    else if (take && !at_end) next = pc_o + 1'b1;
  end

  always_ff @(posedge clk_i) word <= rom[next];

  always_ff @(posedge clk_i or negedge rst_ni) begin
    if (!rst_ni) begin
      pc_o    <= '0;
      loaded  <= 1'b0;
      error_o <= 1'b0;
    end else begin
      pc_o   <= next;
      loaded <= 1'b1;
      if (loaded && illegal) error_o <= 1'b1;
      if (take && at_end && !done_o) error_o <= 1'b1;
    end
  end

`ifndef SYNTHESIS
  initial begin
    if (Words == 0 || RegBits == 0 || ValueBits < 2) $fatal(1, "%m: Words=%0d RegBits=%0d ValueBits=%0d", Words, RegBits, ValueBits);
  end
`endif
endmodule
