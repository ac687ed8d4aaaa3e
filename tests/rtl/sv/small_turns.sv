// A pipeline under qs_turns in which every step of every stage adds one.
module small_turns #(
  parameter int unsigned Stages = 4,
  parameter int unsigned Turns  = 2,
  parameter int unsigned Width  = 16
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
  logic                         go, ready;
  logic [Stages-1:0]            load, step;
  logic [Stages:0][Width-1:0]   value;
  assign go        = m_ready_i || !m_valid_o;
  assign s_ready_o = go && ready;
  assign value[0]  = s_data_i;
  assign m_data_o  = value[Stages];
  qs_turns #(.Stages(Stages), .Turns(Turns)) u_turns (
    .clk_i, .rst_ni, .go_i(go), .valid_i(s_valid_i), .ready_o(ready), .load_o(load), .step_o(step), .valid_o(m_valid_o)
  );
  for (genvar k = 0; k < Stages; k++) begin : gen_stage
    always_ff @(posedge clk_i) begin
      if (step[k]) value[k+1] <= (load[k] ? value[k] : value[k+1]) + 1'b1;
    end
  end
endmodule
