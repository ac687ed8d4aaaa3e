// The numbers of a token that belong to a whole vector: roots of norms, factors of sums, epsilons.  One operation at a time.
//
//   Root    root = floor(sqrt(sum << 8)), and top * root is kept as the divisor of factors
//   Factor  factor[reg] = clamp(divide(tv * num, top * root), 1, 2**FactorWidth - 1)       top and root of the last Root
//   Gated   extra = clamp(divide(floor(sqrt(square)) * num, 2**shift), 0, 2**(VecWidth-1) - 1)
//   Down    extra = clamp(divide(num, factor[reg]), 0, 2**(VecWidth-1) - 1)
//
// divide(a, b) = floor(a / b + 1/2) of ir/ops.py.  Operands are read when the command is taken.  shift is below VecWidth +
// RootWidth - 1.  Cycles in which cmd_ready_o is low: Root RootWidth + 2, Factor VecWidth + 3, Gated RootWidth + VecWidth + 3,
// Down VecWidth + 2; results are there from the next one on.
//
// A product is made at once, of DSP blocks; the root comes digit by digit (qs_sqrt), and so does the quotient, without restoring (see
// qs_lm_share), with a digit more than the result has: it says that the result saturates.
module qs_lm_scalar #(
  parameter int unsigned VecWidth    = 26,
  parameter int unsigned NumWidth    = 60,   // of num for Down; Factor and Gated read the low MulWidth bits
  parameter int unsigned MulWidth    = 36,
  parameter int unsigned SumWidth    = 44,
  parameter int unsigned SquareWidth = 52,
  parameter int unsigned FactorWidth = 17,
  parameter int unsigned ShiftBits   = 6,
  parameter int unsigned Regs        = 4,
  parameter int unsigned RegBits     = Regs > 1 ? $clog2(Regs) : 1,
  parameter int unsigned RootWidth   = (SumWidth + 8 > SquareWidth ? SumWidth + 9 : SquareWidth + 1) / 2
) (
  input  logic                        clk_i,
  input  logic                        rst_ni,
  input  logic                        cmd_valid_i,
  output logic                        cmd_ready_o,
  input  logic [1:0]                  cmd_op_i,       // 0 Root, 1 Factor, 2 Gated, 3 Down
  input  logic [RegBits-1:0]          cmd_reg_i,
  input  logic [NumWidth-1:0]         cmd_num_i,
  input  logic [ShiftBits-1:0]        cmd_shift_i,
  input  logic [SumWidth-1:0]         sum_i,          // of the norm (qs_lm_quant)
  input  logic [VecWidth-2:0]         top_i,
  input  logic [VecWidth-2:0]         tv_i,           // largest magnitude of the vector whose sums get the factor
  input  logic [SquareWidth-1:0]      square_i,
  output logic [RootWidth-1:0]        root_o,         // results stay until the next of their kind
  output logic                        root_valid_o,   // one cycle: it is new
  output logic [Regs*FactorWidth-1:0] factor_o,
  output logic [FactorWidth-1:0]      factor_new_o,   // the factor that is new
  output logic                        factor_valid_o,
  output logic [VecWidth-2:0]         extra_o,
  output logic                        extra_valid_o,
  output logic                        busy_o
);
  localparam logic [1:0] Root = 2'd0, Factor = 2'd1, Gated = 2'd2, Down = 2'd3;   // operations; Yosys casts to no enumeration
  typedef enum logic [2:0] {Idle, Rooting, Multiply, Half, Divide, Finish} state_e;
  localparam int unsigned BWidth  = RootWidth > VecWidth - 1 ? RootWidth : VecWidth - 1;
  localparam int unsigned DivBits = VecWidth - 1 + RootWidth;                // of a divisor
  localparam int unsigned ProdBits = MulWidth + BWidth > NumWidth ? MulWidth + BWidth : NumWidth;
  localparam int unsigned Wide    = ProdBits > DivBits ? ProdBits + 1 : DivBits + 1;
  localparam int unsigned Digits  = VecWidth;                                // of a quotient: one says that it saturates
  localparam int unsigned CountBits = $clog2(Digits);

  state_e                  state;
  logic [1:0]              op;
  logic [RegBits-1:0]      reg_id;
  logic [NumWidth-1:0]     num;
  logic [MulWidth-1:0]     a;
  logic [BWidth-1:0]       b;
  logic [MulWidth+BWidth-1:0] product;
  logic [DivBits-1:0]      den, divisor;
  logic [CountBits-1:0]    count;
  logic                    start, rooted, free;
  logic [RootWidth-1:0]    root;
  logic [FactorWidth-1:0]  factor [Regs];

  assign start       = cmd_valid_i && cmd_ready_o;
  assign cmd_ready_o = state == Idle;
  assign busy_o      = state != Idle;

  qs_sqrt #(.InWidth(2 * RootWidth), .OutWidth(RootWidth), .Turns(RootWidth)) u_root (
    .clk_i, .rst_ni,
    .s_valid_i(start && (cmd_op_i == Root || cmd_op_i == Gated)), .s_ready_o(free),
    .s_data_i(cmd_op_i == Root ? (2 * RootWidth)'(sum_i) << 8 : (2 * RootWidth)'(square_i)),
    .m_valid_o(rooted), .m_ready_i(1'b1), .m_data_o(root)
  );

  // One step: the remainder and the next digit of the numerator, minus or plus the divisor; its sign is the digit of the quotient.
  logic [DivBits:0]  rest, stepped;
  logic [Digits-1:0] digits;
  logic [Wide-1:0]   numerator;
  logic              minus;
  assign minus = !rest[DivBits];
  qs_sum2 #(.Width(DivBits + 1), .Kind(0)) u_step (
    .a_i({rest[DivBits-1:0], digits[Digits-1]}), .b_i((DivBits+1)'(divisor)), .c_i('1), .d_i({(DivBits+1){minus}}),
    .carry_i(minus), .y_o(stepped)
  );
  qs_sum2 #(.Width(Wide), .Kind(3)) u_half (
    .a_i(Wide'(divisor >> 1)), .b_i(Wide'(num)), .c_i(Wide'(product)), .d_i({Wide{op == Down}}), .carry_i(1'b0), .y_o(numerator)
  );

  // Digits that are left after a step are those of the numerator, then those of the quotient.
  logic                   full, over;
  logic [FactorWidth-1:0] limited;
  assign full    = digits[Digits-1];
  assign over    = full || (digits >> FactorWidth) != '0;
  assign limited = digits[FactorWidth-1:0] | {FactorWidth{over}} | FactorWidth'(digits == '0);

  always_ff @(posedge clk_i or negedge rst_ni) begin
    if (!rst_ni) begin
      state          <= Idle;
      root_valid_o   <= 1'b0;
      factor_valid_o <= 1'b0;
      extra_valid_o  <= 1'b0;
    end else begin
      root_valid_o   <= state == Finish && op == Root;
      factor_valid_o <= state == Finish && op == Factor;
      extra_valid_o  <= state == Finish && (op == Gated || op == Down);
      unique case (state)
        Idle:
          if (cmd_valid_i)
            unique case (cmd_op_i)
              Factor:  state <= Multiply;
              Down:    state <= Half;
              default: state <= Rooting;
            endcase
        Rooting:  if (rooted) state <= Multiply;
        Multiply: state <= op == Root ? Finish : Half;
        Half:     state <= Divide;
        Divide:   if (count == '0) state <= Finish;
        default:  state <= Idle;
      endcase
    end
  end

  always_ff @(posedge clk_i) begin
    product <= (MulWidth + BWidth)'(a) * (MulWidth + BWidth)'(b);
    if (start) begin
      op     <= cmd_op_i;
      reg_id <= cmd_reg_i;
      num    <= cmd_num_i;
      a      <= cmd_op_i == Root ? MulWidth'(top_i) : MulWidth'(cmd_num_i);
      b      <= BWidth'(tv_i);
      unique case (cmd_op_i)
        Down:    divisor <= DivBits'(factor[cmd_reg_i]);
        Gated:   divisor <= DivBits'(1) << cmd_shift_i;
        default: divisor <= den;
      endcase
    end
    if (state == Rooting) b <= BWidth'(root);
    count <= state == Half ? CountBits'(Digits - 1) : count - 1'b1;
    if (state == Half) {rest, digits} <= (DivBits + 1 + Digits)'(numerator);
    else if (state == Divide) {rest, digits} <= {stepped, digits[Digits-2:0], !stepped[DivBits]};
    if (state == Finish) begin
      unique case (op)
        Root: begin
          den    <= DivBits'(product);
          root_o <= RootWidth'(b);
        end
        Factor: begin
          factor[reg_id] <= limited;
          factor_new_o   <= limited;
        end
        default: extra_o <= digits[VecWidth-2:0] | {(VecWidth-1){full}};
      endcase
    end
  end
  for (genvar k = 0; k < Regs; k++) begin : gen_factor
    assign factor_o[k*FactorWidth+:FactorWidth] = factor[k];
  end

  logic unused;
  assign unused = free;

`ifndef SYNTHESIS
  initial begin
    if (FactorWidth >= VecWidth || MulWidth > NumWidth || Regs == 0) $fatal(1, "%m: FactorWidth=%0d VecWidth=%0d MulWidth=%0d NumWidth=%0d", FactorWidth, VecWidth, MulWidth, NumWidth);
    if (2 * RootWidth < SumWidth + 8 || 2 * RootWidth < SquareWidth) $fatal(1, "%m: RootWidth=%0d", RootWidth);
    if (Wide + 1 > DivBits + Digits) $fatal(1, "%m: NumWidth=%0d and MulWidth=%0d are too wide", NumWidth, MulWidth);
  end
`endif
endmodule
