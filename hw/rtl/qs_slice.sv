// x[Start:Stop:Step] on every axis.  Meaning: ir/interpret.py, Slice.
//
// Axes in stream order, axis 0 outermost and in the lowest 32 bits of each parameter; the last axis is counted in beats
// (one lane where the cut does not fall between beats).  All of x is taken; what is outside is dropped.  One register.
module qs_slice #(
  parameter int unsigned        Rank  = 1,
  parameter int unsigned        Width = 8,               // of a beat
  parameter logic [Rank*32-1:0] Size  = {Rank{32'd4}},
  parameter logic [Rank*32-1:0] Start = {Rank{32'd1}},
  parameter logic [Rank*32-1:0] Stop  = {Rank{32'd4}},
  parameter logic [Rank*32-1:0] Step  = {Rank{32'd2}}
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
  function automatic int unsigned most();
    most = 1;
    for (int unsigned k = 0; k < Rank; k++) if (Size[32*k+:32] > most) most = Size[32*k+:32];
  endfunction
  localparam int unsigned IndexWidth = $clog2(most() + 1);

  logic                            take, advance;
  logic [Rank-1:0][IndexWidth-1:0] index;
  logic [Rank-1:0]                 wrap, keep;
  qs_index #(
    .Rank (Rank),
    .Size (Size),
    .Width(IndexWidth)
  ) u_index (
    .clk_i  (clk_i),
    .rst_ni (rst_ni),
    .step_i (take),
    .index_o(index),
    .wrap_o (wrap)
  );

  for (genvar k = 0; k < Rank; k++) begin : gen_axis
    localparam logic [IndexWidth-1:0] First  = IndexWidth'(Start[32*k+:32]);
    localparam logic [IndexWidth-1:0] Last   = IndexWidth'(Stop[32*k+:32] - 1);
    localparam int unsigned           Stride = Step[32*k+:32];
    logic on_grid;
    if (Stride == 1) begin : gen_every
      assign on_grid = 1'b1;
    end else begin : gen_some
      localparam int unsigned PhaseWidth = $clog2(Stride);
      localparam logic [PhaseWidth-1:0] Phase0 = PhaseWidth'((Stride - Start[32*k+:32] % Stride) % Stride);
      logic [PhaseWidth-1:0] phase;  // (index - First) modulo Stride
      logic                  move;
      assign on_grid = phase == '0;
      if (k == Rank - 1) begin : gen_inner
        assign move = take;
      end else begin : gen_outer
        assign move = wrap[k+1];
      end
      always_ff @(posedge clk_i or negedge rst_ni) begin
        if (!rst_ni) phase <= Phase0;
        else if (wrap[k]) phase <= Phase0;
        else if (move) phase <= phase == PhaseWidth'(Stride - 1) ? '0 : phase + 1'b1;
      end
    end
    assign keep[k] = index[k] - First <= Last - First && on_grid;  // modulo 2**IndexWidth, as one comparison
`ifndef SYNTHESIS
    initial begin
      if (Step[32*k+:32] == 0 || Start[32*k+:32] >= Stop[32*k+:32] || Stop[32*k+:32] > Size[32*k+:32])
        $fatal(1, "%m: [%0d:%0d:%0d] does not lie within the %0d of axis %0d", Start[32*k+:32], Stop[32*k+:32], Step[32*k+:32], Size[32*k+:32], k);
    end
`endif
  end

  assign advance   = !m_valid_o || m_ready_i;
  assign s_ready_o = advance;
  assign take      = s_valid_i && advance;

  always_ff @(posedge clk_i or negedge rst_ni) begin
    if (!rst_ni) m_valid_o <= 1'b0;
    else if (advance) m_valid_o <= s_valid_i && &keep;
  end

  always_ff @(posedge clk_i) begin
    if (advance) m_data_o <= s_data_i;
  end

  logic unused_wrap;
  assign unused_wrap = ^wrap;
endmodule
