"""Float model -> captured net -> quantized net -> integer graph.  The door to torch."""
from .bitlinear import BitLinear
from .bos import split_constant_rows
from .adapt import adapt
from .adapt_cost import performance as adapt_performance
from .adapt_net import in_fixed_point
from .adapt_numbers import Word as FixedPoint
from .adapt_switch import Rules as AdaptRules
from .adapt_train import Course as AdaptCourse
from .augment import flip_and_crop
from .awq import awq
from .capture import capture
from .cluster import Clusters, cluster
from .equalize import absorb, equalize
from .curvature import fisher_diagonals, hessian_traces
from .layout import check as check_plan
from .load import load_model
from .lowrank_path import compensate_rank
from .matmulfree import GLU, MLGRU, MatMulFreeLM
from .matmulfree_lower import lower_lm
from .matmulfree_train import HalvedCosine, train_lm
from .model import QuantNet
from .oneshot import OneShot
from .net import Net, Step, geometry
from .onnx_import import load_onnx
from .onnx_quantized import is_quantized, load_quantized
from .observers import OBSERVERS, Calibration, calibrate
from .prepare import PREPARATIONS, prepare
from .prune import Pruner, cubic, prune, sparsity
from .ptq import correct_biases, quantize, reconstruct
from .ranges import fit_ranges
from .reconstruct import Settings as Reconstruction
from .qat import tune
from .recipe import Recipe
from .simulate import Simulation
from .size import Size, size_report
from .reparam import reparametrise
from .rotate import fold_gains, rotate
from .smooth import smooth
from .spikes import IELIF
from .ties import TIES, ties
from .weight_only import WeightOnly, weight_only
from .weight_tune import distilled
