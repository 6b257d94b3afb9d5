"""Architectures and their registry."""

import subprocess
import sys

import pytest
import torch
from dia_vetting.reliability.networks import (
    ARCHITECTURES,
    UnknownArchitectureError,
    UnknownOptionError,
    build_network,
    check_options,
)
from torch import nn


def _count(network):
    return sum(parameter.numel() for parameter in network.parameters())


@pytest.mark.parametrize("name", ARCHITECTURES)
@pytest.mark.parametrize("size", [21, 30, 51, 101])
def test_one_logit_per_stamp_at_any_size(name, size):
    network = build_network(name, {}, 5).eval()
    with torch.inference_mode():
        logits = network(torch.zeros(2, 5, size, size))
    assert logits.shape == (2,)
    assert torch.isfinite(logits).all()


def test_seed_cnn_is_the_seed_recipe():
    kinds = [type(module) for module in build_network("seed_cnn", {}, 5).modules()]
    assert kinds.count(nn.Conv2d) == 2
    assert kinds.count(nn.Linear) == 2
    assert kinds.count(nn.Dropout) == 1


def test_small_resnet_has_about_85_thousand_parameters():
    assert 75_000 < _count(build_network("small_resnet", {}, 5)) < 95_000


def test_resnet50_has_the_published_number_of_parameters():
    published = 25_557_032  # three colours, 1000 classes
    first = (5 - 3) * 64 * 7 * 7
    last = (2048 * 1 + 1) - (2048 * 1000 + 1000)
    assert _count(build_network("resnet50", {}, 5)) == published + first + last


def test_small_resnet_sees_where_the_source_is():
    torch.manual_seed(0)
    network = build_network("small_resnet", {}, 1).eval()
    stamps = torch.zeros(2, 1, 45, 45)
    stamps[0, 0, 21:24, 21:24] = 5
    stamps[1, 0, 13:16, 21:24] = 5
    with torch.inference_mode():
        logits = network(stamps)
    assert abs(float(logits[0] - logits[1])) > 1e-3


def test_unknown_names_list_the_known():
    with pytest.raises(UnknownArchitectureError, match=r"seed_cnn, small_resnet, resnet50.*'vgg'"):
        check_options("vgg", {})
    with pytest.raises(UnknownOptionError, match=r"dropout, width, hidden.*'widht'"):
        check_options("seed_cnn", {"widht": 3})


@pytest.mark.parametrize("options", [{"dropout": 1.0}, {"width": 0}, {"width": 2.5}, {"dropout": "much"}])
def test_values_out_of_range(options):
    with pytest.raises(UnknownOptionError, match=next(iter(options))):
        check_options("seed_cnn", options)


def test_options_do_something():
    assert _count(build_network("small_resnet", {"width": 8}, 5)) < 10_000
    assert check_options("small_resnet", {"dropout": 0.5}).dropout == 0.5


def test_task_modules_do_not_load_torch():
    code = (
        "import sys\n"
        "import dia_vetting.reliability.score_reliability\n"
        "import dia_vetting.reliability.train_reliability as train\n"
        "train.TrainReliabilityConfig().validate()\n"
        "assert 'torch' not in sys.modules, 'torch was loaded'"
    )
    subprocess.run([sys.executable, "-c", code], check=True)
