// qs_core_seq with its program counter beside each word, {0, pc, word}; all ones, for ever, once it has an error.
module core_seq #(
  parameter int unsigned Words     = 4,
  parameter int unsigned RegBits   = 7,
  parameter int unsigned ValueBits = 16,
  parameter int unsigned AddrWidth = 2,
  parameter              File      = ""
) (
  input  logic                                     clk_i,
  input  logic                                     rst_ni,
  output logic                                     m_valid_o,
  input  logic                                     m_ready_i,
  output logic [AddrWidth+RegBits+ValueBits:0]     m_data_o
);
  logic valid, done, error, unused;
  logic [AddrWidth-1:0]         pc;
  logic [RegBits+ValueBits-1:0] word;
  assign m_valid_o = valid || error;
  assign m_data_o  = error ? '1 : {1'b0, pc, word};
  assign unused    = done;
  qs_core_seq #(.Words(Words), .RegBits(RegBits), .ValueBits(ValueBits), .File(File)) u_seq (
    .clk_i, .rst_ni, .m_valid_o(valid), .m_ready_i(m_ready_i && !error), .m_data_o(word), .pc_o(pc), .done_o(done), .error_o(error)
  );
endmodule
