"""Our network: a small residual network to which turning and mirroring the stamp makes no difference at all.

A difference image has no up and no left: a network that has to learn so from examples spends parameters
and data on it. Here the symmetry is built in (`.dihedral_layers`).
"""

from __future__ import annotations

import torch
from torch import nn

from .base import TripletNetwork
from .dihedral_layers import N_ORIENTATIONS, DihedralConv
from .options import DihedralResNetOptions

__all__ = ["DihedralResNet", "build"]

_EMBEDDING = 8
"""Numbers that the metadata become before they steer the blocks."""


class _Block(nn.Module):
    """Residual block (He et al. 2016, arXiv:1512.03385) whose inner maps the metadata steer.

    They scale and shift each field, alike in all orientations (FiLM; Perez et al. 2018, arXiv:1709.07871):
    how wide a star is decides what looks like one.
    """

    def __init__(self, n_in: int, n_out: int, stride: int) -> None:
        super().__init__()
        self.first = DihedralConv(n_in, n_out, kernel_size=3, stride=stride)
        self.second = DihedralConv(n_out, n_out, kernel_size=3)
        self.steer = nn.Linear(_EMBEDDING, 2 * n_out)
        same = stride == 1 and n_in == n_out
        self.shortcut = nn.Identity() if same else DihedralConv(n_in, n_out, kernel_size=1, stride=stride)

    def forward(self, maps: torch.Tensor, embedding: torch.Tensor) -> torch.Tensor:
        scale, shift = self.steer(embedding).chunk(2, dim=1)
        inner = torch.addcmul(_for_maps(shift), self.first(maps), 1 + _for_maps(scale))
        return torch.relu_(self.second(torch.relu_(inner)) + self.shortcut(maps))


def _for_maps(values: torch.Tensor) -> torch.Tensor:
    """Return values of each field, (N, n_fields), in the shape of maps, alike in all orientations."""
    return values.repeat(1, N_ORIENTATIONS)[:, :, None, None]


class DihedralResNet(TripletNetwork):
    """Stem at full resolution, residual blocks that halve the maps, a head that knows the centre.

    The stem and the first convolution keep what tells a cosmic ray from a star: pixels; the blocks look at
    ever wider surroundings. The head takes each field's mean over the last map, which says what is in the
    stamp, and its value at the centre, which says whether it is there that the source lies, and of both the
    mean and the maximum over the orientations, which says whether they have a direction.

    Parameters
    ----------
    n_channels : `int`
        Channels of the input.
    options : `DihedralResNetOptions`
        Size, dropout and metadata.
    """

    used: torch.Tensor

    def __init__(self, n_channels: int, options: DihedralResNetOptions) -> None:
        width = options.width
        super().__init__(n_features=options.hidden, dropout=options.dropout)
        self.stem = DihedralConv(n_channels, options.stem, kernel_size=3, lifting=True)
        self.down = DihedralConv(options.stem, width, kernel_size=3, stride=2, smooth=True)
        used = torch.tensor([options.psf_width, options.snr, options.band], dtype=torch.float32)
        self.register_buffer("used", used, persistent=False)
        self.embedding = nn.Linear(len(used), _EMBEDDING)
        blocks = [_Block(width, width, stride=2), _Block(width, 2 * width, stride=2)]
        blocks += [_Block(2 * width, 2 * width, stride=1) for _ in range(options.depth)]
        self.blocks = nn.ModuleList(blocks)
        self.hidden = nn.Linear(8 * width, options.hidden)

    def features(self, stamps: torch.Tensor, metadata: torch.Tensor) -> torch.Tensor:
        """Return the hidden layer of the head."""
        maps = torch.relu_(self.down(torch.relu_(self.stem(stamps))))
        embedding = torch.tanh(self.embedding(metadata * self.used))
        for block in self.blocks:
            maps = block(maps, embedding)
        centre = maps.shape[-1] // 2  # of a map of odd size
        pooled = torch.stack([maps.mean((2, 3)), maps[:, :, centre, centre]], dim=1)
        by_orientation = pooled.unflatten(2, (N_ORIENTATIONS, -1))
        invariant = torch.cat([by_orientation.mean(2), by_orientation.amax(2)], dim=1)
        return torch.relu(self.hidden(invariant.flatten(1)))


def build(n_channels: int, options: DihedralResNetOptions) -> TripletNetwork:
    """Make the network with fresh weights."""
    return DihedralResNet(n_channels, options)
