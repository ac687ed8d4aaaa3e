// x with Before and After constant beats around it on every axis.  Meaning: ir/interpret.py, Pad.
//
// Axes in stream order, axis 0 outermost and in the lowest 32 bits of each parameter: (C, H, W) flows as H, W, C / Lanes,
// so that the last axis is counted in beats.  Each axis has Before + Size + After indices; inside, x flows; outside,
// the beat Value.  A frame begins when its first beat is offered.  One register; ready passes through.
module qs_pad #(
  parameter int unsigned        Rank   = 3,
  parameter int unsigned        Width  = 8,                // of a beat
  parameter logic [Rank*32-1:0] Size   = {Rank{32'd2}},
  parameter logic [Rank*32-1:0] Before = {Rank{32'd1}},
  parameter logic [Rank*32-1:0] After  = {Rank{32'd1}},
  parameter logic [Width-1:0]   Value  = '0
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
  function automatic logic [Rank*32-1:0] totals();
    for (int unsigned k = 0; k < Rank; k++) totals[32*k+:32] = Before[32*k+:32] + Size[32*k+:32] + After[32*k+:32];
  endfunction
  function automatic int unsigned most();
    most = 1;
    for (int unsigned k = 0; k < Rank; k++) if (Total[32*k+:32] > most) most = Total[32*k+:32];
  endfunction
  localparam logic [Rank*32-1:0] Total      = totals();
  localparam int unsigned        IndexWidth = $clog2(most() + 1);

  logic                            step, advance;
  logic [Rank-1:0][IndexWidth-1:0] index;
  logic [Rank-1:0]                 wrap, in_x;
  qs_index #(
    .Rank (Rank),
    .Size (Total),
    .Width(IndexWidth)
  ) u_index (
    .clk_i  (clk_i),
    .rst_ni (rst_ni),
    .step_i (step),
    .index_o(index),
    .wrap_o (wrap)
  );

  for (genvar k = 0; k < Rank; k++) begin : gen_axis
    localparam logic [IndexWidth-1:0] First = IndexWidth'(Before[32*k+:32]);
    localparam logic [IndexWidth-1:0] Count = IndexWidth'(Size[32*k+:32]);
    assign in_x[k] = index[k] - First < Count;  // modulo 2**IndexWidth: an index below First is far above Count
  end

  assign advance   = !m_valid_o || m_ready_i;
  assign step      = advance && (s_valid_i || (index != '0 && !(&in_x)));
  assign s_ready_o = advance && &in_x;

  always_ff @(posedge clk_i or negedge rst_ni) begin
    if (!rst_ni) m_valid_o <= 1'b0;
    else if (advance) m_valid_o <= step;
  end

  always_ff @(posedge clk_i) begin
    if (advance) m_data_o <= &in_x ? s_data_i : Value;
  end

  logic unused_wrap;
  assign unused_wrap = ^wrap;

`ifndef SYNTHESIS
  initial begin
    if (Rank == 0 || Width == 0) $fatal(1, "%m: Rank and Width are at least 1");
  end
`endif
endmodule
