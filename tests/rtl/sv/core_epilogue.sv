// qs_core_epilogue with its registers as parameters.
module core_epilogue #(
  parameter int unsigned Out       = 2,
  parameter int unsigned AccWidth  = 24,
  parameter int unsigned BiasWidth = 24,
  parameter int unsigned MulWidth  = 16,
  parameter int unsigned ShiftBits = 5,
  parameter int unsigned OutWidth  = 8,
  parameter int unsigned TagWidth  = 4,
  parameter int unsigned Params    = 4,
  parameter int unsigned PBits     = 2,
  parameter int unsigned Entries   = 1,
  parameter int unsigned Shift     = 0,
  parameter logic signed [63:0] Zero = 0,
  parameter logic signed [63:0] Lo   = 0,
  parameter logic signed [63:0] Hi   = 0,
  parameter logic signed [63:0] Base = 0,
  parameter              ParamFile = "",
  parameter              TableFile = ""
) (
  input  logic                                   clk_i,
  input  logic                                   rst_ni,
  input  logic                                   s_valid_i,
  output logic                                   s_ready_o,
  input  logic [TagWidth+PBits+Out*AccWidth-1:0] s_data_i,
  output logic                                   m_valid_o,
  input  logic                                   m_ready_i,
  output logic [TagWidth+Out*OutWidth-1:0]       m_data_o
);
  localparam int unsigned TBits = Entries > 1 ? $clog2(Entries) : 1;
  qs_core_epilogue #(
    .Out(Out), .AccWidth(AccWidth), .BiasWidth(BiasWidth), .MulWidth(MulWidth), .ShiftBits(ShiftBits), .OutWidth(OutWidth),
    .TagWidth(TagWidth), .Params(Params), .Entries(Entries), .ParamFile(ParamFile), .TableFile(TableFile)
  ) u_epilogue (
    .shift_i(ShiftBits'(Shift)), .zero_i((OutWidth+1)'(Zero)), .lo_i((OutWidth+1)'(Lo)), .hi_i((OutWidth+1)'(Hi)),
    .table_i(Entries > 1), .base_i(TBits'(Base)), .*
  );
endmodule
