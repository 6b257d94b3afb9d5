"""Convolutions over the symmetry group of the square.

Feature maps are *fields*: each has eight channels, one for each of the ways to turn and mirror the filter
that made it. Turning or mirroring the stamp turns or mirrors the maps and permutes those eight, exactly
(group convolutions over p4m; Cohen & Welling 2016, arXiv:1602.07576): what is learnt once holds for all
orientations. Channel ``orientation * n_fields + field`` belongs to that orientation and field.

Strides keep the symmetry exact where the pixels that are sampled are their own mirror image. Maps of odd size
have two such grids, from the first pixel or the second; the one of odd size is taken, so that all later maps
are odd. The first stride meets stamps of either parity: it smooths, even maps by a mean over 2 x 2 pixels,
which moves them by half a pixel, odd ones by (1, 4, 1) / 6 in x and y, which passes as much noise; so what is
learnt at 30 pixels holds at 31.
"""

from __future__ import annotations

import functools

import torch
from torch import nn
from torch.nn import functional

from .base import Bakeable
from .dihedral_norm import FieldNorm

__all__ = ["N_ORIENTATIONS", "DihedralConv", "act", "smoothed"]

N_ORIENTATIONS = 8
"""Elements of the group: 0 to 3 are quarter turns, 4 to 7 the same after a mirror along x."""


def act(element: int, images: torch.Tensor) -> torch.Tensor:
    """Turn and mirror images by one element of the group.

    Parameters
    ----------
    element : `int`
        0 to 3: quarter turns; 4 to 7: the same after a mirror along x.
    images : `torch.Tensor`, (..., S, S)
        Images as [..., y, x].

    Returns
    -------
    images : `torch.Tensor`, (..., S, S)
        The images, turned and mirrored.
    """
    mirrored = images.flip(-1) if element >= 4 else images
    return torch.rot90(mirrored, element % 4, dims=(-2, -1))


@functools.cache
def _difference(first: int, second: int) -> int:
    """Return the element that, followed by ``first``, equals ``second``."""
    corners = torch.arange(4).reshape(2, 2)
    wanted = act(second, corners)
    return next(e for e in range(N_ORIENTATIONS) if torch.equal(act(first, act(e, corners)), wanted))


def _expand(weight: torch.Tensor, n_orientations: int) -> torch.Tensor:
    """Return the weight of the plain convolution that a group convolution is.

    Parameters
    ----------
    weight : `torch.Tensor`, (n_out, G n_in, k, k)
        Filters of the first orientation.
    n_orientations : `int`
        G, orientations of the input: 8, or 1 where it is an image.

    Returns
    -------
    weight : `torch.Tensor`, (8 n_out, G n_in, k, k)
        Filters of all orientations: w_g[h] = g w[g^-1 h] (equation 11 of Cohen & Welling 2016).
    """
    by_orientation = weight.unflatten(1, (n_orientations, -1))
    turned = []
    for element in range(N_ORIENTATIONS):
        order = [_difference(element, other) for other in range(n_orientations)]
        turned.append(act(element, by_orientation[:, order] if n_orientations > 1 else by_orientation))
    return torch.cat(turned).flatten(1, 2)


def smoothed(kernel: torch.Tensor, even: bool) -> torch.Tensor:
    """Return the kernel that does what another does on smoothed maps.

    Parameters
    ----------
    kernel : `torch.Tensor`, (..., k, k)
        A kernel of odd size.
    even : `bool`
        Whether it is for maps of even size.

    Returns
    -------
    kernel : `torch.Tensor`, (..., k + 1, k + 1) or (..., k + 2, k + 2)
        With (1, 1) / 2 in x and y for even maps, (1, 4, 1) / 6 for odd ones; both sums of squares are 1/2.
    """
    profile = kernel.new_tensor([0.5, 0.5] if even else [1 / 6, 2 / 3, 1 / 6])
    edge = len(profile) - 1
    planes = functional.pad(kernel, (edge, edge, edge, edge)).flatten(0, 1).unsqueeze(1)
    smooth: torch.Tensor = functional.conv2d(planes, torch.outer(profile, profile)[None, None])
    return smooth.reshape(*kernel.shape[:2], *smooth.shape[2:])


