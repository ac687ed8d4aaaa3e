// Codes and norms of the vectors of a language-model core, a word of Lanes values a cycle.
//
// A command reads `count` values of vector `vec`, whose largest magnitude is `top` (>= 1).  Codes: floor(v * (2**(ActWidth-1) - 1) /
// top + 1/2), written to buffer `buf`, from position 0 on; values beyond count read as 0.  Norm: with t = max(top, extra) and
// the shares y = floor(v * 2**ShareBits / t + 1/2) of all values and of `extra` as one value more, top_o is t and sum_o =
// max(sum of y * y, 2**(2*ShareBits)), as the norms of ir/lm have it.
//
// The next command is taken while the last words of the one before are still on their way, and results come in the order of
// commands.  busy_o: a command is at work.  Divisions: qs_lm_share.
module qs_lm_quant #(
  parameter int unsigned Lanes     = 2,     // a power of two
  parameter int unsigned VecWidth  = 26,    // of a value, signed; magnitudes are below 2**(VecWidth-1)
  parameter int unsigned ActWidth  = 8,
  parameter int unsigned ShareBits = 12,
  parameter int unsigned Depth     = 512,   // values of the longest vector
  parameter int unsigned SumWidth  = 44,    // of sum_o
  parameter int unsigned Read      = 1,     // cycles from read_o to its rdata_i
  parameter int unsigned CountBits = $clog2(Depth + 1),
  parameter int unsigned AddrWidth = Depth > Lanes ? $clog2((Depth + Lanes - 1) / Lanes) : 1
) (
  input  logic                      clk_i,
  input  logic                      rst_ni,
  input  logic                      cmd_valid_i,
  output logic                      cmd_ready_o,
  input  logic                      cmd_norm_i,    // a norm, not codes
  input  logic [1:0]                cmd_vec_i,
  input  logic [1:0]                cmd_buf_i,     // for codes
  input  logic [CountBits-1:0]      cmd_count_i,   // >= 1
  input  logic [VecWidth-2:0]       cmd_top_i,
  input  logic [VecWidth-2:0]       cmd_extra_i,   // for a norm; 0: none
  output logic                      read_o,        // of the vector memories, in words of Lanes values, the first lowest
  output logic [1:0]                rvec_o,
  output logic [AddrWidth-1:0]      raddr_o,
  input  logic [Lanes*VecWidth-1:0] rdata_i,
  output logic                      code_valid_o,  // to the activation memory, never waits
  output logic [1:0]                code_buf_o,
  output logic [AddrWidth-1:0]      code_addr_o,   // in words of Lanes codes
  output logic                      code_last_o,   // the command's last word
  output logic [Lanes*ActWidth-1:0] code_data_o,
  output logic                      norm_valid_o,  // sum_o and top_o are new, and stay until the next norm's
  output logic [SumWidth-1:0]       sum_o,
  output logic [VecWidth-2:0]       top_o,
  output logic                      busy_o
);
  localparam int unsigned LaneBits = $clog2(Lanes);
  localparam int unsigned Digits   = ActWidth > ShareBits + 2 ? ActWidth - 1 : ShareBits + 1;
  localparam int unsigned TagWidth = 3;              // {last of a command, buffer}
  localparam int unsigned Words    = CountBits + 1;  // bits of a number of words
  localparam int unsigned SqWidth  = 2 * ShareBits + 1;

  // Reading: `left` words after this one; a norm has `extra` as one more word.
  logic                 reading, norm, last, more, take;
  logic [1:0]           vec, buf_id;
  logic [AddrWidth-1:0] addr;
  logic [Words-1:0]     left, words;
  logic [VecWidth-2:0]  top, extra;
  logic [Lanes-1:0]     tail, mask;     // lanes of the vector's last word that count
  assign words       = (Words'(cmd_count_i) + Words'(Lanes - 1)) >> LaneBits;
  assign last        = left == '0;
  assign more        = norm && last;    // the word of `extra`
  assign cmd_ready_o = !reading || last;
  assign take        = cmd_valid_i && cmd_ready_o;
  assign read_o      = reading && !more;
  assign rvec_o      = vec;
  assign raddr_o     = addr;
  assign mask        = more ? '0 : left == Words'(norm) ? tail : '1;

  always_ff @(posedge clk_i or negedge rst_ni) begin
    if (!rst_ni) reading <= 1'b0;
    else if (cmd_ready_o) reading <= cmd_valid_i;
  end
  always_ff @(posedge clk_i) begin
    left <= left - 1'b1;
    addr <= addr + 1'b1;
    if (take) begin
      {norm, vec, buf_id} <= {cmd_norm_i, cmd_vec_i, cmd_buf_i};
      addr  <= '0;
      left  <= words - Words'(!cmd_norm_i);
      top   <= cmd_norm_i && cmd_extra_i > cmd_top_i ? cmd_extra_i : cmd_top_i;
      extra <= cmd_extra_i;
      for (int l = 0; l < int'(Lanes); l++) tail[l] <= ((cmd_count_i - 1'b1) & CountBits'(Lanes - 1)) >= CountBits'(l);
    end
  end

  // What was asked for comes back Read cycles later, with all that belongs to it.
  localparam int unsigned AskedBits = 2 * VecWidth + Lanes + 3;   // more, norm, last, buf_id, mask, top, extra
  logic [Read-1:0] waiting;
  logic [AskedBits-1:0] asked [Read];   // no struct: Yosys knows none in arrays
  logic                 more_now, norm_now, last_now;
  logic [1:0]           buf_now;
  logic [Lanes-1:0]     mask_now;
  logic [VecWidth-2:0]  top_now, extra_now;
  assign {more_now, norm_now, last_now, buf_now, mask_now, top_now, extra_now} = asked[Read-1];
  always_ff @(posedge clk_i or negedge rst_ni) begin
    if (!rst_ni) waiting <= '0;
    else waiting <= Read'({waiting, reading});
  end
  always_ff @(posedge clk_i) begin
    asked[0] <= {more, norm, last, buf_id, mask, top, extra};
    for (int k = 1; k < int'(Read); k++) asked[k] <= asked[k-1];
  end

  logic                      valid, norm_q, last_q;
  logic [1:0]                buf_q;
  logic [VecWidth-2:0]       top_q;
  logic [Lanes*VecWidth-1:0] v;
  always_ff @(posedge clk_i or negedge rst_ni) begin
    if (!rst_ni) valid <= 1'b0;
    else valid <= waiting[Read-1];
  end
  always_ff @(posedge clk_i) begin
    {norm_q, last_q, buf_q, top_q} <= {norm_now, last_now, buf_now, top_now};
    for (int l = 0; l < int'(Lanes); l++) v[l*int'(VecWidth)+:VecWidth] <= rdata_i[l*int'(VecWidth)+:VecWidth] & {VecWidth{mask_now[l]}};
    if (more_now) v[VecWidth-1:0] <= {1'b0, extra_now};
  end

  logic                        done, share, dividing;
  logic [Lanes*(Digits+1)-1:0] q;
  logic [VecWidth-2:0]         t;
  logic [TagWidth-1:0]         tag;
  qs_lm_share #(.Lanes(Lanes), .VecWidth(VecWidth), .CodeWidth(ActWidth), .ShareBits(ShareBits), .TagWidth(TagWidth)) u_share (
    .clk_i, .rst_ni, .valid_i(valid), .v_i(v), .top_i(top_q), .share_i(norm_q), .tag_i({last_q, buf_q}),
    .valid_o(done), .q_o(q), .top_o(t), .share_o(share), .tag_o(tag), .busy_o(dividing)
  );
  assign code_valid_o = done && !share;
  assign code_buf_o   = tag[1:0];
  assign code_last_o  = tag[2];

  always_ff @(posedge clk_i or negedge rst_ni) begin
    if (!rst_ni) code_addr_o <= '0;
    else if (code_valid_o) code_addr_o <= code_last_o ? '0 : code_addr_o + 1'b1;
  end
  for (genvar l = 0; l < Lanes; l++) begin : gen_code
    assign code_data_o[l*ActWidth+:ActWidth] = q[l*(Digits+1)+:ActWidth];
  end

  // Shares, their squares, the sum of a word's, the sum of all.
  logic [2:0]                  rank, final_;  // a word is here, and ends its norm
  logic signed [ShareBits+1:0] y      [Lanes];
  logic [SqWidth-1:0]          square [Lanes];
  logic [SumWidth-1:0]         word, word_q, sum, total;
  logic [VecWidth-2:0]         tops [3];
  logic                        fresh;         // no word of this norm is in the sum yet
  always_comb begin
    word = '0;
    for (int l = 0; l < int'(Lanes); l++) word = word + SumWidth'(square[l]);
  end
  assign total = (fresh ? '0 : sum) + word_q;
  always_ff @(posedge clk_i or negedge rst_ni) begin
    if (!rst_ni) begin
      rank         <= '0;
      fresh        <= 1'b1;
      norm_valid_o <= 1'b0;
    end else begin
      rank         <= {rank[1:0], done && share};
      if (rank[2]) fresh <= final_[2];
      norm_valid_o <= rank[2] && final_[2];
    end
  end
  always_ff @(posedge clk_i) begin
    final_  <= {final_[1:0], tag[2]};
    tops[0] <= t;
    for (int k = 1; k < 3; k++) tops[k] <= tops[k-1];
    for (int l = 0; l < int'(Lanes); l++) begin
      y[l]      <= (ShareBits+2)'(q[l*int'(Digits+1)+:Digits+1]);
      square[l] <= SqWidth'(y[l] * y[l]);
    end
    word_q <= word;
    if (rank[2]) sum <= total;
    if (rank[2] && final_[2]) begin
      sum_o <= total >> 2 * ShareBits == '0 ? SumWidth'(1) << 2 * ShareBits : total;
      top_o <= tops[2];
    end
  end
  assign busy_o = reading || waiting != '0 || valid || dividing || rank != '0;

`ifndef SYNTHESIS
  initial begin
    if (Lanes == 0 || (Lanes & (Lanes - 1)) != 0 || Depth == 0 || Read == 0) $fatal(1, "%m: Lanes=%0d is a power of two; Depth, Read > 0", Lanes);
    if (SumWidth < SqWidth) $fatal(1, "%m: SumWidth=%0d holds no square of %0d bits", SumWidth, SqWidth);
  end
`endif
endmodule
