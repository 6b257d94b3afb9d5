"""Speed of injecting point sources: many at once, one by one, and a plain loop of GalSim, on one core.

    python benchmarks/injection_speed.py [--sources 10000] [--side 4096] [--galsim 500]

The PSF is a Piff model as the embedded survey writes it. All draw with photon noise. Two loops of GalSim are
the measure: the plain one draws the image of the PSF at the place of each source as it is; the other first
convolves it with a point, as lsst.source.injection does, which is slower. They draw `--galsim` of the sources
and are scaled to all.
"""

from __future__ import annotations

import argparse
import time
from collections.abc import Callable

import galsim
import numpy as np
from dia_vetting.injection.block_stamps import BlockStamps
from dia_vetting.injection.drawing import Drawing, StampMaker, draw_sources
from dia_vetting.piff_psf import piff_from_polynomial
from dia_vetting.planes import Planes
from dia_vetting.psf import PolynomialPsf
from dia_vetting.seeding import generator
from lsst.images import Box
from threadpoolctl import threadpool_limits

GAIN, FLUX = 1.7, 3000.0


def model(side: int, size: int = 41) -> PolynomialPsf:
    """Return a Moffat profile whose width grows by a tenth along x."""
    x, y = (a.ravel() for a in np.meshgrid(*2 * [np.linspace(0, side - 1, 4)]))
    u = np.arange(size) - size // 2
    width = 4.0 * (1.0 + 0.1 * x / side)
    stamps = (1.0 + (u[:, None] ** 2 + u**2) / width[:, None, None] ** 2) ** -3.5
    return PolynomialPsf.from_nodes(x, y, stamps, 2, (0.0, side - 1.0, 0.0, side - 1.0))


def timed[T](function: Callable[[], T]) -> tuple[float, T]:
    """Return the seconds that a call takes, and its result."""
    start = time.perf_counter()
    result = function()
    return time.perf_counter() - start, result


def main() -> None:
    """Print seconds and ratios."""
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument("--sources", type=int, default=10_000)
    parser.add_argument("--side", type=int, default=4096)
    parser.add_argument("--galsim", type=int, default=500)
    options = parser.parse_args()
    side, count = options.side, options.sources
    psf = piff_from_polynomial(model(side), Box.from_shape((side, side)))

    def stamps(x: float, y: float) -> tuple[np.ndarray, int, int]:
        made = psf.compute_stellar_image(x=x, y=y)
        unit = np.asarray(made.array, np.float64)
        return unit / unit.sum(), made.bbox.x.start, made.bbox.y.start

    maker: StampMaker = stamps
    rng = np.random.default_rng(1)
    x, y = rng.uniform(0, side - 1, (2, count))
    flux = np.full(count, FLUX)
    planes = Planes(*(np.ones((side, side), dtype) for dtype in (np.float32, np.float32, np.uint32)))

    def drawn(many: bool) -> Drawing:
        block = BlockStamps.fit(maker, (side, side), 2e-4) if many else None
        rngs = [generator("benchmark", k) for k in range(count)]
        return draw_sources(planes, maker, x, y, flux, GAIN, rngs, block=block)

    def galsim_loop(image: galsim.Image, number: int, convolved: bool) -> None:
        noise = galsim.PoissonNoise(galsim.BaseDeviate(1))
        for k in range(number):
            kernel = galsim.Image(np.asarray(psf.compute_kernel_image(x=x[k], y=y[k]).array), scale=1.0)
            source = galsim.InterpolatedImage(kernel, flux=FLUX * GAIN)
            if convolved:
                source = galsim.Convolve(galsim.DeltaFunction(), source)
            stamp = source.drawImage(scale=1.0, center=galsim.PositionD(x[k], y[k]), method="no_pixel")
            stamp.array[:] = np.maximum(stamp.array, 0.0)
            stamp.addNoise(noise)
            stamp /= GAIN
            bounds = stamp.bounds & image.bounds
            image[bounds] += stamp[bounds]

    def scaled(convolved: bool) -> float:
        image = galsim.ImageF(planes.image.copy(), xmin=0, ymin=0)  # what is done once must not be scaled
        galsim_loop(image, 10, convolved)
        return timed(lambda: galsim_loop(image, options.galsim, convolved))[0] * count / options.galsim

    with threadpool_limits(1):
        block, one = timed(lambda: drawn(True)), timed(lambda: drawn(False))
        plain, convolving = scaled(False), scaled(True)
    images = [result.planes.image for _, result in (block, one)]
    deviation = np.abs(images[0] - images[1]).sum() / (FLUX * count)
    print(f"{count} sources into {side} x {side} pixels, PSF stamps of 41 pixels, one core")
    print(f"GalSim drew {options.galsim}, scaled. Ratios: plain loop / this, convolving loop / this")
    ours = (("many at once", block[0]), ("one by one", one[0]))
    for name, seconds in (*ours, ("GalSim, plain", plain), ("GalSim, convolving", convolving)):
        print(f"{name:20s} {seconds:7.2f} s  {plain / seconds:6.1f} {convolving / seconds:6.1f}")
    print(f"sum of |many at once - one by one| over the flux: {deviation:.2e} (other draws of the noise)")


if __name__ == "__main__":
    main()
