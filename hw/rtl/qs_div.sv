// y = floor(a / b + 1/2), lane by lane, b >= 1; two streams are joined.  Meaning: ir/ops.py, divide().
//
// floor((2a + b) / 2b) is floor(n / b) with n = a + floor(b / 2), and floor(n / b) of a negative n is ~((~n) / b): so a
// restoring division of magnitudes does it.  One register for n, then stages that find Turns bits of the quotient each, a
// bit a cycle, from the highest: a beat is taken every Turns cycles, and there are ceil(bits / Turns) stages (qs_turns).
// y has OutWidth bits, enough for every quotient (ir/infer.py proves it).
module qs_div #(
  parameter int unsigned Lanes     = 1,
  parameter int unsigned AWidth    = 8,
  parameter bit          ASigned   = 1,
  parameter int unsigned BWidth    = 8,   // unsigned
  parameter int unsigned OutWidth  = 8,
  parameter bit          OutSigned = 1,
  parameter int unsigned Turns     = 1
) (
  input  logic                      clk_i,
  input  logic                      rst_ni,
  input  logic                      a_valid_i,
  output logic                      a_ready_o,
  input  logic [Lanes*AWidth-1:0]   a_data_i,
  input  logic                      b_valid_i,
  output logic                      b_ready_o,
  input  logic [Lanes*BWidth-1:0]   b_data_i,
  output logic                      m_valid_o,
  input  logic                      m_ready_i,
  output logic [Lanes*OutWidth-1:0] m_data_o
);
  localparam int unsigned Found    = OutSigned && OutWidth > 1 ? OutWidth - 1 : OutWidth;  // bits of the magnitude
  localparam int unsigned Stages   = (Found + Turns - 1) / Turns;
  localparam int unsigned Digits   = Stages * Turns;
  localparam int unsigned SumWidth = (AWidth + (ASigned ? 0 : 1) > BWidth ? AWidth + (ASigned ? 0 : 1) : BWidth) + 1;
  localparam int unsigned NumWidth = SumWidth > Digits + 1 ? SumWidth : Digits + 1;
  typedef logic signed [NumWidth-1:0] num_t;

  // Index 0: what the first stage takes; k: registers of stage k.  A numerator leaves `digits` at the top, still with its
  // sign's inversion to do, and the quotient enters below.
  logic [Stages:0][Lanes-1:0]        negative;
  logic [Stages:0][Lanes*BWidth-1:0] divisor, rest;
  logic [Stages:0][Lanes*Digits-1:0] digits;

  logic [Stages-1:0] load, step;
  logic              go, take, waiting, next;
  assign go        = !m_valid_o || m_ready_i;
  assign take      = go && a_valid_i && b_valid_i && (!waiting || next);
  assign a_ready_o = take;
  assign b_ready_o = take;

  always_ff @(posedge clk_i or negedge rst_ni) begin
    if (!rst_ni) waiting <= 1'b0;
    else if (go && (!waiting || next)) waiting <= take;
  end

  qs_turns #(.Stages(Stages), .Turns(Turns)) u_turns (
    .clk_i  (clk_i),
    .rst_ni (rst_ni),
    .go_i   (go),
    .valid_i(waiting),
    .ready_o(next),
    .load_o (load),
    .step_o (step),
    .valid_o(m_valid_o)
  );

  logic [Lanes*NumWidth-1:0] num_q;
  for (genvar l = 0; l < Lanes; l++) begin : gen_operands
    logic [AWidth-1:0]   a;
    logic [BWidth-1:0]   b;
    logic [NumWidth-1:0] magnitude;
    assign a = a_data_i[l*AWidth+:AWidth];
    assign b = b_data_i[l*BWidth+:BWidth];
    always_ff @(posedge clk_i) begin
      if (take) begin
        num_q[l*NumWidth+:NumWidth]    <= num_t'(signed'({ASigned & a[AWidth-1], a})) + num_t'(signed'({1'b0, b >> 1}));
        divisor[0][l*BWidth+:BWidth]   <= b;
      end
    end
    assign negative[0][l]              = num_q[(l+1)*NumWidth-1];
    assign magnitude                   = num_q[l*NumWidth+:NumWidth] ^ {NumWidth{negative[0][l]}};
    assign digits[0][l*Digits+:Digits] = num_q[l*NumWidth+:Digits];
    assign rest[0][l*BWidth+:BWidth]   = BWidth'(magnitude >> Digits);  // below b, since the quotient fits
  end

  for (genvar k = 1; k <= Stages; k++) begin : gen_stage
    for (genvar l = 0; l < Lanes; l++) begin : gen_lane
      logic              sign, fits;
      logic [BWidth-1:0] b, r;
      logic [Digits-1:0] x;
      logic [BWidth:0]   shifted;
      logic [BWidth+1:0] less;
      if (Turns == 1) begin : gen_previous
        assign {sign, b, r, x} = {negative[k-1][l], divisor[k-1][l*BWidth+:BWidth], rest[k-1][l*BWidth+:BWidth], digits[k-1][l*Digits+:Digits]};
      end else begin : gen_either
        assign {sign, b, r, x} = load[k-1]
          ? {negative[k-1][l], divisor[k-1][l*BWidth+:BWidth], rest[k-1][l*BWidth+:BWidth], digits[k-1][l*Digits+:Digits]}
          : {negative[k][l], divisor[k][l*BWidth+:BWidth], rest[k][l*BWidth+:BWidth], digits[k][l*Digits+:Digits]};
      end
      assign shifted = {r, x[Digits-1] ^ sign};
      assign less    = {1'b0, shifted} - {2'b00, b};
      assign fits    = !less[BWidth+1];
      always_ff @(posedge clk_i) begin
        if (step[k-1]) begin
          rest[k][l*BWidth+:BWidth]   <= fits ? less[BWidth-1:0] : shifted[BWidth-1:0];
          digits[k][l*Digits+:Digits] <= Digits'({x, fits ^ sign});
        end
        if (load[k-1]) begin
          negative[k][l]               <= sign;
          divisor[k][l*BWidth+:BWidth] <= b;
        end
      end
    end
  end

  for (genvar l = 0; l < Lanes; l++) begin : gen_result
    assign m_data_o[l*OutWidth+:OutWidth] = OutWidth'({negative[Stages][l], digits[Stages][l*Digits+:Digits]});
  end

  logic unused;
  assign unused = ^{rest[Stages], divisor[Stages], digits[Stages], negative[Stages]};

`ifndef SYNTHESIS
  initial begin
    if (Lanes == 0 || AWidth == 0 || BWidth == 0 || OutWidth == 0 || Turns == 0) $fatal(1, "%m: every number is at least 1");
    if (OutWidth > Digits + 1) $fatal(1, "%m: no quotient has %0d bits", OutWidth);
  end
`endif
endmodule
