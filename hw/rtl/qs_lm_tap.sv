// One group of taps, chosen by a register, as a stream: a buffer that asks the vector path to stand still when it fills.
//
// hold_o rises while Depth / 2 beats are still free, for what is on its way in a pipeline.  A beat that finds no room is lost, and
// TLAST marks the next one that is taken.
module qs_lm_tap #(
  parameter int unsigned Groups = 16,
  parameter int unsigned Width  = 64,
  parameter int unsigned Depth  = 128
) (
  input  logic                    clk_i,
  input  logic                    rst_ni,
  input  logic                    enable_i,
  input  logic [4:0]              select_i,
  input  logic [Groups-1:0]       tap_valid_i,
  input  logic [Groups*Width-1:0] tap_data_i,
  output logic                    hold_o,
  output logic                    m_axis_tvalid,
  input  logic                    m_axis_tready,
  output logic [Width-1:0]        m_axis_tdata,
  output logic                    m_axis_tlast
);
  localparam int unsigned CountBits = $clog2(Depth + 2);
  logic                 valid, ready, lost, push, pop;
  logic [Width-1:0]     data;
  logic [CountBits-1:0] count;
  always_comb begin
    valid = 1'b0;
    data  = tap_data_i[Width-1:0];
    for (int g = 0; g < int'(Groups); g++) begin
      if (select_i == 5'(g)) begin
        valid = enable_i && tap_valid_i[g];
        data  = tap_data_i[g*int'(Width)+:Width];
      end
    end
  end
  assign push = valid && ready;
  assign pop  = m_axis_tvalid && m_axis_tready;

  qs_fifo #(.DataWidth(Width + 1), .Depth(Depth)) u_fifo (
    .clk_i, .rst_ni, .s_valid_i(valid), .s_ready_o(ready), .s_data_i({lost, data}),
    .m_valid_o(m_axis_tvalid), .m_ready_i(m_axis_tready), .m_data_o({m_axis_tlast, m_axis_tdata})
  );

  always_ff @(posedge clk_i or negedge rst_ni) begin
    if (!rst_ni) begin
      lost   <= 1'b0;
      count  <= '0;
      hold_o <= 1'b0;
    end else begin
      if (push) lost <= 1'b0;
      else if (valid) lost <= 1'b1;
      count  <= count + CountBits'(push) - CountBits'(pop);
      hold_o <= count >= CountBits'(Depth / 2);
    end
  end

`ifndef SYNTHESIS
  initial if (Groups == 0 || Groups > 32 || Depth < 4) $fatal(1, "%m: Groups=%0d of at most 32, Depth=%0d of at least 4", Groups, Depth);
`endif
endmodule
