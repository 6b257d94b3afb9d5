"""Deep ensemble (Lakshminarayanan et al. 2017, arXiv:1612.01474): networks that differ by their seed alone.

Each is trained plainly, with a proper scoring rule, on all rows; weights, order of the rows, augmentation and
dropout differ. The mean is better than any of them, their scatter says how sure they are, and a hidden source
that one network has learnt by heart is not known to the others. Their number is that of the members of a fold
(an argument of cross-fitting), which any other strategy can have too.
"""

from __future__ import annotations

from .options import DeepEnsembleOptions
from .plain import Plain

__all__ = ["build"]


def build(options: DeepEnsembleOptions) -> Plain:
    """Make the strategy: each network for itself."""
    return Plain()
