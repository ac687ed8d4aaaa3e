"""Information lost by rounding, as a metric: it knows nothing of the model behind the layer."""
from .information import losses
from .metrics import metric
from .probe import Probe


@metric("information", "nats")
def information(probe: Probe, layer: str, option: str) -> float:
    """KL of the histogram of the layer's weights from that of the rounded ones, plus the same for its input (AdaPT; 100 bins).

    It looks at the shape of two distributions, not at what a layer does with them; search.floor makes a bound below plans of it.
    """
    return sum(losses(probe, layer, option))
