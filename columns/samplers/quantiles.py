"""Inverse distribution functions, of arrays of probabilities: the normal distribution's, and those that are tables.

Of NumPy alone: `scipy.special` takes a third of a second to import, which every run that draws a number would wait for.
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import TYPE_CHECKING

from prefect_datagen.engine.arrays import np

if TYPE_CHECKING:
    from numpy.typing import NDArray

    _Floats = NDArray[np.float64]

_GUIDED = 4096
"""Entries of a guide (a power of two, so that a probability's place in it is exact), and the longest table that has one."""

# Wichura, "Algorithm AS 241: The percentage points of the normal distribution", Applied Statistics 37 (1988): numerator and
# denominator, the highest power first, for each of three regions.
_MIDDLE = (
    (2.5090809287301226727e3, 3.3430575583588128105e4, 6.7265770927008700853e4, 4.5921953931549871457e4,
     1.3731693765509461125e4, 1.9715909503065514427e3, 1.3314166789178437745e2, 3.3871328727963666080e0),
    (5.2264952788528545610e3, 2.8729085735721942674e4, 3.9307895800092710610e4, 2.1213794301586595867e4,
     5.3941960214247511077e3, 6.8718700749205790830e2, 4.2313330701600911252e1, 1.0),
)  # fmt: skip
_NEAR = (
    (7.74545014278341407640e-4, 2.27238449892691845833e-2, 2.41780725177450611770e-1, 1.27045825245236838258e0,
     3.64784832476320460504e0, 5.76949722146069140550e0, 4.63033784615654529590e0, 1.42343711074968357734e0),
    (1.05075007164441684324e-9, 5.47593808499534494600e-4, 1.51986665636164571966e-2, 1.48103976427480074590e-1,
     6.89767334985100004550e-1, 1.67638483018380384940e0, 2.05319162663775882187e0, 1.0),
)  # fmt: skip
_FAR = (
    (2.01033439929228813265e-7, 2.71155556874348757815e-5, 1.24266094738807843860e-3, 2.65321895265761230930e-2,
     2.96560571828504891230e-1, 1.78482653991729133580e0, 5.46378491116411436990e0, 6.65790464350110377720e0),
    (2.04426310338993978564e-15, 1.42151175831644588870e-7, 1.84631831751005468180e-5, 7.86869131145613259100e-4,
     1.48753612908506148525e-2, 1.36929880922735805310e-1, 5.99832206555887937690e-1, 1.0),
)  # fmt: skip


def normal_quantile(u: _Floats) -> _Floats:
    """Standard normal numbers of probabilities in (0, 1), shape `(n,)`; right to 15 digits (Wichura's AS 241)."""
    off_center = u - 0.5
    values = off_center * _ratio(0.180625 - off_center * off_center, _MIDDLE)
    outer = np.flatnonzero(np.abs(off_center) > 0.425)
    tail = np.minimum(u[outer], 1.0 - u[outer])
    depth = np.sqrt(-np.log(tail))
    distance = _ratio(depth - 1.6, _NEAR)
    far = np.flatnonzero(depth > 5.0)  # one in 36 billion
    distance[far] = _ratio(depth[far] - 5.0, _FAR)
    values[outer] = np.copysign(distance, off_center[outer])
    return values


class TableQuantile:
    """First position whose cumulative probability reaches a probability; the last one where none does.

    A guide tells where to begin (Chen and Asau, "On generating random variates from an empirical distribution", AIIE
    Transactions 6, 1974): a probability is mostly there, or a step away. A binary search takes five times as long.

    Args:
        cumulative: ascending, shape `(n,)`.
    """

    def __init__(self, cumulative: _Floats) -> None:
        self._cumulative = cumulative.copy()
        self._cumulative[-1] = np.inf
        starts = np.arange(_GUIDED) / _GUIDED
        self._guide = np.searchsorted(self._cumulative, starts) if len(cumulative) <= _GUIDED else None

    def __call__(self, u: _Floats) -> NDArray[np.int64]:
        """Positions of probabilities in [0, 1), shape `(n,)`."""
        if self._guide is None:
            return np.searchsorted(self._cumulative, u)
        positions = self._guide[(u * _GUIDED).astype(np.int64)]
        short = np.flatnonzero(self._cumulative[positions] < u)
        while len(short):
            positions[short] += 1
            short = short[self._cumulative[positions[short]] < u[short]]
        return positions


def _ratio(x: _Floats, coefficients: tuple[Sequence[float], Sequence[float]]) -> _Floats:
    above, below = (_polynomial(x, each) for each in coefficients)
    return above / below


def _polynomial(x: _Floats, coefficients: Sequence[float]) -> _Floats:
    value = np.full_like(x, coefficients[0])
    for coefficient in coefficients[1:]:
        value *= x
        value += coefficient
    return value
