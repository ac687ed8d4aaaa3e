// Results of the array, Out at a time, with the addresses where they go (y, in elements) and where their parameters are (p, in words).
//
// s_data_i = {level, final, Lanes accumulators}; of each the first `count` are handed on in beats of Out.
// m_data_o = {final, mask, y of element 0, p, Out accumulators}: final with the last beat of a pass, a mask bit for each element
// that counts.  Groups follow each other along rows of `row` elements, of which the first `keep` count; the rest is filling.
// Registers: 48 row, 49 keep; 48 + l delta of y where the pass leaves level l (3..5), 54 start of y, 55 count; 56 + l delta of p, 62 start of p, 63 one if
// p moves on with each beat, zero if all results share one word.  RUN starts a pass.
module qs_core_drain #(
  parameter int unsigned Lanes     = 4,
  parameter int unsigned Out       = 2,    // divides Lanes; a power of two
  parameter int unsigned AccWidth  = 24,
  parameter int unsigned YBits     = 12,
  parameter int unsigned PBits     = 8,
  parameter int unsigned RowBits   = 8,
  parameter int unsigned RegBits   = 7,
  parameter int unsigned ValueBits = 24
) (
  input  logic                                   clk_i,
  input  logic                                   rst_ni,
  input  logic                                   c_valid_i,
  output logic                                   c_ready_o,
  input  logic [RegBits+ValueBits-1:0]           c_data_i,
  input  logic                                   s_valid_i,
  output logic                                   s_ready_o,
  input  logic [Lanes*AccWidth+2:0]              s_data_i,
  output logic                                   m_valid_o,
  input  logic                                   m_ready_i,
  output logic [Out*AccWidth+PBits+YBits+Out:0]  m_data_o
);
  localparam int unsigned CountBits = $clog2(Lanes + 1);

  logic [RegBits-4:0]   kind;
  logic [2:0]           index;
  logic [ValueBits-1:0] value;
  logic                 write, run, busy;
  assign {kind, index, value} = c_data_i;
  assign c_ready_o            = !busy;
  assign write                = c_valid_i && c_ready_o;
  assign run                  = write && kind == '0 && index == '0 && value == ValueBits'(1);

  logic [YBits-1:0]     dy [4], y0, y;
  logic [PBits-1:0]     dp [4], p0, p;
  logic [CountBits-1:0] count, at;   // elements of a group, elements handed on
  logic [RowBits-1:0]   row, keep, ahead;   // ahead: elements of the row before this group
  logic                 moves;
  always_ff @(posedge clk_i) begin
    if (write && kind == (RegBits-3)'(6)) begin
      unique case (index)
        3'd0:             row  <= RowBits'(value);
        3'd1:             keep <= RowBits'(value);
        3'd3, 3'd4, 3'd5: dy[2'(index - 3'd3)] <= YBits'(value);
        3'd6:             y0 <= YBits'(value);
        3'd7:             count <= CountBits'(value);
        default: ;
      endcase
    end
    if (write && kind == (RegBits-3)'(7)) begin
      unique case (index)
        3'd3, 3'd4, 3'd5: dp[2'(index - 3'd3)] <= PBits'(value);
        3'd6:             p0 <= PBits'(value);
        3'd7:             moves <= value[0];
        default: ;
      endcase
    end
  end

  logic [1:0]                level;
  logic                      finish, last, beat;
  logic [Lanes*AccWidth-1:0] accs;
  assign {level, finish, accs} = s_data_i;
  assign last      = at + CountBits'(Out) >= count;
  assign beat      = m_valid_o && m_ready_i;
  assign m_valid_o = busy && s_valid_i;
  assign s_ready_o = beat && last;

  always_ff @(posedge clk_i or negedge rst_ni) begin
    if (!rst_ni) busy <= 1'b0;
    else if (run) busy <= 1'b1;
    else if (beat && last && finish) busy <= 1'b0;
  end
  logic [PBits-1:0] step;   // words of parameters since the group began
  always_ff @(posedge clk_i) begin
    if (run) begin
      y    <= y0;
      p    <= p0;
      at   <= '0;
      step <= '0;
      ahead <= '0;
    end else if (beat) begin
      at   <= last ? '0 : at + CountBits'(Out);
      step <= last || !moves ? '0 : step + 1'b1;
      if (last) begin
        y <= y + dy[level];
        p <= p + dp[level];
        ahead <= ahead + RowBits'(count) == row ? '0 : ahead + RowBits'(count);
      end
    end
  end

  logic [Out*AccWidth-1:0] part;
  logic [Out-1:0]          mask;
  always_comb begin
    part = '0;
    for (int b = 0; b < int'(Lanes / Out); b++)
      if (at == CountBits'(b * int'(Out))) part = accs[b*int'(Out*AccWidth)+:Out*AccWidth];
    for (int e = 0; e < int'(Out); e++) mask[e] = at + CountBits'(e) < count && ahead + RowBits'(at) + RowBits'(e) < keep;
  end
  assign m_data_o = {last && finish, mask, y + YBits'(at), p + step, part};

`ifndef SYNTHESIS
  initial begin
    if (Out == 0 || Lanes % Out != 0) $fatal(1, "%m: Out=%0d does not divide Lanes=%0d", Out, Lanes);
  end
`endif
endmodule
