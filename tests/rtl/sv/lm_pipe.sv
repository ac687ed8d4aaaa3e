// One of the pipelines without a handshake, behind one: Kind 0 is qs_lm_mul of {a, b}, 1 qs_lm_round of {bounds, shift, x}, 2 qs_lm_curve
// of {select, x}.
module lm_pipe #(
  parameter int unsigned        Kind       = 0,
  parameter int unsigned        InWidth    = 8,
  parameter int unsigned        OutWidth   = 8,
  parameter int unsigned        AWidth     = 4,
  parameter int unsigned        Limb       = 18,
  parameter int unsigned        Least      = 0,
  parameter int unsigned        Span       = 7,
  parameter int unsigned        ShiftBits  = 3,
  parameter logic signed [63:0] Lo         = -8,
  parameter logic signed [63:0] Hi         = 7,
  parameter logic signed [63:0] Lo1        = -8,
  parameter logic signed [63:0] Hi1        = 7,
  parameter int unsigned        PieceBits  = 4,
  parameter int unsigned        ValueWidth = 30,
  parameter int unsigned        SlopeWidth = 14,
  parameter int unsigned        Curves     = 2,
  parameter int unsigned        Shift      = 8,
  parameter int unsigned        Shift1     = 8,
  parameter                     File       = ""
) (
  input  logic                clk_i,
  input  logic                rst_ni,
  input  logic                s_valid_i,
  output logic                s_ready_o,
  input  logic [InWidth-1:0]  s_data_i,
  output logic                m_valid_o,
  input  logic                m_ready_i,
  output logic [OutWidth-1:0] m_data_o
);
  localparam int unsigned Latency = Kind == 0 ? 2 : Kind == 1 ? 3 : 5;
  localparam int unsigned Depth   = 16;

  logic [Latency-1:0]  valid;
  logic [4:0]          count;  // on their way or waiting
  logic                take, unused;
  logic [OutWidth-1:0] y;
  assign s_ready_o = count < 5'(Depth);
  assign take      = s_valid_i && s_ready_o;
  always_ff @(posedge clk_i or negedge rst_ni) begin
    if (!rst_ni) begin
      valid <= '0;
      count <= '0;
    end else begin
      valid <= {valid[Latency-2:0], take};
      count <= count + 5'(take) - 5'(m_valid_o && m_ready_i);
    end
  end

  if (Kind == 0) begin : gen_mul
    qs_lm_mul #(.AWidth(AWidth), .BWidth(InWidth - AWidth), .ALimb(Limb), .BLimb(Limb)) u_mul (
      .clk_i, .a_i(s_data_i[InWidth-1-:AWidth]), .b_i(s_data_i[InWidth-AWidth-1:0]), .p_o(y));
  end else if (Kind == 1) begin : gen_round
    logic [1:0] bounds;
    always_ff @(posedge clk_i) bounds <= {bounds[0], s_data_i[InWidth-1]};
    qs_lm_round #(.InWidth(InWidth - ShiftBits - 1), .OutWidth(OutWidth), .Least(Least), .Span(Span), .ShiftBits(ShiftBits), .Lo(Lo), .Hi(Hi),
                  .Lo1(Lo1), .Hi1(Hi1)) u_round (
      .clk_i, .x_i(s_data_i[InWidth-ShiftBits-2:0]), .shift_i(s_data_i[InWidth-2-:ShiftBits]), .bounds_i(bounds[1]), .y_o(y));
  end else begin : gen_curve
    qs_lm_curve #(.InWidth(InWidth - 1), .OutWidth(OutWidth), .PieceBits(PieceBits), .ValueWidth(ValueWidth), .SlopeWidth(SlopeWidth),
                  .Curves(Curves), .Shift(Shift), .Shift1(Shift1), .Lo(Lo), .Hi(Hi), .Lo1(Lo1), .Hi1(Hi1), .File(File)) u_curve (
      .clk_i, .x_i(s_data_i[InWidth-2:0]), .select_i(s_data_i[InWidth-1]), .y_o(y));
  end

  qs_fifo #(.DataWidth(OutWidth), .Depth(Depth)) u_fifo (
    .clk_i, .rst_ni, .s_valid_i(valid[Latency-1]), .s_ready_o(unused), .s_data_i(y), .m_valid_o, .m_ready_i, .m_data_o);
endmodule
