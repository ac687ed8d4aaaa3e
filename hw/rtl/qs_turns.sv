// Control of a pipeline whose stages all work Turns cycles on what they took: a new beat enters every Turns cycles.
//
// The whole pipeline moves (go_i) or stands; since all stages take equally long, none ever waits for the next one.
// Stage k loads what the one before has done (load_o[k]) and makes its first step with it, then Turns - 1 more (step_o[k]).
module qs_turns #(
  parameter int unsigned Stages = 4,
  parameter int unsigned Turns  = 2
) (
  input  logic              clk_i,
  input  logic              rst_ni,
  input  logic              go_i,
  input  logic              valid_i,   // there is something for the first stage
  output logic              ready_o,   // which takes it, if the pipeline moves
  output logic [Stages-1:0] load_o,
  output logic [Stages-1:0] step_o,
  output logic              valid_o    // the last stage is done
);
  logic [Stages:0] valid, done;  // index 0: what the first stage takes
  assign valid[0] = valid_i;
  assign done[0]  = 1'b1;
  assign ready_o  = !valid[1] || done[1];
  assign valid_o  = valid[Stages] && done[Stages];

  for (genvar k = 1; k <= Stages; k++) begin : gen_stage
    logic load;
    assign load        = go_i && valid[k-1] && done[k-1] && (!valid[k] || done[k]);
    assign load_o[k-1] = load;
    assign step_o[k-1] = load || (go_i && !done[k]);

    always_ff @(posedge clk_i or negedge rst_ni) begin
      if (!rst_ni) valid[k] <= 1'b0;
      else if (go_i && (!valid[k] || done[k])) valid[k] <= load;
    end

    if (Turns == 1) begin : gen_once
      assign done[k] = 1'b1;
    end else begin : gen_count
      localparam int unsigned CountWidth = $clog2(Turns);
      logic [CountWidth-1:0] count;
      assign done[k] = count == CountWidth'(Turns - 1);
      always_ff @(posedge clk_i or negedge rst_ni) begin
        if (!rst_ni) count <= CountWidth'(Turns - 1);
        else if (load) count <= '0;
        else if (step_o[k-1]) count <= count + 1'b1;
      end
    end
  end

`ifndef SYNTHESIS
  initial begin
    if (Stages == 0 || Turns == 0) $fatal(1, "%m: Stages and Turns are at least 1");
  end
`endif
endmodule
