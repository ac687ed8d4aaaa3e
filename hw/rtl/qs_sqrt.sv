// y = floor(sqrt(x)), lane by lane, x >= 0.  Meaning: ir/ops.py, root().
//
// Digit by digit, from the highest: of the remainder with the next two bits of x, 4 * root + 1 is taken if it fits.  Stages
// find Turns digits each, a digit a cycle: a beat is taken every Turns cycles, and there are ceil(digits / Turns) stages
// (qs_turns).
module qs_sqrt #(
  parameter int unsigned Lanes    = 1,
  parameter int unsigned InWidth  = 16,  // unsigned
  parameter int unsigned OutWidth = 8,
  parameter int unsigned Turns    = 1
) (
  input  logic                      clk_i,
  input  logic                      rst_ni,
  input  logic                      s_valid_i,
  output logic                      s_ready_o,
  input  logic [Lanes*InWidth-1:0]  s_data_i,
  output logic                      m_valid_o,
  input  logic                      m_ready_i,
  output logic [Lanes*OutWidth-1:0] m_data_o
);
  localparam int unsigned Stages    = ((InWidth + 1) / 2 + Turns - 1) / Turns;
  localparam int unsigned Digits    = Stages * Turns;
  localparam int unsigned RestWidth = Digits + 1;  // the remainder never exceeds twice the root

  // Index 0: what the first stage takes; k: registers of stage k.
  logic [Stages:0][Lanes*2*Digits-1:0]    bits;  // of x, the next two on top
  logic [Stages:0][Lanes*Digits-1:0]      root;
  logic [Stages:0][Lanes*RestWidth-1:0]   rest;

  logic [Stages-1:0] load, step;
  logic              go, next;
  assign go        = !m_valid_o || m_ready_i;
  assign s_ready_o = go && next;
  assign root[0]   = '0;
  assign rest[0]   = '0;

  qs_turns #(.Stages(Stages), .Turns(Turns)) u_turns (
    .clk_i  (clk_i),
    .rst_ni (rst_ni),
    .go_i   (go),
    .valid_i(s_valid_i),
    .ready_o(next),
    .load_o (load),
    .step_o (step),
    .valid_o(m_valid_o)
  );

  for (genvar l = 0; l < Lanes; l++) begin : gen_operand
    assign bits[0][l*2*Digits+:2*Digits] = (2 * Digits)'(s_data_i[l*InWidth+:InWidth]);
  end

  for (genvar k = 1; k <= Stages; k++) begin : gen_stage
    localparam logic [2*Digits-1:0]  Left  = '1 << 2 * ((k - 1) * Turns + 1);  // what can differ from 0 here
    localparam logic [Digits-1:0]    Found = ~(Digits'('1) << k * Turns);
    localparam logic [RestWidth-1:0] Over  = ~(RestWidth'('1) << (k * Turns + 1));
    for (genvar l = 0; l < Lanes; l++) begin : gen_lane
      logic [2*Digits-1:0]  x;
      logic [Digits-1:0]    q;
      logic [RestWidth-1:0] r;
      logic [RestWidth+1:0] shifted;
      logic [RestWidth+2:0] less;
      logic                 fits;
      if (Turns == 1) begin : gen_previous
        assign {x, q, r} = {bits[k-1][l*2*Digits+:2*Digits], root[k-1][l*Digits+:Digits], rest[k-1][l*RestWidth+:RestWidth]};
      end else begin : gen_either
        assign {x, q, r} = load[k-1] ? {bits[k-1][l*2*Digits+:2*Digits], root[k-1][l*Digits+:Digits], rest[k-1][l*RestWidth+:RestWidth]}
                                : {bits[k][l*2*Digits+:2*Digits], root[k][l*Digits+:Digits], rest[k][l*RestWidth+:RestWidth]};
      end
      assign shifted = {r, x[2*Digits-1-:2]};
      assign less    = {1'b0, shifted} - {2'b00, q, 2'b01};
      assign fits    = !less[RestWidth+2];
      always_ff @(posedge clk_i) begin
        if (step[k-1]) begin
          bits[k][l*2*Digits+:2*Digits]    <= (x << 2) & Left;
          root[k][l*Digits+:Digits]        <= Digits'({q, fits}) & Found;
          rest[k][l*RestWidth+:RestWidth]  <= (fits ? less[RestWidth-1:0] : shifted[RestWidth-1:0]) & Over;
        end
      end
    end
  end

  for (genvar l = 0; l < Lanes; l++) begin : gen_result
    assign m_data_o[l*OutWidth+:OutWidth] = OutWidth'(root[Stages][l*Digits+:Digits]);
  end

  logic unused;
  assign unused = ^{rest[Stages], bits[Stages], root[Stages], load};

`ifndef SYNTHESIS
  initial begin
    if (Lanes == 0 || InWidth == 0 || OutWidth == 0 || Turns == 0) $fatal(1, "%m: every number is at least 1");
  end
`endif
endmodule
