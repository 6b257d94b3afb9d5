"""Models with fresh weights, which run like trained ones, for tests of what is done with models."""

from __future__ import annotations

import numpy as np
import torch
from dia_vetting.reliability.calibration import Calibration
from dia_vetting.reliability.inputs import CHANNELS, LAYOUT, METADATA
from dia_vetting.reliability.model_dataset import ModelCard, ReliabilityModel
from dia_vetting.reliability.networks import build_network

CALIBRATION = Calibration(
    knots=(-0.25, -0.0625, 0.03125, 0.125, 0.375),
    intercept=-3.5,
    slopes=(12.5, 4.25, 9.75, 31.5),
    n_injected=1212.0,
    n_artefacts=54321.0,
)
"""For logits of networks that were not trained, which are all small."""


def untrained_model(**changes: object) -> ReliabilityModel:
    """Return two folds of two seed networks each for stamps of 21 pixels, some fields of the card changed."""
    card = ModelCard(
        architecture="seed_cnn",
        options={"dropout": 0.25, "width": 4, "hidden": 8},
        strategy="plain",
        strategy_options={},
        layout=LAYOUT,
        channels=CHANNELS,
        metadata=METADATA,
        stamp_size=21,
        min_valid_fraction=0.375,
        instrument="Synthetic",
        seed=17,
        nside=4096,
        n_folds=2,
        members=2,
        settings={"learning_rate": 0.0025, "epochs": 12},
        label_counts={"injected": 1234, "unlabelled": 56789},
        injected_fraction=0.0213,
        prior=(0.0456, 0.0321, 0.0654),
        prevalence=0.0345,
        calibration=CALIBRATION.to_dict(),
        epochs=(5, 6, 7, 8),
        thresholds={"fpr_0.01": 0.4321},
        metrics={"auc_injected_unlabelled": (0.9876, 0.9789, 0.9912)},
        software={"torch": "2.99"},
    ).model_copy(update=changes)
    networks = []
    for index in range(card.n_folds * card.members):
        torch.manual_seed(index)
        state = build_network(card.architecture, card.options, len(CHANNELS)).state_dict()
        networks.append({name: tensor.numpy() for name, tensor in state.items()})
    return ReliabilityModel(card, networks, np.array([4, 9, 10**9])).sealed()
