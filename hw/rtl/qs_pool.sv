// Largest value or sum of Taps consecutive beats, lane by lane.  Meaning: ir/interpret.py, MaxPool and SumPool.
//
// qs_window with Groups=Blocks brings the windows in this order.  Sums are taken modulo 2**OutWidth; the final ones fit.
module qs_pool #(
  parameter int unsigned Lanes    = 1,
  parameter int unsigned Taps     = 4,
  parameter int unsigned InWidth  = 8,
  parameter bit          InSigned = 1,
  parameter int unsigned OutWidth = 10,
  parameter bit          Largest  = 0    // 1: the largest value, 0: the sum
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
  localparam int unsigned TapWidth = Taps > 1 ? $clog2(Taps) : 1;
  localparam int unsigned AccWidth = (OutWidth > InWidth ? OutWidth : InWidth) + 1;
  typedef logic [TapWidth-1:0]        tap_t;
  typedef logic signed [AccWidth-1:0] acc_t;

  tap_t tap;
  logic go, issue, last_tap;

  assign go        = !m_valid_o || m_ready_i;
  assign issue     = go && s_valid_i;
  assign s_ready_o = go;
  assign last_tap  = tap == tap_t'(Taps - 1);

  always_ff @(posedge clk_i or negedge rst_ni) begin
    if (!rst_ni) begin
      tap       <= '0;
      m_valid_o <= 1'b0;
    end else if (go) begin
      if (issue) tap <= last_tap ? '0 : tap + tap_t'(1);
      m_valid_o <= issue && last_tap;
    end
  end

  for (genvar l = 0; l < Lanes; l++) begin : gen_lane
    acc_t x, acc, folded;
    assign x = acc_t'(signed'({InSigned & s_data_i[(l+1)*InWidth-1], s_data_i[l*InWidth+:InWidth]}));

    always_comb begin
      if (tap == '0) folded = x;
      else if (Largest) folded = x > acc ? x : acc;
      else folded = acc + x;
    end

    always_ff @(posedge clk_i) begin
      if (issue) begin
        acc <= folded;
        if (last_tap) m_data_o[l*OutWidth+:OutWidth] <= folded[OutWidth-1:0];
      end
    end
  end

`ifndef SYNTHESIS
  initial begin
    if (Lanes == 0 || Taps == 0 || InWidth == 0 || OutWidth == 0) $fatal(1, "%m: every number is at least 1");
  end
`endif
endmodule
