"""Architectures: shapes, what they ignore, losses."""

import math

import numpy as np
import pytest
import torch
from dia_vetting.blends.networks import ARCHITECTURES, build_network
from dia_vetting.blends.networks.base import SURELY_ALONE, Targets, compressed, kind_losses
from dia_vetting.blends.networks.vgg16 import load_convolutions
from dia_vetting.model_table import TensorError
from dia_vetting.reliability.networks import UnknownArchitectureError, UnknownOptionError

SMALL = {"width": 4}


def inputs(count: int = 3, size: int = 33) -> tuple[torch.Tensor, torch.Tensor, torch.Tensor]:
    random = torch.Generator().manual_seed(1)
    pixels = torch.randn(count, 1, size, size, generator=random)
    pixels[:, :, size // 2, size // 2] += 50.0
    return pixels, torch.ones_like(pixels), torch.full((count,), 4.0)


def targets(kind: list[int], loose: bool = False, size: int = 33) -> Targets:
    count = len(kind)
    maps = torch.zeros(count, 2, size, size)
    return Targets(
        torch.tensor(kind),
        torch.full((count,), loose),
        torch.tensor(kind).clamp(max=1),
        maps,
        torch.ones(count, size, size),
    )


@pytest.mark.parametrize("name", ARCHITECTURES)
@pytest.mark.parametrize("size", [25, 33, 51, 64, 128])
def test_any_size_gives_finite_logits(name: str, size: int) -> None:
    torch.manual_seed(0)
    network = build_network(name, SMALL).eval()
    with torch.inference_mode():
        outputs = network(*inputs(size=size))
    assert outputs.kinds.shape == (3, 3 if name == "blend_net" else 2)
    assert torch.isfinite(outputs.kinds).all()
    if name == "blend_net":
        assert outputs.counts.shape == (3, 4)
        assert outputs.maps.shape == (3, 2, size, size)


@pytest.mark.parametrize("name", ARCHITECTURES)
def test_baked_networks_give_the_same(name: str) -> None:
    torch.manual_seed(0)
    network = build_network(name, SMALL)
    network.train()
    with torch.no_grad():
        for _ in range(3):
            network(*inputs(8))
    network.eval()
    with torch.inference_mode():
        torch.testing.assert_close(network.baked()(*inputs()).kinds, network(*inputs()).kinds)


def test_no_map_is_made_of_what_is_surely_alone() -> None:
    torch.manual_seed(0)
    network = build_network("blend_net", SMALL).eval()
    pixels, valid, psf = inputs(4)
    with torch.inference_mode():
        whole = network(pixels, valid, psf)
        single = whole.kinds.softmax(1)[:, 0]
        network.kinds.bias[0] += torch.logit(torch.tensor(SURELY_ALONE)) - torch.logit(single[:2].mean())
        whole, quick = network(pixels, valid, psf), network.scored(pixels, valid, psf)
        torch.testing.assert_close(quick.kinds, whole.kinds)
        torch.testing.assert_close(quick.counts, whole.counts)
        rows = (whole.kinds.softmax(1)[:, 0] < SURELY_ALONE).nonzero()[:, 0]
        assert torch.equal(quick.map_rows, rows)
        assert 0 < len(rows) < 4
        torch.testing.assert_close(quick.maps, whole.maps[rows])


@pytest.mark.parametrize("side", [25, 32, 41])
def test_nothing_beyond_a_stamp_changes_an_answer(side: int) -> None:
    torch.manual_seed(0)
    network = build_network("blend_net", SMALL).eval()
    pixels, valid, psf = inputs(6, side)
    low = (65 - side) // 2
    padded, trimmed = (
        [torch.nn.functional.pad(part, (low, high, low, high)) for part in (pixels, valid)]
        for high in (65 - side - low, 0)
    )
    with torch.inference_mode():
        whole, less = network(*padded, psf), network(*trimmed, psf, 32.0)
    torch.testing.assert_close(less.kinds, whole.kinds)
    torch.testing.assert_close(less.counts, whole.counts)
    inside = slice(low, low + side)
    torch.testing.assert_close(less.maps[..., inside, inside], whole.maps[..., inside, inside])


def test_our_network_is_small_enough() -> None:
    network = build_network("blend_net", {})
    assert sum(parameter.numel() for parameter in network.parameters()) < 300_000


def test_a_psf_that_is_not_known_is_an_input_like_any_other() -> None:
    torch.manual_seed(0)
    network = build_network("blend_net", SMALL).eval()
    pixels, valid, psf = inputs()
    with torch.inference_mode():
        answers = [network(pixels, valid, psf * value).kinds for value in (1.0, 1.5, torch.nan)]
    assert all(torch.isfinite(one).all() for one in answers)
    assert not torch.allclose(answers[0], answers[1])
    assert not torch.allclose(answers[0], answers[2])


def test_all_channels_are_0_where_pixels_are_not_valid() -> None:
    pixels, valid, _ = inputs()
    valid[:, :, :, 24:] = 0
    channels = compressed(pixels * valid, valid)
    assert channels.shape == (3, 4, 33, 33)
    assert (channels[..., 24:] == 0).all()
    assert channels[:, 2].amax() == 1


def test_compression_is_the_inverse_hyperbolic_sine() -> None:
    pixels = torch.tensor([-1e6, -2.0, -1e-3, 0.0, 0.5, 3e4]).reshape(1, 1, 1, -1)
    channels = compressed(pixels, torch.ones_like(pixels))
    torch.testing.assert_close(channels[0, 0, 0] * 3, torch.asinh(pixels[0, 0, 0]), rtol=1e-4, atol=1e-6)


def test_kind_losses_add_up_companions_where_they_may_be_anywhere() -> None:
    logits = torch.log(torch.tensor([[0.5, 0.3, 0.2]] * 3))
    exact = kind_losses(logits, targets([0, 1, 2]))
    torch.testing.assert_close(exact, -torch.log(torch.tensor([0.5, 0.3, 0.2])))
    loose = kind_losses(logits, targets([0, 1, 2], loose=True))
    torch.testing.assert_close(loose, torch.full((3,), math.log(2)))
    pairs = kind_losses(torch.log(torch.tensor([[0.9, 0.1]] * 3)), targets([0, 1, 2]))
    torch.testing.assert_close(pairs, -torch.log(torch.tensor([0.9, 0.1, 0.9])))


def test_vgg16_has_the_published_layers() -> None:
    network = build_network("vgg16", {})
    shapes = {name: tuple(one.shape) for name, one in network.named_parameters()}
    convolutions = [shape for name, shape in shapes.items() if name.endswith("weight") and len(shape) == 4]
    assert len(convolutions) == 13
    assert convolutions[0] == (64, 3, 3, 3)
    assert convolutions[-1] == (512, 512, 3, 3)
    assert sum(math.prod(s) for n, s in shapes.items() if n.startswith("features")) == 14_714_688
    assert shapes["top.0.weight"] == (256, 512)


def test_vgg16_takes_given_convolutions_and_freezes_them() -> None:
    given = build_network("vgg16", SMALL).state_dict()
    weights = {name: tensor.numpy() for name, tensor in given.items()} | {"classifier.0.bias": np.zeros(3)}
    network = build_network("vgg16", {"width": 4, "trainable": 1})
    load_convolutions(network, weights, "weights.npz")
    for name, tensor in network.state_dict().items():
        assert torch.equal(tensor, given[name]) == name.startswith("features") or tensor.abs().sum() == 0
    moving = [name for name, one in network.named_parameters() if one.requires_grad]
    assert [name for name in moving if name.startswith("features")] == [
        "features.28.weight",
        "features.28.bias",
    ]
    del weights["features.5.weight"]
    with pytest.raises(TensorError, match=r"weights.npz: expected an array 'features.5.weight'"):
        load_convolutions(network, weights, "weights.npz")
    weights["features.5.weight"] = np.zeros((1, 2, 3, 3))
    with pytest.raises(TensorError, match=r"\(8, 4, 3, 3\), found \(1, 2, 3, 3\)"):
        load_convolutions(network, weights, "weights.npz")


def test_one_class_knows_single_sources_alone() -> None:
    torch.manual_seed(0)
    network = build_network("one_class", SMALL).eval()
    truth = targets([0, 0, 1])
    network.start([(network(*inputs()), truth)])
    assert network.centre.abs().min() >= 0.1 - 1e-6
    outputs = network(*inputs())
    gap = (outputs.embedding - network.centre).square().sum(1)
    torch.testing.assert_close(network.losses(outputs, truth), gap[:2].mean())
    torch.testing.assert_close(outputs.kinds[:, 1], torch.log(gap + 1e-6))


def test_siamese_goes_by_the_nearer_mean() -> None:
    torch.manual_seed(0)
    network = build_network("siamese", SMALL).eval()
    pixels, valid, psf = inputs(4)
    pixels[2:] *= 5
    outputs = network(pixels, valid, psf)
    network.finish([(outputs, targets([0, 2, 1, 1]))])
    torch.testing.assert_close(network.prototypes[0], outputs.embedding[:2].mean(0))
    torch.testing.assert_close(network.prototypes[1], outputs.embedding[2:].mean(0))
    kinds = network(pixels, valid, psf).kinds
    torch.testing.assert_close(-kinds[:, 0], (outputs.embedding - network.prototypes[0]).square().sum(1))


def test_what_is_not_known_is_named() -> None:
    with pytest.raises(UnknownArchitectureError, match="one of blend_net, vgg16, one_class, siamese"):
        build_network("resnet", {})
    with pytest.raises(UnknownOptionError, match="dropout, width, fine, depth, hidden"):
        build_network("blend_net", {"colour": 1})
    with pytest.raises(UnknownOptionError, match="from 0 to 13"):
        build_network("vgg16", {"trainable": 14})
