// y = x, held within [0, 2**OutWidth - 1]: a ReLU and a saturation.  x is a two's-complement number if Signed.
//
// With Lut6 (AMD devices) one LUT6_2 makes two bits of y.
module qs_clip #(
  parameter int unsigned InWidth  = 12,
  parameter int unsigned OutWidth = 8,
  parameter bit          Signed   = 1,
  parameter bit          Lut6     = 0
) (
  input  logic [InWidth-1:0]  x_i,
  output logic [OutWidth-1:0] y_o
);
  localparam int unsigned Bits = InWidth - 32'(Signed);  // of the magnitude
  logic below, above;

  assign below = Signed && x_i[InWidth-1];
  if (Bits > OutWidth) begin : gen_above
    assign above = |x_i[Bits-1:OutWidth];
  end else begin : gen_fits
    assign above = 1'b0;
  end

  if (Lut6) begin : gen_lut6
    // I0 below, I1 above, I2 and I3 two bits of x: O5 the lower bit of y, O6 the upper one
    for (genvar i = 0; i < OutWidth; i += 2) begin : gen_pair
`ifdef SYNTHESIS
      if (i + 1 < OutWidth) begin : gen_two
        LUT6_2 #(.INIT(64'h5544_5544_5454_5454)) u_lut (
          .O6(y_o[i+1]), .O5(y_o[i]), .I0(below), .I1(above), .I2(x_i[i]), .I3(x_i[i+1]), .I4(1'b0), .I5(1'b1));
      end else
`endif
      begin : gen_plain
        assign y_o[i] = !below && (above || x_i[i]);
        if (i + 1 < OutWidth) begin : gen_second
          assign y_o[i+1] = !below && (above || x_i[i+1]);
        end
      end
    end
  end else begin : gen_plain
    assign y_o = below ? '0 : above ? '1 : x_i[OutWidth-1:0];
  end

`ifndef SYNTHESIS
  initial begin
    if (OutWidth == 0 || Bits < OutWidth) $fatal(1, "%m: InWidth=%0d OutWidth=%0d Signed=%0d", InWidth, OutWidth, Signed);
  end
`endif
endmodule
