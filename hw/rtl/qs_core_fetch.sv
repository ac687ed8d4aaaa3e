// Copies runs of words from an outer memory into the weight memory while the core works.
//
// Registers: 80 first word there, 81 first word here, 82 number of words.  FETCH (2) in register 0 starts a run; busy_o until
// its last word is written.  A run is one request {address, words}; its words come back in order, whenever the memory has them.
module qs_core_fetch #(
  parameter int unsigned WordBits  = 64,
  parameter int unsigned FarBits   = 24,    // of an address of the outer memory
  parameter int unsigned NearBits  = 8,     // of an address of the weight memory
  parameter int unsigned RegBits   = 7,
  parameter int unsigned ValueBits = 24
) (
  input  logic                         clk_i,
  input  logic                         rst_ni,
  input  logic                         c_valid_i,
  output logic                         c_ready_o,
  input  logic [RegBits+ValueBits-1:0] c_data_i,
  output logic                         a_valid_o,
  input  logic                         a_ready_i,
  output logic [FarBits+NearBits:0]    a_data_o,   // {words, address}
  input  logic                         s_valid_i,
  output logic                         s_ready_o,
  input  logic [WordBits-1:0]          s_data_i,
  output logic                         m_valid_o,
  input  logic                         m_ready_i,
  output logic [NearBits+WordBits-1:0] m_data_o    // {address, word}
);
  logic [RegBits-1:0]   register;
  logic [ValueBits-1:0] value;
  logic [FarBits-1:0]   far;
  logic [NearBits-1:0]  near, at;
  logic [NearBits:0]    words, left;
  logic                 write, start;
  assign {register, value} = c_data_i;
  assign c_ready_o         = left == '0 && !a_valid_o;
  assign write             = c_valid_i && c_ready_o;
  assign start             = write && register == '0 && value == ValueBits'(2);

  always_ff @(posedge clk_i) begin
    if (write && register == RegBits'(80)) far   <= FarBits'(value);
    if (write && register == RegBits'(81)) near  <= NearBits'(value);
    if (write && register == RegBits'(82)) words <= (NearBits+1)'(value);
  end

  assign m_valid_o = left != '0 && s_valid_i;
  assign s_ready_o = left != '0 && m_ready_i;
  assign m_data_o  = {at, s_data_i};
  assign a_data_o  = {words, far};
  always_ff @(posedge clk_i or negedge rst_ni) begin
    if (!rst_ni) begin
      left      <= '0;
      a_valid_o <= 1'b0;
    end else begin
      if (start) left <= words;
      else if (m_valid_o && m_ready_i) left <= left - 1'b1;
      if (start) a_valid_o <= words != '0;
      else if (a_ready_i) a_valid_o <= 1'b0;
    end
  end
  always_ff @(posedge clk_i) begin
    if (start) at <= near;
    else if (m_valid_o && m_ready_i) at <= at + 1'b1;
  end

`ifndef SYNTHESIS
  initial begin
    if (WordBits == 0 || FarBits == 0 || NearBits == 0) $fatal(1, "%m: WordBits=%0d FarBits=%0d NearBits=%0d", WordBits, FarBits, NearBits);
  end
`endif
endmodule
