// Largest value or sum of Taps beats, lane by lane.  Meaning: ir/interpret.py, MaxPool and SumPool.
//
// Beats of Blocks windows alternate: tap 0 of each block, tap 1 of each block, and so on.  With Blocks=1 the beats are those
// of qs_window with Groups=Blocks; with the blocks of a pixel and all its pixels as taps, a whole map is pooled without a
// line buffer.  Sums are taken modulo 2**OutWidth; the final ones fit.
module qs_pool #(
  parameter int unsigned Lanes    = 1,
  parameter int unsigned Blocks   = 1,
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
  logic go, issue, last_tap, last_block;

  assign go        = !m_valid_o || m_ready_i;
  assign issue     = go && s_valid_i;
  assign s_ready_o = go;
  assign last_tap  = tap == tap_t'(Taps - 1);

  always_ff @(posedge clk_i or negedge rst_ni) begin
    if (!rst_ni) begin
      tap       <= '0;
      m_valid_o <= 1'b0;
    end else if (go) begin
      if (issue && last_block) tap <= last_tap ? '0 : tap + tap_t'(1);
      m_valid_o <= issue && last_tap;
    end
  end

  // What has come of each window so far; nothing of it is used at the first tap.
  logic [Lanes*AccWidth-1:0] accs, folds;
  if (Blocks == 1) begin : gen_register
    assign last_block = 1'b1;
    always_ff @(posedge clk_i) begin
      if (issue) accs <= folds;
    end
  end else begin : gen_memory
    localparam int unsigned BlockWidth = $clog2(Blocks);
    logic [BlockWidth-1:0]     block;
    logic [Lanes*AccWidth-1:0] mem [Blocks];
    assign last_block = block == BlockWidth'(Blocks - 1);
    assign accs       = mem[block];
    always_ff @(posedge clk_i or negedge rst_ni) begin
      if (!rst_ni) block <= '0;
      else if (issue) block <= last_block ? '0 : block + BlockWidth'(1);
    end
    always_ff @(posedge clk_i) begin
      if (issue) mem[block] <= folds;
    end
  end

  for (genvar l = 0; l < Lanes; l++) begin : gen_lane
    acc_t x, acc, folded;
    assign x   = acc_t'(signed'({InSigned & s_data_i[(l+1)*InWidth-1], s_data_i[l*InWidth+:InWidth]}));
    assign acc = accs[l*AccWidth+:AccWidth];
    assign folds[l*AccWidth+:AccWidth] = folded;

    always_comb begin
      if (tap == '0) folded = x;
      else if (Largest) folded = x > acc ? x : acc;
      else folded = acc + x;
    end

    always_ff @(posedge clk_i) begin
      if (issue && last_tap) m_data_o[l*OutWidth+:OutWidth] <= folded[OutWidth-1:0];
    end
  end

`ifndef SYNTHESIS
  initial begin
    if (Lanes == 0 || Blocks == 0 || Taps == 0 || InWidth == 0 || OutWidth == 0) $fatal(1, "%m: every number is at least 1");
  end
`endif
endmodule
