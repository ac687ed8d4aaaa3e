// Beats[0] beats of stream 0, then Beats[1] beats of stream 1, ..., then from the start.  Meaning: ir/interpret.py, Concat.
//
// Concat along the channels of (C, H, W) is Beats[k] = C_k / Lanes; along an outer axis, the beats of one outer step of
// input k.  All streams have the same beat (qs_resize brings them there).  One register; ready passes through.
module qs_concat #(
  parameter int unsigned          NumIn = 2,
  parameter int unsigned          Width = 8,            // of a beat
  parameter logic [NumIn*32-1:0]  Beats = {NumIn{32'd1}}  // stream 0 in the lowest 32 bits
) (
  input  logic                        clk_i,
  input  logic                        rst_ni,
  input  logic [NumIn-1:0]            s_valid_i,
  output logic [NumIn-1:0]            s_ready_o,
  input  logic [NumIn-1:0][Width-1:0] s_data_i,
  output logic                        m_valid_o,
  input  logic                        m_ready_i,
  output logic [Width-1:0]            m_data_o
);
  localparam int unsigned SelWidth = NumIn > 1 ? $clog2(NumIn) : 1;

  function automatic int unsigned most();
    most = 1;
    for (int unsigned k = 0; k < NumIn; k++) if (Beats[32*k+:32] > most) most = Beats[32*k+:32];
  endfunction
  localparam int unsigned CountWidth = $clog2(most() + 1);

  logic [SelWidth-1:0]   sel;
  logic [CountWidth-1:0] count, last;
  logic                  advance, take;
  assign advance = !m_valid_o || m_ready_i;
  assign take    = s_valid_i[sel] && advance;
  for (genvar k = 0; k < NumIn; k++) begin : gen_in
    assign s_ready_o[k] = advance && sel == SelWidth'(k);
  end

  always_comb begin
    last = '0;
    for (int unsigned k = 0; k < NumIn; k++) if (sel == SelWidth'(k)) last = CountWidth'(Beats[32*k+:32] - 1);
  end

  always_ff @(posedge clk_i or negedge rst_ni) begin
    if (!rst_ni) begin
      m_valid_o <= 1'b0;
      sel       <= '0;
      count     <= '0;
    end else if (advance) begin
      m_valid_o <= take;
      if (take) begin
        count <= count == last ? '0 : count + 1'b1;
        if (count == last) sel <= sel == SelWidth'(NumIn - 1) ? '0 : sel + 1'b1;
      end
    end
  end

  always_ff @(posedge clk_i) begin
    if (advance) m_data_o <= s_data_i[sel];
  end

`ifndef SYNTHESIS
  initial begin
    if (NumIn == 0 || Width == 0) $fatal(1, "%m: NumIn and Width are at least 1");
    for (int unsigned k = 0; k < NumIn; k++) begin
      if (Beats[32*k+:32] == 0) $fatal(1, "%m: Beats[%0d] is 0", k);
    end
  end
`endif
endmodule
