// qs_lm_scalar with its ports as streams: commands {op, reg, shift, num, sum, top, tv, square}; of each its result: {op, root or the new
// factor or the extra number, the factor that was made or read}.
module lm_scalar #(
  parameter int unsigned VecWidth    = 26,
  parameter int unsigned NumWidth    = 60,
  parameter int unsigned MulWidth    = 36,
  parameter int unsigned SumWidth    = 44,
  parameter int unsigned SquareWidth = 52,
  parameter int unsigned FactorWidth = 17,
  parameter int unsigned Regs        = 4,
  parameter int unsigned RegBits     = Regs > 1 ? $clog2(Regs) : 1,
  parameter int unsigned InWidth     = 8 + RegBits + NumWidth + SumWidth + 2 * VecWidth - 2 + SquareWidth
) (
  input  logic                           clk_i,
  input  logic                           rst_ni,
  input  logic                           c_valid_i,
  output logic                           c_ready_o,
  input  logic [InWidth-1:0]             c_data_i,
  output logic                           m_valid_o,
  input  logic                           m_ready_i,
  output logic [33+FactorWidth:0]        m_data_o
);
  localparam int unsigned RootWidth = (SumWidth + 8 > SquareWidth ? SumWidth + 9 : SquareWidth + 1) / 2;
  logic [1:0]                  op;
  logic [RegBits-1:0]          reg_id;
  logic [5:0]                  shift;
  logic [NumWidth-1:0]         num;
  logic [SumWidth-1:0]         sum;
  logic [VecWidth-2:0]         top, tv, extra;
  logic [SquareWidth-1:0]      square;
  logic [RootWidth-1:0]        root;
  logic [Regs*FactorWidth-1:0] factors;
  logic [FactorWidth-1:0]      factor;
  logic                        root_valid, factor_valid, extra_valid, busy, ready;
  assign {op, reg_id, shift, num, sum, top, tv, square} = c_data_i;

  qs_lm_scalar #(
    .VecWidth(VecWidth), .NumWidth(NumWidth), .MulWidth(MulWidth), .SumWidth(SumWidth), .SquareWidth(SquareWidth),
    .FactorWidth(FactorWidth), .Regs(Regs)
  ) u_scalar (
    .clk_i, .rst_ni, .cmd_valid_i(c_valid_i), .cmd_ready_o(c_ready_o), .cmd_op_i(op), .cmd_reg_i(reg_id), .cmd_num_i(num), .cmd_shift_i(shift),
    .sum_i(sum), .top_i(top), .tv_i(tv), .square_i(square), .root_o(root), .root_valid_o(root_valid), .factor_o(factors), .factor_new_o(factor),
    .factor_valid_o(factor_valid), .extra_o(extra), .extra_valid_o(extra_valid), .busy_o(busy)
  );

  logic                waits, wrote, down;
  logic [RegBits-1:0]  used;
  always_ff @(posedge clk_i) if (c_valid_i && c_ready_o) {down, used} <= {op == 2'd3, reg_id};
  logic [33+FactorWidth:0] result;
  always_comb begin
    result = {2'd0, 32'(root), FactorWidth'(0)};
    if (factor_valid) result = {2'd1, 32'(factor), factors[used*FactorWidth+:FactorWidth]};
    if (extra_valid) result = {2'd2, 32'(extra), down ? factors[used*FactorWidth+:FactorWidth] : FactorWidth'(0)};
  end
  assign wrote = root_valid || factor_valid || extra_valid;
  qs_fifo #(.DataWidth(34+FactorWidth), .Depth(1024)) u_fifo (
    .clk_i, .rst_ni, .s_valid_i(wrote), .s_ready_o(ready), .s_data_i(result), .m_valid_o, .m_ready_i, .m_data_o
  );
  always_ff @(posedge clk_i or negedge rst_ni) begin
    if (!rst_ni) waits <= 1'b0;
    else begin
      waits <= c_valid_i && c_ready_o ? 1'b1 : busy;
      if (busy == c_ready_o || waits && !busy && !wrote || !ready) $error("busy %b, ready %b", busy, c_ready_o);
    end
  end
endmodule
