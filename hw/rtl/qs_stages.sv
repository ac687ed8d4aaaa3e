// Which register ranks of a pipeline hold a frame.  All ranks move together, by en_o, unless the last one is full and not taken.
module qs_stages #(
  parameter int unsigned Ranks = 4
) (
  input  logic clk_i,
  input  logic rst_ni,
  input  logic s_valid_i,
  output logic s_ready_o,
  output logic m_valid_o,
  input  logic m_ready_i,
  output logic en_o
);
  logic [Ranks-1:0] full;

  assign m_valid_o = full[Ranks-1];
  assign en_o      = m_ready_i || !m_valid_o;
  assign s_ready_o = en_o;

  if (Ranks == 1) begin : gen_one
    always_ff @(posedge clk_i or negedge rst_ni) begin
      if (!rst_ni) full <= '0;
      else if (en_o) full <= s_valid_i;
    end
  end else begin : gen_more
    always_ff @(posedge clk_i or negedge rst_ni) begin
      if (!rst_ni) full <= '0;
      else if (en_o) full <= {full[Ranks-2:0], s_valid_i};
    end
  end

`ifndef SYNTHESIS
  initial begin
    if (Ranks == 0) $fatal(1, "%m: Ranks is at least 1");
  end
`endif
endmodule
