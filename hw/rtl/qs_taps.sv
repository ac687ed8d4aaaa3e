// Line buffer that gives several taps of a window at once: a feature map comes in pixel by pixel, a beat has Taps taps.
//
// A pixel is Blocks beats of Lanes channels.  For each position (row by row) and each block the window leaves in
// KernelRows*KernelCols/Taps beats, its taps row by row; tap t, channel l of a beat at element t*Lanes + l.  Outside the map
// stands PadValue.  The map is one long line of pixels: lines of kernel rows and of kernel columns are delays, a position
// leaves when the place of its last tap in the line has come, be it in the map or not; where a frame ends and no other has
// begun, pixels of no meaning move it on.  A beat of the map takes a cycle, but where a position leaves as many as it has
// beats: InRows*InCols*Blocks + OutRows*OutCols*Blocks*(KernelRows*KernelCols/Taps - 1) cycles a frame.
module qs_taps #(
  parameter int unsigned      Lanes      = 1,
  parameter int unsigned      Blocks     = 1,
  parameter int unsigned      Taps       = 9,
  parameter int unsigned      Width      = 8,    // of one element
  parameter logic [Width-1:0] PadValue   = '0,
  parameter int unsigned      InRows     = 8,
  parameter int unsigned      InCols     = 8,
  parameter int unsigned      OutRows    = 8,
  parameter int unsigned      OutCols    = 8,
  parameter int unsigned      KernelRows = 3,
  parameter int unsigned      KernelCols = 3,
  parameter int unsigned      StrideRows = 1,
  parameter int unsigned      StrideCols = 1,
  parameter int unsigned      DilateRows = 1,
  parameter int unsigned      DilateCols = 1,
  parameter int unsigned      PadTop     = 1,
  parameter int unsigned      PadLeft    = 1
) (
  input  logic                        clk_i,
  input  logic                        rst_ni,
  input  logic                        s_valid_i,
  output logic                        s_ready_o,
  input  logic [Lanes*Width-1:0]      s_data_i,
  output logic                        m_valid_o,
  input  logic                        m_ready_i,
  output logic [Taps*Lanes*Width-1:0] m_data_o
);
  localparam int unsigned Beat   = Lanes * Width;
  localparam int unsigned Kernel = KernelRows * KernelCols;
  localparam int unsigned Parts  = Kernel / Taps;
  // Places in the line, in pixels.
  localparam int Frame   = int'(InRows * InCols);
  localparam int Reach   = int'((KernelRows - 1) * DilateRows * InCols + (KernelCols - 1) * DilateCols);  // first to last tap
  localparam int Opening = Reach - int'(PadTop * InCols + PadLeft);                                       // last tap of the first position
  localparam int Wide    = int'((OutCols - 1) * StrideCols);
  localparam int Wrap    = int'(StrideRows * InCols) - Wide;       // from the last position of a row to the first of the next
  localparam int Closing = Opening + int'((OutRows - 1) * StrideRows * InCols) + Wide;
  localparam int Longest = Wrap > int'(StrideCols) ? Wrap : int'(StrideCols);

  localparam int PlaceWidth = Frame > 1 ? $clog2(Frame) : 1;
  localparam int GapWidth   = Longest > 1 ? $clog2(Longest) : 1;
  localparam int BlockWidth = Blocks > 1 ? $clog2(Blocks) : 1;
  localparam int PartWidth  = Parts > 1 ? $clog2(Parts) : 1;
  localparam int RowWidth   = OutRows > 1 ? $clog2(OutRows) : 1;
  localparam int ColWidth   = OutCols > 1 ? $clog2(OutCols) : 1;
  typedef logic [PlaceWidth-1:0] place_t;
  typedef logic [GapWidth-1:0]   gap_t;
  typedef logic [BlockWidth-1:0] block_t;
  typedef logic [RowWidth-1:0]   row_t;
  typedef logic [ColWidth-1:0]   col_t;

  // What comes next: a beat of the map, or of a pixel of no meaning.
  place_t place;
  block_t block;
  logic   idle, idle_q, take, free, last_block, column_valid, opens, first;

  assign last_block = block == block_t'(Blocks - 1);
  assign idle       = idle_q || (!s_valid_i && place == '0 && block == '0 && !first && !column_valid);
  assign s_ready_o  = free && !idle_q;
  assign take       = free && (s_valid_i || idle);

  always_ff @(posedge clk_i or negedge rst_ni) begin
    if (!rst_ni) begin
      place        <= '0;
      block        <= '0;
      idle_q       <= 1'b0;
      column_valid <= 1'b0;
      opens        <= 1'b0;
    end else begin
      if (free) column_valid <= take;
      if (take) begin
        block  <= last_block ? '0 : block + block_t'(1);
        idle_q <= idle && !last_block;
        opens  <= !idle && place == place_t'(Opening);
        if (last_block && !idle) place <= place == place_t'(Frame - 1) ? '0 : place + place_t'(1);
      end
    end
  end

  // The column of kernel rows that ends in this beat, the upper row first.
  logic [KernelRows*Beat-1:0] column_next, column;
  if (KernelRows == 1) begin : gen_row
    assign column_next = s_data_i;
  end else begin : gen_rows
    logic [(KernelRows-1)*Beat-1:0] above;
    assign column_next = {s_data_i, above};
    qs_delay #(
      .Width((KernelRows - 1) * Beat),
      .Depth(DilateRows * InCols * Blocks)
    ) u_rows (
      .clk_i (clk_i),
      .rst_ni(rst_ni),
      .step_i(take),
      .d_i   (column_next[KernelRows*Beat-1:Beat]),
      .q_o   (above)
    );
  end
  always_ff @(posedge clk_i) begin
    if (take) column <= column_next;
  end

  // The window that ends in this column, its left column first.
  logic                   step;
  logic [Kernel*Beat-1:0] columns;
  if (KernelCols == 1) begin : gen_col
    assign columns = column;
  end else begin : gen_cols
    logic [(KernelCols-1)*KernelRows*Beat-1:0] left;
    assign columns = {column, left};
    qs_delay #(
      .Width((KernelCols - 1) * KernelRows * Beat),
      .Depth(DilateCols * Blocks)
    ) u_cols (
      .clk_i (clk_i),
      .rst_ni(rst_ni),
      .step_i(step),
      .d_i   (columns[Kernel*Beat-1:KernelRows*Beat]),
      .q_o   (left)
    );
  end

  // Positions.
  gap_t                 gap;
  block_t               out_block;
  logic [PartWidth-1:0] part;
  row_t                 row;
  col_t                 col;
  logic                 go, emit, last_part, end_block, end_col, end_row;

  assign go        = !m_valid_o || m_ready_i;
  assign emit      = first ? opens : gap == '0;
  assign last_part = part == PartWidth'(Parts - 1);
  assign step      = column_valid && (!emit || (go && last_part));
  assign free      = !column_valid || step;
  assign end_block = out_block == block_t'(Blocks - 1);
  assign end_col   = col == col_t'(OutCols - 1);
  assign end_row   = end_col && row == row_t'(OutRows - 1);

  always_ff @(posedge clk_i or negedge rst_ni) begin
    if (!rst_ni) begin
      m_valid_o <= 1'b0;
      first     <= 1'b1;
      gap       <= '0;
      out_block <= '0;
      part      <= '0;
      row       <= '0;
      col       <= '0;
    end else begin
      if (go) m_valid_o <= column_valid && emit;
      if (column_valid && emit && go) part <= last_part ? '0 : part + PartWidth'(1);
      if (step) out_block <= end_block ? '0 : out_block + block_t'(1);
      if (step && end_block) begin
        if (!emit) begin
          gap <= gap - gap_t'(1);
        end else begin
          first <= end_row;
          gap   <= end_col ? gap_t'(Wrap - 1) : gap_t'(StrideCols - 1);
          col   <= end_col ? '0 : col + col_t'(1);
          if (end_col) row <= end_row ? '0 : row + row_t'(1);
        end
      end
    end
  end

  // Taps outside of the map: those of the first and of the last few positions.
  for (genvar t = 0; t < Taps; t++) begin : gen_tap
    logic [Parts*Beat-1:0] choices;
    logic [Parts-1:0]      outsides;
    for (genvar p = 0; p < Parts; p++) begin : gen_part
      localparam int Tap   = int'(p * Taps + t);
      localparam int Krow  = Tap / int'(KernelCols);
      localparam int Kcol  = Tap % int'(KernelCols);
      localparam int Above = int'(PadTop) - Krow * int'(DilateRows);   // rows from the tap of the first position to the map
      localparam int Left  = int'(PadLeft) - Kcol * int'(DilateCols);
      localparam int Upper = Above > 0 ? (Above + int'(StrideRows) - 1) / int'(StrideRows) : 0;  // positions for which it is above
      localparam int Lefts = Left > 0 ? (Left + int'(StrideCols) - 1) / int'(StrideCols) : 0;
      localparam int Lower = (int'(InRows) - 1 + Above) / int'(StrideRows);                      // the last one for which it is not below
      localparam int Right = (int'(InCols) - 1 + Left) / int'(StrideCols);
      localparam bit IsBelow = Lower < int'(OutRows) - 1;
      localparam bit IsRight = Right < int'(OutCols) - 1;
      assign choices[p*Beat+:Beat] = columns[(Kcol*KernelRows+Krow)*Beat+:Beat];
      assign outsides[p] = (Upper > 0 && row < row_t'(Upper)) || (IsBelow && row > row_t'(Lower))
                        || (Lefts > 0 && col < col_t'(Lefts)) || (IsRight && col > col_t'(Right));
    end
    logic [Beat-1:0] chosen;
    logic            outside;
    assign chosen  = choices[part*Beat+:Beat];
    assign outside = outsides[part];
    always_ff @(posedge clk_i) begin
      if (go) begin
        if (outside) m_data_o[t*Beat+:Beat] <= {Lanes{PadValue}};
        else m_data_o[t*Beat+:Beat] <= chosen;
      end
    end
  end

`ifndef SYNTHESIS
  initial begin
    if (Lanes == 0 || Blocks == 0 || Width == 0) $fatal(1, "%m: Lanes, Blocks and Width are at least 1");
    if (Taps == 0 || Kernel % Taps != 0) $fatal(1, "%m: Taps=%0d do not divide the kernel of %0d", Taps, Kernel);
    if (OutRows == 0 || OutCols == 0 || StrideRows == 0 || StrideCols == 0 || DilateRows == 0 || DilateCols == 0)
      $fatal(1, "%m: rows, columns, strides and dilations are at least 1");
    if (PadTop > (KernelRows - 1) * DilateRows || PadLeft > (KernelCols - 1) * DilateCols) $fatal(1, "%m: padding beyond the kernel");
    if (Wrap < 1) $fatal(1, "%m: %0d positions in a row of %0d pixels", OutCols, InCols);
    if (Opening >= Frame || Closing - Frame >= Opening) $fatal(1, "%m: positions of two frames meet");
  end
`endif
endmodule
