"""Convolutions over the symmetry group of the square.

Feature maps are *fields*: each has eight channels, one for each of the ways to turn and mirror the filter
that made it. Turning or mirroring the stamp turns or mirrors the maps and permutes those eight, exactly
(group convolutions over p4m; Cohen & Welling 2016, arXiv:1602.07576): what is learnt once holds for all
orientations. Channel ``orientation * n_fields + field`` belongs to that orientation and field.

Strides keep the symmetry exact on maps of odd and of even size: a kernel of odd size k samples maps of odd
size at 0, 2, ..., S - 1; on maps of even size the same kernel, averaged over neighbouring pixels (so that it
has k + 1), samples at 1/2, 5/2, ..., S - 3/2. Both grids are their own mirror images.
"""

from __future__ import annotations

import functools

import torch
from torch import nn
from torch.nn import functional

from .base import Bakeable
from .dihedral_norm import FieldNorm

__all__ = ["N_ORIENTATIONS", "DihedralConv", "act"]

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


def _even(kernel: torch.Tensor) -> torch.Tensor:
    """Return the (..., k + 1, k + 1) kernel that is a (..., k, k) one after a mean over 2 x 2 pixels."""
    return functional.avg_pool2d(functional.pad(kernel, (1, 1, 1, 1)), kernel_size=2, stride=1)


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
        1 or 2.
    lifting : `bool`, optional
        Whether the input is an image.
    """

    index: torch.Tensor

    def __init__(
        self, n_in: int, n_out: int, kernel_size: int, stride: int = 1, lifting: bool = False
    ) -> None:
        super().__init__()
        self.n_out, self.stride, self.padding = n_out, stride, kernel_size // 2
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
            Fields; S' is S, or half of it, rounded up, with a stride of 2.
        """
        kernel = self.weight.flatten()[self.index]
        if self.stride == 2 and maps.shape[-1] % 2 == 0:
            kernel = _even(kernel)
        maps = functional.conv2d(maps, kernel, stride=self.stride, padding=self.padding)
        normalised: torch.Tensor = self.norm(maps)
        return normalised

    def baked(self) -> nn.Module:
        """Return the plain convolution that this is, the normalisation folded into it."""
        scale, shift = self.norm.scale_and_shift()
        kernel = self.weight.flatten()[self.index] * scale[:, None, None, None]
        return _PlainConv(kernel, shift, self.stride, self.padding)


class _PlainConv(nn.Module):
    """A convolution whose stride keeps the symmetry of even maps too."""

    kernel: torch.Tensor
    even_kernel: torch.Tensor
    bias: torch.Tensor

    def __init__(self, kernel: torch.Tensor, bias: torch.Tensor, stride: int, padding: int) -> None:
        super().__init__()
        self.stride, self.padding = stride, padding
        self.register_buffer("kernel", kernel.detach())
        self.register_buffer("even_kernel", _even(kernel.detach()) if stride == 2 else kernel.detach())
        self.register_buffer("bias", bias.detach())

    def forward(self, maps: torch.Tensor) -> torch.Tensor:
        kernel = self.even_kernel if maps.shape[-1] % 2 == 0 else self.kernel
        return functional.conv2d(maps, kernel, self.bias, stride=self.stride, padding=self.padding)
