// Accumulators of Pe outputs: sums over a vector's beats on top of a bias, and the output register.
//
// With first_i a sum starts from the next word of biases, Words of them in turn; with last_i it goes into the output
// register.  The start costs nothing: the adder's own LUTs choose between sum and bias.
module qs_accumulate #(
  parameter int unsigned Pe        = 2,
  parameter int unsigned Beats     = 4,
  parameter int unsigned Words     = 2,
  parameter int unsigned BiasWidth = 8,
  parameter int unsigned OutWidth  = 20,
  parameter bit          Plain     = 0,
  parameter              BiasFile  = ""
) (
  input  logic                   clk_i,
  input  logic                   rst_ni,
  input  logic                   en_i,
  input  logic                   valid_i,
  input  logic                   first_i,
  input  logic                   last_i,
  input  logic [Pe*OutWidth-1:0] dot_i,
  input  logic [Pe-1:0]          carry_i,
  output logic                   m_valid_o,
  input  logic                   m_ready_i,
  output logic [Pe*OutWidth-1:0] m_data_o
);
  localparam int unsigned AddrWidth = Words > 1 ? $clog2(Words) : 1;
  typedef logic [AddrWidth-1:0] addr_t;

  logic  done;
  addr_t at, next;
  logic [Pe*BiasWidth-1:0] bias;
  assign done = en_i && valid_i && last_i;
  assign next = !done ? at : at == addr_t'(Words - 1) ? '0 : at + addr_t'(1);

  always_ff @(posedge clk_i or negedge rst_ni) begin
    if (!rst_ni) begin
      at        <= '0;
      m_valid_o <= 1'b0;
    end else begin
      at        <= next;
      m_valid_o <= done || (m_valid_o && !m_ready_i);
    end
  end

  qs_weights #(.Depth(Words), .Width(Pe*BiasWidth), .File(BiasFile)) u_bias (
    .clk_i, .en_i(1'b1), .addr_i(next), .data_o(bias), .load_valid_i(1'b0), .load_addr_i('0), .load_data_i('0));

  for (genvar p = 0; p < Pe; p++) begin : gen_pe
    logic [OutWidth-1:0]         sum, start;
    logic signed [BiasWidth-1:0] b;
    assign b     = bias[p*BiasWidth+:BiasWidth];
    assign start = OutWidth'(signed'({b[BiasWidth-1], b}));

    if (Beats == 1) begin : gen_one
      qs_sum2 #(.Width(OutWidth), .Kind(0), .Plain(Plain)) u_sum (
        .a_i(dot_i[p*OutWidth+:OutWidth]), .b_i(start), .c_i('1), .d_i('0), .carry_i(carry_i[p]), .y_o(sum));
      if (p == 0) begin : gen_unused
        logic unused;
        assign unused = first_i;
      end
    end else begin : gen_many
      logic [OutWidth-1:0] acc;
      qs_sum2 #(.Width(OutWidth), .Kind(3), .Plain(Plain)) u_sum (
        .a_i(dot_i[p*OutWidth+:OutWidth]), .b_i(acc), .c_i(start), .d_i({OutWidth{!first_i}}), .carry_i(carry_i[p]), .y_o(sum));
      always_ff @(posedge clk_i) if (en_i && valid_i) acc <= sum;
    end
    always_ff @(posedge clk_i) if (done) m_data_o[p*OutWidth+:OutWidth] <= sum;
  end
endmodule
