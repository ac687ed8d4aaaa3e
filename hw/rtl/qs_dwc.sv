// Lane width converter: beats of InLanes elements become beats of OutLanes elements, the order of the elements stays.
//
// One of the two numbers is a multiple of the other.
module qs_dwc #(
  parameter int unsigned Width    = 8,   // of one element
  parameter int unsigned InLanes  = 1,
  parameter int unsigned OutLanes = 2
) (
  input  logic                      clk_i,
  input  logic                      rst_ni,
  input  logic                      s_valid_i,
  output logic                      s_ready_o,
  input  logic [InLanes*Width-1:0]  s_data_i,
  output logic                      m_valid_o,
  input  logic                      m_ready_i,
  output logic [OutLanes*Width-1:0] m_data_o
);
  localparam int unsigned InBits  = InLanes * Width;
  localparam int unsigned OutBits = OutLanes * Width;

  if (InLanes == OutLanes) begin : gen_same
    logic unused;
    assign unused    = clk_i ^ rst_ni;
    assign m_valid_o = s_valid_i;
    assign s_ready_o = m_ready_i;
    assign m_data_o  = s_data_i;
  end else if (OutLanes > InLanes) begin : gen_up
    localparam int unsigned Ratio      = OutLanes / InLanes;
    localparam int unsigned CountWidth = $clog2(Ratio);
    logic [CountWidth-1:0] count;
    logic                  take;

    assign s_ready_o = !m_valid_o || m_ready_i;
    assign take      = s_valid_i && s_ready_o;

    always_ff @(posedge clk_i or negedge rst_ni) begin
      if (!rst_ni) begin
        count     <= '0;
        m_valid_o <= 1'b0;
      end else if (s_ready_o) begin
        m_valid_o <= take && count == CountWidth'(Ratio - 1);
        if (take) count <= count == CountWidth'(Ratio - 1) ? '0 : count + CountWidth'(1);
      end
    end

    always_ff @(posedge clk_i) begin
      if (take) m_data_o <= {s_data_i, m_data_o[OutBits-1:InBits]};
    end
  end else begin : gen_down
    localparam int unsigned Ratio     = InLanes / OutLanes;
    localparam int unsigned LeftWidth = $clog2(Ratio + 1);
    logic [LeftWidth-1:0] left;   // beats still to be given out
    logic [InBits-1:0]    hold;

    assign m_valid_o = left != '0;
    assign m_data_o  = hold[OutBits-1:0];
    assign s_ready_o = left == '0 || (left == LeftWidth'(1) && m_ready_i);

    always_ff @(posedge clk_i or negedge rst_ni) begin
      if (!rst_ni) left <= '0;
      else if (s_valid_i && s_ready_o) left <= LeftWidth'(Ratio);
      else if (m_valid_o && m_ready_i) left <= left - LeftWidth'(1);
    end

    always_ff @(posedge clk_i) begin
      if (s_valid_i && s_ready_o) hold <= s_data_i;
      else if (m_valid_o && m_ready_i) hold <= hold >> OutBits;
    end
  end

`ifndef SYNTHESIS
  initial begin
    if (Width == 0 || InLanes == 0 || OutLanes == 0) $fatal(1, "%m: Width, InLanes and OutLanes are at least 1");
    if (InLanes % OutLanes != 0 && OutLanes % InLanes != 0)
      $fatal(1, "%m: InLanes=%0d and OutLanes=%0d are no multiple of one another", InLanes, OutLanes);
  end
`endif
endmodule
