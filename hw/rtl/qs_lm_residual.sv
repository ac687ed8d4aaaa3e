// The residual: h = clamp(h + y), or a row of the embeddings as it is; two cycles after it came.  Meaning: ir/lm/expand.py.
//
// ahead_row_i is the row of y, two cycles before it.  Both kinds of rows do not come at once.
module qs_lm_residual #(
  parameter int unsigned Dim      = 160,
  parameter int unsigned RowBits  = 9,
  parameter int unsigned Width    = 24,
  parameter int unsigned EmbWidth = 16     // signed, at most Width
) (
  input  logic                clk_i,
  input  logic                rst_ni,
  input  logic [RowBits-1:0]  ahead_row_i,
  input  logic                y_valid_i,
  input  logic                y_first_i,
  input  logic [RowBits-1:0]  y_row_i,
  input  logic [Width-1:0]    y_i,
  input  logic                e_valid_i,
  input  logic                e_first_i,
  input  logic [RowBits-1:0]  e_row_i,
  input  logic [EmbWidth-1:0] e_i,
  output logic                valid_o,
  output logic                first_o,
  output logic [RowBits-1:0]  row_o,
  output logic [Width-1:0]    h_o,
  output logic                busy_o,
  output logic                begun_o
);
  localparam int unsigned DimBits = Dim > 1 ? $clog2(Dim) : 1;
  typedef logic [DimBits-1:0]    dim_t;
  typedef logic signed [Width:0] sum_t;

  logic unused;
  assign unused = ^ahead_row_i;
  logic               valid, first;
  logic [RowBits-1:0] row;
  logic [Width-1:0]   h;
  sum_t               sum;
  qs_lm_memory #(
    .Depth(Dim),
    .Width(Width)
  ) u_memory (
    .clk_i,
    .we_i   (valid_o),
    .waddr_i(dim_t'(row_o)),
    .wdata_i(h_o),
    .raddr_i(dim_t'(ahead_row_i)),
    .rdata_o(h)
  );

  always_ff @(posedge clk_i or negedge rst_ni) begin
    if (!rst_ni) begin
      {valid_o, valid} <= 2'b00;
      {first_o, first} <= 2'b00;
    end else begin
      {valid_o, valid} <= {valid, y_valid_i || e_valid_i};
      {first_o, first} <= {first, (e_valid_i && e_first_i) || (y_valid_i && y_first_i)};
    end
  end
  always_ff @(posedge clk_i) begin
    row   <= e_valid_i ? e_row_i : y_row_i;
    row_o <= row;
    sum   <= e_valid_i ? sum_t'(signed'(e_i)) : sum_t'(signed'(y_i)) + sum_t'(signed'(h));
    h_o   <= sum[Width] == sum[Width-1] ? sum[Width-1:0] : {sum[Width], {(Width - 1){!sum[Width]}}};
  end
  assign busy_o  = valid || valid_o;
  assign begun_o = first || first_o;

`ifndef SYNTHESIS
  initial if (EmbWidth > Width) $fatal(1, "%m: embeddings of %0d bits in a residual of %0d", EmbWidth, Width);
`endif
endmodule
