// Weight memory of the core and the unpacking of its words: Pe rows of Simd weights, of Width >> format_i bits each.
//
// A word of the memory has Pe * Simd * Width bits.  addr_i counts units of Simd weights of the narrowest format, the first in the lowest
// bits.  With one_row_i only row 0 is meant, and a step takes Simd weights; otherwise Pe * Simd, aligned to their own size.
// File fills the memory; words also come in through the write port, which may be left unused.
module qs_core_weights #(
  parameter int unsigned Pe        = 2,
  parameter int unsigned Simd      = 4,
  parameter int unsigned Width     = 8,
  parameter int unsigned Halvings  = 1,    // formats of Width >> 0 .. Width >> Halvings bits
  parameter int unsigned Words     = 16,
  parameter              File      = "",
  parameter int unsigned AddrWidth = $clog2(Words * (Pe << Halvings) + 1),
  parameter int unsigned WordBits  = Pe * Simd * Width,
  parameter int unsigned WordAddr  = Words > 1 ? $clog2(Words) : 1
) (
  input  logic                  clk_i,
  input  logic                  read_i,
  input  logic [AddrWidth-1:0]  addr_i,
  input  logic [1:0]            format_i,   // of the word that comes out
  input  logic                  one_row_i,
  output logic [WordBits-1:0]   w_o,        // one cycle after read_i: weight (row, k) at bits (row*Simd + k)*Width
  input  logic                  write_i,
  input  logic [WordAddr-1:0]   waddr_i,
  input  logic [WordBits-1:0]   wdata_i
);
  localparam int unsigned Units    = Pe << Halvings;   // of a word
  localparam int unsigned UnitBits = Simd * (Width >> Halvings);
  localparam int unsigned Offset   = $clog2(Units);

  logic [WordBits-1:0] mem [Words];
  if (File != "") begin : gen_fill
    initial $readmemh(File, mem);
  end

  logic [WordBits-1:0] word;
  logic [Offset:0]     at;       // unit within the word; a bit more than needed, for words of one unit
  always_ff @(posedge clk_i) begin
    if (write_i) mem[waddr_i] <= wdata_i;
  end
  always_ff @(posedge clk_i) begin
    if (read_i) begin
      word <= mem[WordAddr'(addr_i >> Offset)];
      at   <= (Offset+1)'(addr_i & AddrWidth'(Units - 1));
    end
  end

  logic [Simd*Width-1:0] row;    // the one row
  always_comb begin
    row = '0;
    for (int u = 0; u < int'(Units); u++)
      if (at == (Offset+1)'(u)) row = (Simd*Width)'(word >> u * int'(UnitBits));
  end

  logic [WordBits-1:0] decoded [Halvings+1];
  for (genvar f = 0; f <= Halvings; f++) begin : gen_format
    localparam int unsigned Bits = Width >> f;
    logic [Pe*Simd*Bits-1:0] part;
    always_comb begin
      part = '0;
      for (int s = 0; s < 1 << f; s++)
        if ((at >> (Offset - f)) == (Offset+1)'(s)) part = word[s*int'(Pe*Simd*Bits)+:Pe*Simd*Bits];
    end
    for (genvar i = 0; i < Pe * Simd; i++) begin : gen_weight
      logic [Bits-1:0] w;
      if (i < Simd) begin : gen_row
        assign w = one_row_i ? row[i*Bits+:Bits] : part[i*Bits+:Bits];
      end else begin : gen_other
        assign w = part[i*Bits+:Bits];
      end
      assign decoded[f][i*Width+:Width] = Width'(signed'(w));
    end
  end
  always_comb begin
    w_o = decoded[0];
    for (int f = 1; f <= int'(Halvings); f++) if (format_i == 2'(f)) w_o = decoded[f];
  end

`ifndef SYNTHESIS
  initial begin
    if (Words == 0 || (Width >> Halvings) << Halvings != Width || Width >> Halvings == 0 || Halvings > 2)
      $fatal(1, "%m: Width=%0d Halvings=%0d Words=%0d", Width, Halvings, Words);
    if ($countones(Pe) != 1 || $countones(Simd) != 1) $fatal(1, "%m: Pe=%0d and Simd=%0d are powers of two", Pe, Simd);
  end
`endif
endmodule
