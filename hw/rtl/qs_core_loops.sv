// Six nested loops and the addresses that move with them: one step a cycle while a pass runs.
//
// Level 0 is innermost.  Levels 0..2 sum up one group of results, levels 3..5 go from group to group.  A step that leaves level
// l (all levels below it wrap) adds delta[l] of every address; the deltas hold the way back of the levels that wrap, so that a
// single addition makes each address.  x is in elements, w in units of weights; (row, col) say whether the step reads inside
// the image: row < rows and col < cols, read as unsigned numbers.
// Registers (c_data_i = {register, value}): 8 + l count of level l less one, 15 the level of the digits of wide weights (`again` marks
// the step after it moved; 7: there is none); deltas of x at 16 + l, row 24 + l, col 32 + l, w 40 + l; of each the value that a
// pass starts from at + 6; limits of row and col at + 7.  A write of RUN (1) to register 0 starts a pass; nothing is taken while
// one runs.
module qs_core_loops #(
  parameter int unsigned XBits     = 12,
  parameter int unsigned WBits     = 12,   // of an address of weights
  parameter int unsigned PosBits   = 8,    // of row and col
  parameter int unsigned CountBits = 12,
  parameter int unsigned RegBits   = 7,
  parameter int unsigned ValueBits = 24
) (
  input  logic                         clk_i,
  input  logic                         rst_ni,
  input  logic                         c_valid_i,
  output logic                         c_ready_o,
  input  logic [RegBits+ValueBits-1:0] c_data_i,
  output logic                         m_valid_o,
  input  logic                         m_ready_i,
  output logic [XBits+WBits+7:0]       m_data_o   // {final, group level, last, again, first, second, is_in, w, x}
);
  localparam int unsigned Levels = 6;
  localparam int unsigned Inner  = 3;

  logic [RegBits-1:0]   register;
  logic [ValueBits-1:0] value;
  logic                 write, run, running;
  assign {register, value} = c_data_i;
  assign c_ready_o         = !running;
  assign write             = c_valid_i && c_ready_o;
  assign run               = write && register == '0 && value == ValueBits'(1);

  logic [XBits-1:0]     dx [8];
  logic [PosBits-1:0]   drow [8], dcol [8];
  logic [WBits-1:0]     dw [8];
  logic [PosBits-1:0]   rows, cols;
  logic [2:0]           digits;   // level of
  logic [XBits-1:0]     x0, x;
  logic [PosBits-1:0]   row0, col0, row, col;
  logic [WBits-1:0]     w0, w;

  logic [RegBits-4:0] kind;
  logic [2:0]         index;
  assign {kind, index} = register;
  always_ff @(posedge clk_i) begin
    if (write && kind == (RegBits-3)'(2)) dx[index]   <= XBits'(value);
    if (write && kind == (RegBits-3)'(3)) drow[index] <= PosBits'(value);
    if (write && kind == (RegBits-3)'(4)) dcol[index] <= PosBits'(value);
    if (write && kind == (RegBits-3)'(5)) dw[index]   <= WBits'(value);
  end
  always_ff @(posedge clk_i) begin  // what is read beside the deltas
    if (write && index == 3'd6) begin
      if (kind == (RegBits-3)'(2)) x0   <= XBits'(value);
      if (kind == (RegBits-3)'(3)) row0 <= PosBits'(value);
      if (kind == (RegBits-3)'(4)) col0 <= PosBits'(value);
      if (kind == (RegBits-3)'(5)) w0   <= WBits'(value);
    end
    if (write && index == 3'd7 && kind == (RegBits-3)'(1)) digits <= 3'(value);
    if (write && index == 3'd7 && kind == (RegBits-3)'(3)) rows <= PosBits'(value);
    if (write && index == 3'd7 && kind == (RegBits-3)'(4)) cols <= PosBits'(value);
  end

  // The level that the next step leaves: the lowest that is not at its end.
  logic [CountBits-1:0] at [Levels];
  logic [Levels-1:0]    ended;
  logic [2:0]           level;
  for (genvar l = 0; l < Levels; l++) begin : gen_level
    logic [CountBits-1:0] stop;
    always_ff @(posedge clk_i) begin
      if (write && kind == (RegBits-3)'(1) && index == 3'(l)) stop <= CountBits'(value);
    end
    assign ended[l] = at[l] == stop;
  end
  always_comb begin
    level = 3'd0;
    for (int l = Levels - 1; l >= 0; l--) if (!ended[l]) level = 3'(l);
  end

  logic step, last, finish;
  assign step   = running && m_ready_i;
  assign last   = &ended[Inner-1:0];
  assign finish = &ended;

  logic again;
  always_ff @(posedge clk_i or negedge rst_ni) begin
    if (!rst_ni) running <= 1'b0;
    else if (run) running <= 1'b1;
    else if (step && finish) running <= 1'b0;
  end
  for (genvar l = 0; l < Levels; l++) begin : gen_count
    always_ff @(posedge clk_i) begin
      if (run) at[l] <= '0;
      else if (step) at[l] <= level == 3'(l) && !finish ? at[l] + 1'b1 : 3'(l) < level || finish ? '0 : at[l];
    end
  end
  always_ff @(posedge clk_i) begin
    if (run) begin
      x     <= x0;
      row   <= row0;
      col   <= col0;
      w     <= w0;
      again <= 1'b0;
    end else if (step) begin
      x     <= x + dx[level];
      row   <= row + drow[level];
      col   <= col + dcol[level];
      w     <= w + dw[level];
      again <= level == digits;
    end
  end

  logic is_in, first, second;
  assign is_in     = row < rows && col < cols;
  assign first     = at[1] == '0 && at[2] == '0;
  assign second    = at[0] != '0;
  assign m_valid_o = running;
  assign m_data_o  = {finish, 2'(level - 3'(Inner)), last, again, first, second, is_in, w, x};
endmodule
