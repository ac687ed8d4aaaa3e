"""Damage tables and cost tables in, plans out: which layer gets how many bits.  Needs numpy and pulp; knows no model."""
from .allocate import ORDERS, allocate
from .budgets import parse_budget
from .costs import COSTS, cost_tables
from .decoupled import decoupled, measure_groups, output_error
from .engines import ENGINES
from .evolve import evolve
from .fliqs import fliqs
from .greedy import greedy
from .groups import groups, parse_groups
from .information import Floor, divergence, floor, smallest_fixed_point, smallest_lossless
from .join import join
from .measure import measure
from .metrics import METRICS
from .metrics_image import ssim
from . import metrics_information, metrics_lrp, metrics_output, metrics_second
from .mixdq import mixdq
from .options import DEFAULT_MENU, menu, parse_rules, per_layer
from .pairs import Pairs
from .pairs_measure import measure_pairs, whole_plan
from .pairs_model import gauss_newton, gauss_newton_pairs, superposed_pairs
from .pairs_temper import tempered
from .pareto import pareto
from .probe import Probe
from .searchers import SEARCHERS, Problem, find
from .solve import SOLVERS
from .why import explain
