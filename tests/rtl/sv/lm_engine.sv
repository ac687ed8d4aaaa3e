// qs_lm_engine between streams: beats {first, last, activations, weights} in, the sums of Rows rows out, kept until they are taken.
module lm_engine #(
  parameter int unsigned Trits     = 80,
  parameter int unsigned ActWidth  = 8,
  parameter int unsigned Batch     = 1,
  parameter int unsigned AccWidth  = 20,
  parameter int unsigned Encoding  = 0,
  parameter int unsigned Link      = 4,
  parameter bit          Threes    = 0,
  parameter int unsigned Rows      = 16,
  parameter int unsigned BeatWidth = Encoding == 1 ? 2 * Trits : Trits / 5 * 8,
  parameter int unsigned XWidth    = Batch * Trits * ActWidth
) (
  input  logic                        clk_i,
  input  logic                        rst_ni,
  input  logic                        s_valid_i,
  output logic                        s_ready_o,
  input  logic [XWidth+BeatWidth+1:0] s_data_i,
  output logic                        m_valid_o,
  input  logic                        m_ready_i,
  output logic [Batch*AccWidth-1:0]   m_data_o
);
  logic [XWidth-1:0]         now, later, x;
  logic [BeatWidth-1:0]      beat;
  logic [Batch*AccWidth-1:0] acc;
  logic                      first, last, valid, ready, error, unused;
  assign {first, last, now, beat} = s_data_i;
  assign s_ready_o                = 1'b1;
  assign unused                   = ready ^ error;
  always_ff @(posedge clk_i) begin
    later <= now;
    x     <= later;
  end
  qs_lm_engine #(
    .Trits(Trits), .ActWidth(ActWidth), .Batch(Batch), .AccWidth(AccWidth), .Encoding(Encoding), .Link(Link), .Threes(Threes)
  ) u_engine (
    .clk_i, .rst_ni, .valid_i(s_valid_i), .first_i(first), .last_i(last), .beat_i(beat), .x_i(x), .valid_o(valid), .acc_o(acc), .error_o(error));
  qs_fifo #(.DataWidth(Batch*AccWidth), .Depth(Rows)) u_rows (
    .clk_i, .rst_ni, .s_valid_i(valid), .s_ready_o(ready), .s_data_i(acc), .m_valid_o, .m_ready_i, .m_data_o);
endmodule
