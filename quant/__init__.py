"""Float model -> captured net -> quantized net -> integer graph.  The door to torch."""
from .ternary.bitlinear import BitLinear
from .post.bos import split_constant_rows
from .fixed.adapt import adapt
from .fixed.adapt_cost import performance as adapt_performance
from .fixed.adapt_net import in_fixed_point
from .fixed.adapt_numbers import Word as FixedPoint
from .fixed.adapt_switch import Rules as AdaptRules
from .fixed.adapt_train import Course as AdaptCourse
from .train.augment import flip_and_crop
from .post.awq import awq
from .front.capture import capture
from .train.cluster import Clusters, cluster
from .post.equalize import absorb, equalize
from .sensing.curvature import fisher_diagonals, hessian_traces
from .layout import check as check_plan
from .front.load import load_model
from .sites.lowrank_path import compensate_rank
from .ternary.matmulfree import GLU, MLGRU, MatMulFreeLM
from .ternary.lm_real import real_lm
from .ternary.matmulfree_lower import lower_lm, program as lm_program
from .ternary.lm_import import Checkpoint, import_lm, is_checkpoint, tokenizers
from .ternary.lm_floats import FloatGRU, FloatTransformer, gru_of
from .ternary.matmulfree_train import Course, HalvedCosine, Training, text_loss, train_lm
from .model import QuantNet
from .sensing.oneshot import OneShot
from .net import Net, Step, geometry
from .front.onnx_import import load_onnx
from .foreign.onnx_quantized import is_quantized, load_quantized
from .observers import OBSERVERS, Calibration, calibrate
from .post.prepare import PREPARATIONS, prepare
from .train.prune import Pruner, cubic, prune, sparsity
from .post.ptq import correct_biases, quantize, reconstruct
from .post.ranges import fit_ranges
from .post.reconstruct import Settings as Reconstruction
from .train.qat import tune
from .train.recipe import Recipe
from .sensing.simulate import Simulation
from .size import Size, size_report
from .post.reparam import reparametrise
from .post.rotate import fold_gains, rotate
from .post.smooth import smooth
from .ternary.spikes import IELIF
from .ties import TIES, ties
from .post.weight_only import WeightOnly, weight_only
from .post.weight_tune import distilled
