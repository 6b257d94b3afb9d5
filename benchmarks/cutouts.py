"""Our vectorised cutouts against a loop of `astropy.nddata.Cutout2D` (mode="partial"), same pixels out.

Run by hand: ``python benchmarks/cutouts.py``. Ratios carry over between machines, seconds do not.
"""

import time
from collections.abc import Callable
from typing import Any

import numpy as np
from astropy.nddata import Cutout2D, NoOverlapError
from dia_vetting.cutouts import cut_plane, stamp_corners
from numpy.typing import NDArray

SIDES = (1000, 4000)
SHAPES = tuple((count, size) for count in (2000, 20000) for size in (30, 51))
REPEATS = 3


def loop(image: NDArray[Any], x: NDArray[Any], y: NDArray[Any], size: int) -> NDArray[Any]:
    stamps = np.full((len(x), size, size), np.nan, np.float32)
    for i in range(len(x)):
        try:
            stamps[i] = Cutout2D(image, (x[i], y[i]), size, mode="partial", fill_value=np.nan).data
        except NoOverlapError:
            pass
    return stamps


def vectorised(image: NDArray[Any], x: NDArray[Any], y: NDArray[Any], size: int) -> NDArray[Any]:
    return cut_plane(image, stamp_corners(x, size), stamp_corners(y, size), size, np.nan)


def seconds(function: Callable[..., Any], *args: Any) -> float:
    times = []
    for _ in range(REPEATS):
        start = time.process_time()
        function(*args)
        times.append(time.process_time() - start)
    return min(times)


def compare(side: int, count: int, size: int) -> float:
    rng = np.random.default_rng(1)
    image = rng.normal(size=(side, side)).astype(np.float32)
    x, y = rng.uniform(-5, side + 5, (2, count))
    args = (image, x, y, size)
    if not np.array_equal(loop(*args), vectorised(*args), equal_nan=True):
        raise SystemExit("The two do not give the same pixels.")
    slow, fast = seconds(loop, *args), seconds(vectorised, *args)
    print(f"{side:>6} {count:>7} {size:>4} {slow:>9.3f} {fast:>8.4f} {slow / fast:>6.1f}x")
    return slow / fast


def main() -> None:
    print(f"One plane, positions all over it and its edges; CPU seconds, best of {REPEATS}")
    print(f"{'side':>6} {'N':>7} {'S':>4} {'Cutout2D':>9} {'ours':>8} {'ratio':>7}")
    for side in SIDES:
        for count, size in SHAPES:
            compare(side, count, size)


if __name__ == "__main__":
    main()
