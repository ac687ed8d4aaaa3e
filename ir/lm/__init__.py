"""MatMul-free language models in integers: their constants, the graph that says what they compute, files, text, sampling."""
from .expand import block_graph, graph, step_graph
from .generate import Stepper, generate, zero_states
from .program import Curve, Gain, Glu, Layer, Mixer, Program, Projection, check
from .sample import Sampler, draw, xorshift32
from .store import is_lm, lm_hash, load_lm, save_lm
from .tokens import Pieces
from .trits import pack, unpack
from .words import WORDS, Words, words_of
