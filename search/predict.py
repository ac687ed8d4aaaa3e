"""What the damage of a plan will be, from the damages of others.  The only door to scikit-learn."""
from collections.abc import Callable

import numpy as np

RIDGES = (1e-4, 1e-3, 1e-2, 1e-1, 1.0)
FOLDS = 5


class Predictor:
    """Kernel ridge regression on which steps of its menu each group has climbed, and on all pairs of these.

    Where all damages are above 0 their logarithms are fitted: they span decades, and only their order counts.  The degree (1: the
    groups alone, 2: pairs too) and the ridge are the best in cross-validation.  start: a rough forecast (N, G) -> (N,) that is
    corrected, in logarithms by a factor.  We differ from LINAS (plain ridge on one-hot codes): the steps know the order of options.
    """

    def __init__(self, sizes: np.ndarray, start: Callable[[np.ndarray], np.ndarray] | None = None):
        self.sizes, self.start = np.asarray(sizes), start

    def fit(self, plans: np.ndarray, damages: np.ndarray) -> "Predictor":
        """plans (N, G) of ints, damages (N,)."""
        from sklearn.kernel_ridge import KernelRidge
        from sklearn.model_selection import GridSearchCV, KFold
        plans, damages = np.asarray(plans), np.asarray(damages, np.float64)
        rough = self._rough(plans)
        self.logs = damages.min() > 0 and rough.min() > 0
        y = self._scale(damages) - self._scale(rough)
        self.mean, self.spread = y.mean(), y.std() or 1.0
        model = KernelRidge(kernel="poly", gamma=1 / len(self.sizes), coef0=1)
        choice = {"alpha": RIDGES, "degree": (1, 2)}
        folds = KFold(FOLDS, shuffle=True, random_state=0)
        self.model = GridSearchCV(model, choice, cv=folds, scoring="neg_mean_squared_error") if len(y) >= FOLDS else model
        self.model.fit(self._steps(plans), (y - self.mean) / self.spread)
        return self

    def __call__(self, plans: np.ndarray) -> np.ndarray:
        """(N, G) -> (N,), in the order of damages: their logarithms, where these were fitted."""
        plans = np.asarray(plans)
        return self.model.predict(self._steps(plans)) * self.spread + self.mean + self._scale(self._rough(plans))

    def _rough(self, plans: np.ndarray) -> np.ndarray: return self.start(plans) if self.start else np.ones(len(plans))

    def _scale(self, v: np.ndarray) -> np.ndarray: return np.log(np.maximum(v, 1e-300)) if self.logs else v

    def _steps(self, plans: np.ndarray) -> np.ndarray:
        """1 for each option of a group up to the chosen one, the first left out: (N, steps)."""
        return np.concatenate([plans[:, g:g + 1] >= np.arange(1, n) for g, n in enumerate(self.sizes)] + [np.zeros((len(plans), 1))],
                              1).astype(np.float64)


def rank_agreement(a: np.ndarray, b: np.ndarray) -> float:
    """Kendall's tau of two rankings: 1 where they agree on every pair, 0 by chance."""
    from scipy.stats import kendalltau
    tau = kendalltau(a, b).statistic
    return 0.0 if np.isnan(tau) else float(tau)
