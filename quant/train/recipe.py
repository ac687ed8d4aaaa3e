"""How a net is trained: every choice, its default and what it may be."""
from dataclasses import dataclass, fields

from ir import UserError

MODES = ("ste", "lsq", "lsq+", "pact")
CHOICES = {"optimizer": ("adam", "adamw", "sgd"), "schedule": ("cosine", "linear", "constant"), "norms": ("none", "virtual"),
           "distill_loss": ("kl", "mse")}


@dataclass(frozen=True)
class Recipe:
    """mode: what is trained beside weights and biases.
      ste   nothing: scales stand still (straight-through, Bengio et al. 2013)
      lsq   the scales of weights and activations (Esser et al. 2020; we differ: in their logarithm, and Adam is the default)
      lsq+  also the zero point of activations that have one (Bhalgat et al. 2020)
      pact  the clipping levels of activations, with clip_decay * the sum of their squares in the loss (Choi et al. 2018)
    or a dict {pattern of an option ("int2/*") or of a layer: mode}, of which the first that fits decides; without any, lsq.
    An activation follows the layer that reads it.
    """
    epochs: int = 3
    lr: float = 1e-4
    mode: str | dict = "lsq"
    batch: int = 32
    seed: int = 0                  # of the order of the images and of what augment does
    optimizer: str = "adam"
    momentum: float = 0.9          # of sgd
    weight_decay: float = 0.0      # of weights alone
    scale_lr: float = 0.1          # of the learning rate, for scales, zero points and clipping levels
    schedule: str = "cosine"       # from lr to 0 (or constant)
    warmup: float = 0.0            # share of the steps in which the rate rises to lr
    clip: float = 0.0              # largest norm of the whole gradient; 0: any
    ema: float = 0.0               # decay of the averaged parameters that the net ends with; 0: the last ones
    distill_loss: str = "kl"       # of softened outputs, or "mse" of the outputs over their variance
    distill_weight: float = 0.5    # of the distillation loss; the labels have the rest
    temperature: float = 4.0       # of kl
    features: tuple = ()           # names of steps whose values are compared too, by squared error over the variance
    feature_weight: float = 1.0    # of their mean, added to the loss
    clip_decay: float = 1e-4       # of pact
    norms: str = "none"            # "virtual": a batch norm after each layer, folded at every step (quant/train/norming.py)
    norm_momentum: float = 0.05    # of its running statistics
    freeze: float = 0.5            # share of the steps after which they stand still
    reestimate: int = 0            # images on which they are measured anew at the end
    accumulator_bits: int | dict = 0  # width that ir.infer is to prove, for all layers or {pattern: bits}; 0: any
    centred: bool = False          # weights of such layers with their mean taken off (A2Q+)
    every: int = 0                 # steps after which a checkpoint is written, beside one at the end of each epoch

    def __post_init__(self):
        for m in self.mode.values() if isinstance(self.mode, dict) else (self.mode,):
            if m not in MODES:
                raise UserError(f"unknown training mode {m!r} (known: {', '.join(MODES)})")
        if self.epochs < 1 or not self.lr > 0:
            raise UserError(f"{self.epochs} epochs at a learning rate of {self.lr}: give at least one epoch and a rate above 0")
        for name, known in CHOICES.items():
            if getattr(self, name) not in known:
                raise UserError(f"{name.replace('_', ' ')} {getattr(self, name)!r} is unknown (known: {', '.join(known)})")
        if self.batch < 1:
            raise UserError(f"a batch of {self.batch} images: give at least 1")
        for name in ("warmup", "ema", "distill_weight", "freeze", "norm_momentum", "momentum"):
            if not 0 <= getattr(self, name) <= 1 or name == "ema" and self.ema == 1:
                raise UserError(f"{name.replace('_', ' ')} is a share from 0 to 1, not {getattr(self, name)}")
        for name in ("weight_decay", "scale_lr", "clip", "feature_weight", "clip_decay", "reestimate", "every"):
            if not getattr(self, name) >= 0:
                raise UserError(f"{name.replace('_', ' ')} is at least 0, not {getattr(self, name)}")
        if not self.temperature > 0:
            raise UserError(f"a temperature of {self.temperature}: give one above 0")
        if self.reestimate and self.norms == "none":
            raise UserError("reestimate measures the running statistics of norms, and there are none; add norms='virtual'")

    @classmethod
    def of(cls, options: dict) -> "Recipe":
        """The recipe with these options.  UserError: a name that is none."""
        known = [f.name for f in fields(cls)]
        if wrong := [k for k in options if k not in known]:
            raise UserError(f"training has no option {wrong[0]!r} (known: {', '.join(known)})")
        return cls(**options)
