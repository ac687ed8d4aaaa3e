"""The steps of a quantized net, each told once to an emitter."""
