// Plays a file of hexadecimal beats into an AXI4-Stream, with random stalls: one line a beat, TLAST above the data.  Bench only.
module qs_play #(
  parameter int unsigned DataWidth = 8,
  parameter int unsigned Salt      = 1,   // makes its stalls differ from those of the other ports
  parameter              File      = ""
) (
  input  logic                 clk_i,
  input  logic                 rst_ni,
  input  logic [31:0]          seed_i,    // 0: never stalls
  input  logic [7:0]           often_i,
  output logic                 m_axis_tvalid,
  input  logic                 m_axis_tready,
  output logic [DataWidth-1:0] m_axis_tdata,
  output logic                 m_axis_tlast
);
  int                 file;
  logic [DataWidth:0] word;
  logic               stall;

  initial file = $fopen(File, "r");

  qs_stall #(.Salt(Salt)) u_stall (.clk_i(clk_i), .rst_ni(rst_ni), .seed_i(seed_i), .often_i(often_i), .stall_o(stall));

  always_ff @(posedge clk_i or negedge rst_ni) begin
    if (!rst_ni) begin  // from the start of the file again, whatever happened before the reset
      if ($rewind(file) != 0) $fatal(1, "%m: cannot read %s", File);
      m_axis_tvalid <= 1'b0;
    end else if (!m_axis_tvalid || m_axis_tready) begin
      m_axis_tvalid <= 1'b0;
      if (!stall && $fscanf(file, "%h", word) == 1) begin
        m_axis_tvalid                <= 1'b1;
        {m_axis_tlast, m_axis_tdata} <= word;
      end
    end
  end
endmodule