class DihedralConv(Bakeable):
    """A group convolution and a batch normalisation that all orientations of a field share.

    Parameters
    ----------
    n_in : `int`
        Input fields, or channels of the image.
    n_out : `int`
        Output fields.
    kernel_size : `int`
        Side of the filters, odd.
    stride : `int`, optional
        1 or 2; with 2, maps of even size need ``smooth``.
    lifting : `bool`, optional
        Whether the input is an image.
    smooth : `bool`, optional
        Whether maps are smoothed first.
    """

    index: torch.Tensor

    def __init__(
        self,
        n_in: int,
        n_out: int,
        kernel_size: int,
        stride: int = 1,
        lifting: bool = False,
        smooth: bool = False,
    ) -> None:
        super().__init__()
        self.n_out, self.stride, self.smooth = n_out, stride, smooth
        n_orientations = 1 if lifting else N_ORIENTATIONS
        self.weight = nn.Parameter(torch.empty(n_out, n_orientations * n_in, kernel_size, kernel_size))
        nn.init.kaiming_normal_(self.weight, nonlinearity="relu")
        self.norm = FieldNorm(n_out, N_ORIENTATIONS)
        # The filters of all orientations are the same numbers in another order: one look-up makes them.
        numbers = torch.arange(self.weight.numel()).reshape(self.weight.shape)
        self.register_buffer("index", _expand(numbers, n_orientations), persistent=False)

    def forward(self, maps: torch.Tensor) -> torch.Tensor:
        """Convolve and normalise.

        Parameters
        ----------
        maps : `torch.Tensor`, (N, 8 n_in, S, S) or (N, n_in, S, S)
            Fields, or an image if the layer is a lifting one.

        Returns
        -------
        maps : `torch.Tensor`, (N, 8 n_out, S', S')
            Fields; S' is S, or with a stride of 2 the odd one of the whole numbers nearest to S / 2.
        """
        kernel = self.weight.flatten()[self.index]
        if self.smooth:
            kernel = smoothed(kernel, even=maps.shape[-1] % 2 == 0)
        normalised: torch.Tensor = self.norm(_convolve(maps, kernel, None, self.stride))
        return normalised

    def baked(self) -> nn.Module:
        """Return the plain convolution that this is, the normalisation folded into it."""
        scale, shift = self.norm.scale_and_shift()
        kernel = self.weight.flatten()[self.index] * scale[:, None, None, None]
        kernels = [smoothed(kernel, even) if self.smooth else kernel for even in (False, True)]
        return _PlainConv(kernels[0], kernels[1], shift, self.stride)


def _convolve(
    maps: torch.Tensor, kernel: torch.Tensor, bias: torch.Tensor | None, stride: int
) -> torch.Tensor:
    """Convolve maps; with a stride of 2 on the symmetric grid that is of odd size."""
    padding = (kernel.shape[-1] - 1) // 2
    if stride == 2 and (maps.shape[-1] + 1) // 2 % 2 == 0:
        if padding == 0:
            maps = maps[:, :, 1:-1, 1:-1]
        padding = max(padding - 1, 0)
    return functional.conv2d(maps, kernel, bias, stride, padding)


class _PlainConv(nn.Module):
    """A convolution with one kernel for maps of odd size and one for those of even size."""

    kernel: torch.Tensor
    even_kernel: torch.Tensor
    bias: torch.Tensor

    def __init__(
        self, kernel: torch.Tensor, even_kernel: torch.Tensor, bias: torch.Tensor, stride: int
    ) -> None:
        super().__init__()
        self.stride = stride
        for name, values in (("kernel", kernel), ("even_kernel", even_kernel), ("bias", bias)):
            self.register_buffer(name, values.detach())

    def forward(self, maps: torch.Tensor) -> torch.Tensor:
        kernel = self.even_kernel if maps.shape[-1] % 2 == 0 else self.kernel
        return _convolve(maps, kernel, self.bias, self.stride)
