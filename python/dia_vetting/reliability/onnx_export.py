"""A model as one ONNX file, all networks and the calibration, which runs without this package or torch.

Stamps must be normalised as `~.inputs.network_inputs` does it. The file knows nothing of the sky: it asks all
networks of each source, as `~.scoring.score_inputs` does for a source on sky that was not trained on.
"""

from __future__ import annotations

import json
import logging
import math
import warnings
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import numpy as np
import torch
from torch import nn

from ..extras import optional_import
from .calibration import Calibration
from .model_dataset import ModelCard, ReliabilityModel
from .networks.base import TripletNetwork
from .scoring import load_networks

__all__ = ["INPUTS", "OUTPUTS", "export_onnx"]

INPUTS = ("stamps", "metadata")
"""Names of the inputs: (N, C, S, S) and (N, M), both float32, as in `~.inputs.NetworkInputs`."""

OUTPUTS = ("reliability", "logits")
"""Names of the outputs: (N,) and (K, N), both float32."""

_OPSET = 20
_FAR = 1e30
"""Stands for infinity, which times a slope of 0 is no number."""
_LARGEST_LOG_RATIO = 60.0


class _Calibration(nn.Module):
    """`~.calibration.Calibration` at one prevalence, in torch."""

    low: torch.Tensor
    high: torch.Tensor
    start: torch.Tensor
    slopes: torch.Tensor

    def __init__(self, calibration: Calibration, prevalence: float) -> None:
        super().__init__()
        knots = np.array(calibration.knots or (0.0, 1.0))
        low, high = knots[:-1].copy(), knots[1:].copy()
        low[0], high[-1] = -_FAR, _FAR
        # A calibration without knots is flat: the prevalence, whatever the logit.
        known = bool(calibration.knots)
        slopes = calibration.slopes or (0.0,)
        for name, values in (("low", low), ("high", high), ("start", knots[:-1]), ("slopes", slopes)):
            self.register_buffer(name, torch.as_tensor(np.asarray(values), dtype=torch.float32))
        self.intercept = calibration.intercept if known else 0.0
        self.floor = 1.0 / calibration.n_injected if known else 0.0
        self.ceiling = 1.0 / calibration.n_artefacts if known else 0.0
        self.offset = math.log(prevalence) - math.log1p(-prevalence)

    def forward(self, logits: torch.Tensor) -> torch.Tensor:
        """Return the reliability (N,) of logits (N,)."""
        ramps = torch.minimum(torch.maximum(logits[:, None], self.low), self.high) - self.start
        raw = self.intercept + (ramps * self.slopes).sum(dim=1)
        ratio = torch.exp(raw.clamp(-_LARGEST_LOG_RATIO, _LARGEST_LOG_RATIO))
        log_ratio = torch.log((ratio + self.floor) / (1.0 + ratio * self.ceiling))
        return torch.sigmoid(log_ratio + self.offset)


class _Ensemble(nn.Module):
    """All networks of a model, and the calibration of their mean logit."""

    def __init__(self, networks: Sequence[TripletNetwork], calibration: _Calibration) -> None:
        super().__init__()
        self.networks = nn.ModuleList(networks)
        self.calibration = calibration

    def forward(self, stamps: torch.Tensor, metadata: torch.Tensor) -> tuple[torch.Tensor, torch.Tensor]:
        """Return the reliability (N,) and the logits (K, N)."""
        logits = torch.stack([network(stamps, metadata) for network in self.networks])
        return self.calibration(logits.mean(dim=0)), logits


def export_onnx(
    model: ReliabilityModel, path: Path, size: int | None = None, prevalence: float | None = None
) -> ModelCard:
    """Write a model to an ONNX file.

    Parameters
    ----------
    model : `~.model_dataset.ReliabilityModel`
        The model.
    path : `pathlib.Path`
        File to write. Its inputs are `INPUTS`, its outputs `OUTPUTS`; N may be any number, S is ``size``. The
        model card stands in the metadata of the file as JSON, ``model_card``.
    size : `int`, optional
        Side S of the stamps; the one it was trained with by default.
    prevalence : `float`, optional
        Fraction of real sources for which ``reliability`` is a probability; that of the card by default.

    Returns
    -------
    card : `~.model_dataset.ModelCard`
        The card of the model.

    Raises
    ------
    MissingPackageError
        If onnx or onnxscript is not installed.
    InputLayoutError, UnknownArchitectureError, UnknownOptionError, TensorError
        If this version of the package cannot run the model.
    """
    onnx = optional_import("onnx", "onnx")
    optional_import("onnxscript", "onnx")
    card = model.card
    rate = card.prevalence if prevalence is None else prevalence
    networks = [network.cpu() for network in load_networks(model)]
    calibration = _Calibration(Calibration.from_dict(card.calibration), rate)
    ensemble = _Ensemble(networks, calibration).eval()
    proto = _trace(ensemble, len(card.channels), len(card.metadata), size or card.stamp_size)
    _strip(proto)
    notes = {"name": card.name, "version": card.version, "content_hash": card.content_hash}
    notes |= {"prevalence": str(rate), "model_card": json.dumps(card.model_dump(mode="json"))}
    onnx.helper.set_model_props(proto, notes)
    proto.graph.doc_string = "Inputs as dia_vetting.reliability.inputs.network_inputs makes them."
    onnx.checker.check_model(proto, full_check=True)
    onnx.save_model(proto, str(path))
    return card


def _trace(ensemble: _Ensemble, n_channels: int, n_metadata: int, size: int) -> Any:
    """Return the ONNX model of an ensemble."""
    example = torch.zeros(2, n_channels, size, size), torch.zeros(2, n_metadata)
    with _quiet_exporter(), torch.no_grad():
        program = torch.onnx.export(
            ensemble,
            example,
            dynamo=True,
            opset_version=_OPSET,
            input_names=list(INPUTS),
            output_names=list(OUTPUTS),
            dynamic_shapes=({0: "n"}, {0: "n"}),
            external_data=False,
            verbose=False,
        )
    assert program is not None
    return program.model_proto


def _strip(proto: Any) -> None:
    """Take out where each operation was in the source: stack traces with paths of this machine."""
    graph = proto.graph
    for part in (
        proto,
        graph,
        *graph.node,
        *graph.initializer,
        *graph.value_info,
        *graph.input,
        *graph.output,
    ):
        del part.metadata_props[:]


@contextmanager
def _quiet_exporter() -> Iterator[None]:
    """Keep torch's exporter from saying that torchvision is absent, and that it names axes once."""
    logger = logging.getLogger("torch.onnx")
    level = logger.level
    logger.setLevel(logging.ERROR)
    try:
        with warnings.catch_warnings():
            warnings.filterwarnings("ignore", message="# The axis name: ")
            yield
    finally:
        logger.setLevel(level)
