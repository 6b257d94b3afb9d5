"""One page in which a person can look at a run: figures, map, candidates, light curves, stamps."""

from __future__ import annotations

__all__: list[str] = []
