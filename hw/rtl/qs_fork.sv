// One stream to NumOut consumers, each of which takes a beat when it likes; the source moves on when all have it.
//
// m_valid_o and m_ready_i have a bit for each consumer; m_data_o is shared.  No register, only one flag a consumer.
module qs_fork #(
  parameter int unsigned NumOut = 2,
  parameter int unsigned Width  = 8   // of a beat
) (
  input  logic              clk_i,
  input  logic              rst_ni,
  input  logic              s_valid_i,
  output logic              s_ready_o,
  input  logic [Width-1:0]  s_data_i,
  output logic [NumOut-1:0] m_valid_o,
  input  logic [NumOut-1:0] m_ready_i,
  output logic [Width-1:0]  m_data_o
);
  logic [NumOut-1:0] has;  // consumer k has the present beat already
  assign m_data_o  = s_data_i;
  assign m_valid_o = {NumOut{s_valid_i}} & ~has;
  assign s_ready_o = &(has | m_ready_i);

  always_ff @(posedge clk_i or negedge rst_ni) begin
    if (!rst_ni) has <= '0;
    else if (s_valid_i) has <= s_ready_o ? '0 : has | m_ready_i;
  end

`ifndef SYNTHESIS
  initial begin
    if (NumOut == 0 || Width == 0) $fatal(1, "%m: NumOut and Width are at least 1");
  end
`endif
endmodule
