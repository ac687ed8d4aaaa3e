// qs_lm_gemv behind one stream of steps {kind, idle, payload}: kind 0 writes activations, 1 gives a command, 2 tells the error bit.
// A step with `idle` waits until all rows before it have left.
module lm_gemv #(
  parameter int unsigned Engines   = 1,
  parameter int unsigned Trits     = 80,
  parameter int unsigned ActWidth  = 8,
  parameter int unsigned Batch     = 1,
  parameter int unsigned AccWidth  = 20,
  parameter int unsigned Encoding  = 0,
  parameter int unsigned Lanes     = 1,
  parameter int unsigned Bufs      = 3,
  parameter int unsigned Depth     = 2,
  parameter int unsigned RowBits   = 16,
  parameter int unsigned StepBits  = 64,
  parameter int unsigned BeatWidth = Encoding == 1 ? 2 * Trits : Trits / 5 * 8
) (
  input  logic                              clk_i,
  input  logic                              rst_ni,
  input  logic                              o_valid_i,
  output logic                              o_ready_o,
  input  logic [StepBits+2:0]               o_data_i,
  input  logic [Engines-1:0]                s_valid_i,
  output logic [Engines-1:0]                s_ready_o,
  input  logic [Engines-1:0][BeatWidth-1:0] s_data_i,
  output logic                              m_valid_o,
  input  logic                              m_ready_i,
  output logic [RowBits+Batch*AccWidth-1:0] m_data_o,
  output logic                              e_valid_o,
  input  logic                              e_ready_i,
  output logic [0:0]                        e_data_o
);
  localparam int unsigned BufBits   = Bufs > 1 ? $clog2(Bufs) : 1;
  localparam int unsigned BeatsBits = $clog2(Depth + 1);
  localparam int unsigned XBits     = BufBits + Batch * Lanes * ActWidth + 1;
  localparam int unsigned CBits     = RowBits + BeatsBits + BufBits;
  logic [1:0]          kind;
  logic                idle, may, busy, x_ready, c_ready, want, unused;
  logic [StepBits-1:0] payload;
  assign {kind, idle, payload} = o_data_i;
  assign may                   = o_valid_i && !(idle && busy);
  assign o_ready_o             = !(idle && busy) && (kind == 2'd0 ? x_ready : kind == 2'd1 ? c_ready : e_ready_i);
  assign e_valid_o             = may && kind == 2'd2;
  assign unused                = ^{want, payload};
  qs_lm_gemv #(
    .Engines(Engines), .Trits(Trits), .ActWidth(ActWidth), .Batch(Batch), .AccWidth(AccWidth), .Encoding(Encoding), .Lanes(Lanes),
    .Bufs(Bufs), .Depth(Depth), .RowBits(RowBits)
  ) u_gemv (
    .clk_i, .rst_ni, .x_valid_i(may && kind == 2'd0), .x_ready_o(x_ready), .x_data_i(payload[XBits-1:0]),
    .c_valid_i(may && kind == 2'd1), .c_ready_o(c_ready), .c_data_i(payload[CBits-1:0]),
    .s_valid_i, .s_ready_o, .s_data_i, .want_o(want), .m_valid_o, .m_ready_i, .m_data_o, .busy_o(busy), .error_o(e_data_o[0])
  );
endmodule
