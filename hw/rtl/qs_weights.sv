// Memory of weights: a word is read a clock after its address, or two with Extra, so that a block RAM's slow output has a
// cycle of its own.
//
// Kind 0: left to the tool; 1: logic; 2: distributed RAM; 3: block RAM.  A memory that nothing writes is a table from File.
// With Loadable a word is written in each cycle with load_valid_i; what is read in the same cycle from that address is open.
module qs_weights #(
  parameter int unsigned Depth    = 16,
  parameter int unsigned Width    = 8,
  parameter int unsigned Kind     = 0,
  parameter bit          Extra    = 0,
  parameter bit          Loadable = 0,
  parameter              File     = "",
  localparam int unsigned AddrWidth = Depth > 1 ? $clog2(Depth) : 1
) (
  input  logic                 clk_i,
  input  logic                 en_i,
  input  logic [AddrWidth-1:0] addr_i,
  output logic [Width-1:0]     data_o,
  input  logic                 load_valid_i,
  input  logic [AddrWidth-1:0] load_addr_i,
  input  logic [Width-1:0]     load_data_i
);
  logic [Width-1:0] word;

  if (Kind == 1) begin : gen_logic
    (* ram_style = "logic", rom_style = "logic", syn_ramstyle = "registers", syn_romstyle = "logic" *)
    logic [Width-1:0] mem [Depth];
    if (!Loadable || File != "") begin : gen_file
      initial $readmemh(File, mem);
    end
    if (Loadable) begin : gen_load
      always_ff @(posedge clk_i) if (load_valid_i) mem[load_addr_i] <= load_data_i;
    end
    always_ff @(posedge clk_i) if (en_i) word <= mem[addr_i];
  end else if (Kind == 2) begin : gen_distributed
    (* ram_style = "distributed", rom_style = "distributed", syn_ramstyle = "distributed", syn_romstyle = "distributed" *)
    logic [Width-1:0] mem [Depth];
    if (!Loadable || File != "") begin : gen_file
      initial $readmemh(File, mem);
    end
    if (Loadable) begin : gen_load
      always_ff @(posedge clk_i) if (load_valid_i) mem[load_addr_i] <= load_data_i;
    end
    always_ff @(posedge clk_i) if (en_i) word <= mem[addr_i];
  end else if (Kind == 3) begin : gen_block
    (* ram_style = "block", rom_style = "block", syn_ramstyle = "block_ram", syn_romstyle = "EBR" *)
    logic [Width-1:0] mem [Depth];
    if (!Loadable || File != "") begin : gen_file
      initial $readmemh(File, mem);
    end
    if (Loadable) begin : gen_load
      always_ff @(posedge clk_i) if (load_valid_i) mem[load_addr_i] <= load_data_i;
    end
    always_ff @(posedge clk_i) if (en_i) word <= mem[addr_i];
  end else begin : gen_auto
    logic [Width-1:0] mem [Depth];
    if (!Loadable || File != "") begin : gen_file
      initial $readmemh(File, mem);
    end
    if (Loadable) begin : gen_load
      always_ff @(posedge clk_i) if (load_valid_i) mem[load_addr_i] <= load_data_i;
    end
    always_ff @(posedge clk_i) if (en_i) word <= mem[addr_i];
  end

  if (!Loadable) begin : gen_fixed
    logic unused;
    assign unused = ^{load_valid_i, load_addr_i, load_data_i};
  end

  if (Extra) begin : gen_extra
    always_ff @(posedge clk_i) if (en_i) data_o <= word;
  end else begin : gen_direct
    assign data_o = word;
  end

`ifndef SYNTHESIS
  initial if (Depth == 0 || Width == 0 || Kind > 3) $fatal(1, "%m: Depth and Width are at least 1, Kind at most 3");
`endif
endmodule
