// AXI4-Stream to a plain stream of whole frames: the padding of TDATA to whole bytes is dropped, and TLAST is checked.
//
// What follows always gets frames of Beats beats, so that a faulty sender cannot put it out of step.  TLAST too early: the rest
// of the frame is zeros.  No TLAST at a frame's last beat: what comes is dropped, up to and with the next TLAST.  Either way the
// frame after that TLAST is whole again, and error_o stays high until clear_i (or reset).  With CheckLast 0 TLAST is ignored.
module qs_axis_in #(
  parameter int unsigned Width     = 12,    // bits of a beat that count
  parameter int unsigned DataWidth = 16,    // of TDATA
  parameter int unsigned Beats     = 4,     // of a frame
  parameter bit          CheckLast = 1'b1
) (
  input  logic                 clk_i,
  input  logic                 rst_ni,
  input  logic                 s_axis_tvalid,
  output logic                 s_axis_tready,
  input  logic [DataWidth-1:0] s_axis_tdata,
  input  logic                 s_axis_tlast,
  output logic                 m_valid_o,
  input  logic                 m_ready_i,
  output logic [Width-1:0]     m_data_o,
  input  logic                 clear_i,
  output logic                 error_o
);
  localparam int unsigned CountWidth = Beats > 1 ? $clog2(Beats) : 1;
  typedef enum logic [1:0] {Pass, Fill, Drop} state_e;
  state_e                state;
  logic [CountWidth-1:0] count;
  logic                  last, fault, unused;

  assign unused        = ^s_axis_tdata;
  assign last          = count == CountWidth'(Beats - 1);
  assign m_valid_o     = state == Fill || (state == Pass && s_axis_tvalid);
  assign s_axis_tready = state == Drop || (state == Pass && m_ready_i);
  assign m_data_o      = state == Fill ? '0 : s_axis_tdata[Width-1:0];
  assign fault         = CheckLast && state == Pass && s_axis_tvalid && m_ready_i && s_axis_tlast != last;

  always_ff @(posedge clk_i or negedge rst_ni) begin
    if (!rst_ni) begin
      state   <= Pass;
      count   <= '0;
      error_o <= 1'b0;
    end else begin
      error_o <= fault || (error_o && !clear_i);
      if (m_valid_o && m_ready_i) count <= last ? '0 : count + CountWidth'(1);
      unique case (state)
        Pass: if (fault) state <= last ? Drop : Fill;
        Fill: if (m_ready_i && last) state <= Pass;
        Drop: if (s_axis_tvalid && s_axis_tlast) state <= Pass;
        default: state <= Pass;
      endcase
    end
  end

`ifndef SYNTHESIS
  initial begin
    if (Width == 0 || DataWidth < Width || Beats == 0) $fatal(1, "%m: Width=%0d DataWidth=%0d Beats=%0d", Width, DataWidth, Beats);
  end
`endif
endmodule
