// qs_lm_quant with vector memories behind it: commands {base, norm, vec, buf, count, top, extra}; out come
// {last, buf, address, codes} and {top, sum}.  base: where vector 0 of the command begins in File, in words.
module lm_quant #(
  parameter int unsigned Lanes     = 2,
  parameter int unsigned VecWidth  = 26,
  parameter int unsigned ActWidth  = 8,
  parameter int unsigned ShareBits = 12,
  parameter int unsigned Depth     = 16,
  parameter int unsigned SumWidth  = 44,
  parameter int unsigned Read      = 1,
  parameter int unsigned Words     = 64,
  parameter              File      = "",
  parameter int unsigned CountBits = $clog2(Depth + 1),
  parameter int unsigned AddrWidth = Depth > Lanes ? $clog2((Depth + Lanes - 1) / Lanes) : 1,
  parameter int unsigned CodeOut   = 3 + AddrWidth + Lanes * ActWidth
) (
  input  logic                                 clk_i,
  input  logic                                 rst_ni,
  input  logic                                 c_valid_i,
  output logic                                 c_ready_o,
  input  logic [16+5+CountBits+2*VecWidth-3:0] c_data_i,
  output logic                                 m_valid_o,
  input  logic                                 m_ready_i,
  output logic [CodeOut-1:0]                   m_data_o,
  output logic                                 n_valid_o,
  input  logic                                 n_ready_i,
  output logic [VecWidth-1+SumWidth-1:0]       n_data_o
);
  logic [15:0]               base, base_q;
  logic                      norm, read, code_valid, code_last, norm_valid, busy;
  logic [1:0]                vec, buf_id, rvec, code_buf;
  logic [CountBits-1:0]      count;
  logic [VecWidth-2:0]       top, extra, norm_top;
  logic [AddrWidth-1:0]      raddr, code_addr;
  logic [Lanes*VecWidth-1:0] rdata [Read];
  logic [Lanes*ActWidth-1:0] codes;
  logic [SumWidth-1:0]       sum;
  assign {base, norm, vec, buf_id, count, top, extra} = c_data_i;

  logic [Lanes*VecWidth-1:0] words [Words];
  initial $readmemh(File, words);
  always_ff @(posedge clk_i) begin
    if (c_valid_i && c_ready_o) base_q <= base;
    rdata[0] <= words[$clog2(Words)'(base_q + 16'(rvec) * 16'((Depth + Lanes - 1) / Lanes) + 16'(raddr))];
    for (int k = 1; k < int'(Read); k++) rdata[k] <= rdata[k-1];
  end

  qs_lm_quant #(
    .Lanes(Lanes), .VecWidth(VecWidth), .ActWidth(ActWidth), .ShareBits(ShareBits), .Depth(Depth), .SumWidth(SumWidth), .Read(Read)
  ) u_quant (
    .clk_i, .rst_ni, .cmd_valid_i(c_valid_i), .cmd_ready_o(c_ready_o), .cmd_norm_i(norm), .cmd_vec_i(vec), .cmd_buf_i(buf_id),
    .cmd_count_i(count), .cmd_top_i(top), .cmd_extra_i(extra), .read_o(read), .rvec_o(rvec), .raddr_o(raddr), .rdata_i(rdata[Read-1]),
    .code_valid_o(code_valid), .code_buf_o(code_buf), .code_addr_o(code_addr), .code_last_o(code_last), .code_data_o(codes),
    .norm_valid_o(norm_valid), .sum_o(sum), .top_o(norm_top), .busy_o(busy)
  );

  // Nothing waits at these ports.
  logic [1:0] ready;
  qs_fifo #(.DataWidth(CodeOut), .Depth(4096)) u_codes (
    .clk_i, .rst_ni, .s_valid_i(code_valid), .s_ready_o(ready[0]), .s_data_i({code_last, code_buf, code_addr, codes}), .m_valid_o, .m_ready_i, .m_data_o
  );
  qs_fifo #(.DataWidth(VecWidth-1+SumWidth), .Depth(1024)) u_norms (
    .clk_i, .rst_ni, .s_valid_i(norm_valid), .s_ready_o(ready[1]), .s_data_i({norm_top, sum}),
    .m_valid_o(n_valid_o), .m_ready_i(n_ready_i), .m_data_o(n_data_o)
  );
  // Busy is told from the cycle after a command on until its last result is there.
  int open;
  always_ff @(posedge clk_i or negedge rst_ni) begin
    if (!rst_ni) open <= 0;
    else begin
      open <= open + int'(c_valid_i && c_ready_o) - int'(code_valid && code_last) - int'(norm_valid);
      if (open > int'(norm_valid) && !busy || open == int'(norm_valid) && busy || read && !busy) $error("%0d commands open, busy %b", open, busy);
      if (ready != 2'b11) $error("a buffer is full");
    end
  end
endmodule
