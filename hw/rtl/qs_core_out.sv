// Beats of In elements, each wanted or not, to a stream of one element a beat; elements Keep.. of every Row are filling and are dropped.
module qs_core_out #(
  parameter int unsigned In        = 2,
  parameter int unsigned Width     = 8,
  parameter int unsigned CountBits = 8
) (
  input  logic                   clk_i,
  input  logic                   rst_ni,
  input  logic [CountBits-1:0]   row_i,    // elements of a row less one
  input  logic [CountBits-1:0]   keep_i,   // of which this many count
  input  logic                   s_valid_i,
  output logic                   s_ready_o,
  input  logic [In+In*Width-1:0] s_data_i, // {mask, elements}
  output logic                   m_valid_o,
  input  logic                   m_ready_i,
  output logic [Width-1:0]       m_data_o
);
  logic [In-1:0]        mask;
  logic [In*Width-1:0]  data;
  logic [CountBits-1:0] at;
  logic                 take, element;

  assign element   = mask[0];
  assign m_valid_o = element && at < keep_i;
  assign m_data_o  = data[Width-1:0];
  assign take      = !element || at >= keep_i || m_ready_i;   // the lowest element goes
  assign s_ready_o = take && (mask >> 1) == '0;

  always_ff @(posedge clk_i or negedge rst_ni) begin
    if (!rst_ni) begin
      mask <= '0;
      at   <= '0;
    end else begin
      if (s_ready_o) mask <= s_valid_i ? s_data_i[In*Width+:In] : '0;
      else if (take) mask <= mask >> 1;
      if (take && element) at <= at == row_i ? '0 : at + 1'b1;
    end
  end
  always_ff @(posedge clk_i) begin
    if (s_ready_o) data <= s_data_i[In*Width-1:0];
    else if (take) data <= data >> Width;
  end
endmodule
