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
from dia_vetting.reliability.networks.dihedral_layers import (
    N_ORIENTATIONS,
    DihedralConv,
    act,
    smoothed,
)
from dia_vetting.reliability.networks.dihedral_norm import FieldNorm
from torch import nn

SIZES = [21, 30, 51, 101]


def options_of(name):
    """Return options that make a network small enough for a test, where it is not."""
    return {"width": 8} if name == "rbtn" else {}


def count(network):
    return sum(parameter.numel() for parameter in network.parameters())


def normal(*shape):
    return torch.randn(shape, generator=torch.Generator().manual_seed(0))


def settled(name, options=None):
    """Return a network with normalisation as if it had been trained, in evaluation mode."""
    torch.manual_seed(1)
    network = build_network(name, options or options_of(name), 5).to(memory_format=torch.channels_last)
    for module in network.modules():
        if isinstance(module, nn.BatchNorm2d | FieldNorm):
            module.momentum = 1.0
            with torch.no_grad():
                module.weight.uniform_(0.5, 1.5)
                module.bias.uniform_(-0.5, 0.5)
    with torch.no_grad():
        network(normal(16, 5, 30, 30), normal(16, 3))
    return network.eval()


@pytest.mark.parametrize("name", ARCHITECTURES)
@pytest.mark.parametrize("size", SIZES)
def test_one_finite_logit_for_empty_stamps_of_any_size(name, size):
    network = build_network(name, options_of(name), 5).eval()
    with torch.inference_mode():
        logits = network(torch.zeros(2, 5, size, size), torch.zeros(2, 3))
    assert logits.shape == (2,)
    assert torch.isfinite(logits).all()


@pytest.mark.parametrize("name", ARCHITECTURES)
def test_logits_are_linear_in_the_features(name):
    network = build_network(name, options_of(name), 5).eval()
    stamps, metadata = normal(3, 5, 30, 30), normal(3, 3)
    with torch.inference_mode():
        features = network.features(stamps, metadata)
        assert features.shape == (3, network.n_features)
        expected = features @ network.output.weight[0] + network.output.bias
        torch.testing.assert_close(network(stamps, metadata), expected)


@pytest.mark.parametrize("name", ARCHITECTURES)
def test_a_gradient_reaches_every_parameter(name):
    torch.manual_seed(0)
    network = build_network(name, options_of(name) | {"dropout": 0.0}, 5)
    network(normal(16, 5, 30, 30), normal(16, 3)).square().sum().backward()
    for key, parameter in network.named_parameters():
        assert parameter.grad is not None, key
        assert parameter.grad.abs().max() > 0, key


@pytest.mark.parametrize("name", ARCHITECTURES)
def test_baked_is_the_same_function(name):
    network = settled(name).double()
    baked = network.baked()
    assert not any(isinstance(module, nn.BatchNorm2d | FieldNorm) for module in baked.modules())
    assert all(not parameter.requires_grad for parameter in baked.parameters())
    for size in (30, 31):
        stamps, metadata = normal(4, 5, size, size).double(), normal(4, 3).double()
        with torch.inference_mode():
            torch.testing.assert_close(baked.features(stamps, metadata), network.features(stamps, metadata))
            torch.testing.assert_close(baked(stamps, metadata), network(stamps, metadata))


@pytest.mark.parametrize("name", sorted(set(ARCHITECTURES) - {"dihedral_resnet"}))
def test_published_networks_ignore_the_metadata(name):
    network = build_network(name, options_of(name), 5).eval()
    stamps = normal(2, 5, 30, 30)
    with torch.inference_mode():
        assert torch.equal(network(stamps, torch.zeros(2, 3)), network(stamps, torch.ones(2, 3)))


def test_seed_cnn_is_the_seed_recipe():
    kinds = [type(module) for module in build_network("seed_cnn", {}, 5).modules()]
    assert kinds.count(nn.Conv2d) == 2
    assert kinds.count(nn.Linear) == 2
    assert kinds.count(nn.Dropout) == 1


def test_small_resnet_has_about_85_thousand_parameters():
    assert 75_000 < count(build_network("small_resnet", {}, 5)) < 95_000


def test_resnet50_has_the_published_number_of_parameters():
    published = 25_557_032  # three colours, 1000 classes
    first = (5 - 3) * 64 * 7 * 7
    last = (2048 * 1 + 1) - (2048 * 1000 + 1000)
    assert count(build_network("resnet50", {}, 5)) == published + first + last


def test_vgg6_has_the_published_number_of_parameters():
    convolutions = (5 * 9 + 1) * 16 + (16 * 9 + 1) * 16 + (16 * 9 + 1) * 32 + (32 * 9 + 1) * 32
    assert count(build_network("vgg6", {}, 5)) == convolutions + (6 * 6 * 32 + 1) * 256 + 257


def test_rubin_cnn_has_the_published_layers():
    network = build_network("rubin_cnn", {}, 3)
    convolutions = (3 * 25 + 1) * 16 + (16 * 25 + 1) * 32 + (32 * 25 + 1) * 64
    assert count(network) == convolutions + (2 * 2 * 64 + 1) * 32 + 33
    assert sum(isinstance(module, nn.MaxPool2d) for module in network.modules()) == 3


@pytest.mark.parametrize(("size", "before", "after"), [(30, 10, 11), (31, 10, 10), (50, 0, 1)])
def test_rubin_cnn_pads_small_stamps_with_invalid_pixels(size, before, after):
    network = build_network("rubin_cnn", {}, 5).eval()
    stamps, metadata = normal(2, 5, size, size), torch.zeros(2, 3)
    with torch.inference_mode():
        padded = nn.functional.pad(stamps, (before, after, before, after))
        assert torch.equal(network(stamps, metadata), network(padded, metadata))


def test_rubin_cnn_crops_large_stamps_about_the_centre():
    network = build_network("rubin_cnn", {}, 5).eval()
    stamps, metadata = normal(2, 5, 101, 101), torch.zeros(2, 3)
    with torch.inference_mode():
        cropped = stamps[:, :, 25:76, 25:76]
        assert torch.equal(network(stamps, metadata), network(cropped, metadata))


def test_rbtn_has_the_encoder_of_transinet():
    network = build_network("rbtn", {"width": 2, "batch_norm": 0}, 3)
    convolutions = [module for module in network.modules() if isinstance(module, nn.Conv2d)]
    assert [module.out_channels // 2 for module in convolutions] == [1, 2, 4, 4, 8, 8, 8, 8, 16, 16]
    assert [module.kernel_size[0] for module in convolutions] == [7, 5, 5, 3, 3, 3, 3, 3, 3, 3]
    with torch.inference_mode():
        assert network.encoder(torch.zeros(1, 3, 64, 64)).shape == (1, 32, 1, 1)
    assert not any(isinstance(module, nn.BatchNorm2d) for module in network.modules())


@pytest.mark.parametrize("name", ["small_resnet", "dihedral_resnet"])
def test_networks_with_a_centre_see_where_the_source_is(name):
    torch.manual_seed(0)
    network = build_network(name, {}, 1).eval()
    stamps = torch.zeros(2, 1, 45, 45)
    stamps[0, 0, 21:24, 21:24] = 5
    stamps[1, 0, 13:16, 21:24] = 5
    with torch.inference_mode():
        logits = network(stamps, torch.zeros(2, 3))
    assert abs(float(logits[0] - logits[1])) > 1e-3


@pytest.mark.parametrize("size", range(21, 102, 4))
@pytest.mark.parametrize("parity", [0, 1])
def test_turns_and_reflections_make_no_difference(size, parity):
    network = settled("dihedral_resnet", {"snr": 1, "band": 1})
    stamps, metadata = normal(2, 5, size + parity, size + parity), normal(2, 3)
    with torch.inference_mode():
        logits = network(stamps, metadata)
        for form in (network, network.baked()):
            assert abs(float(logits[0] - logits[1])) > 1e-3
            for element in range(N_ORIENTATIONS):
                turned = form(act(element, stamps), metadata)
                torch.testing.assert_close(turned, logits, rtol=0, atol=1e-5)


@pytest.mark.parametrize(
    ("size", "kernel_size", "stride", "smooth", "expected"),
    [
        (8, 3, 1, False, 8),
        (9, 3, 2, False, 5),
        (11, 3, 2, False, 5),
        (11, 1, 2, False, 5),
        (8, 3, 2, True, 3),
        (10, 3, 2, True, 5),
        (9, 3, 2, True, 5),
        (11, 3, 2, True, 5),
    ],
)
def test_dihedral_convolution_turns_its_maps_and_permutes_the_orientations(
    size, kernel_size, stride, smooth, expected
):
    torch.manual_seed(0)
    lift = DihedralConv(2, 3, 3, lifting=True)
    conv = DihedralConv(3, 2, kernel_size, stride=stride, smooth=smooth)
    image = normal(4, 2, size, size)
    with torch.inference_mode():
        maps = conv(lift(image)).unflatten(1, (N_ORIENTATIONS, 2))
        assert maps.shape[-2:] == (expected, expected)
        for element in range(N_ORIENTATIONS):
            turned = conv(lift(act(element, image))).unflatten(1, (N_ORIENTATIONS, 2))
            errors = (turned[:, :, None] - act(element, maps)[:, None]).abs().amax((0, 3, 4, 5))
            assert (errors < 1e-5).sum() == N_ORIENTATIONS
            assert ((errors < 1e-5).sum(0) == 1).all()
            assert ((errors < 1e-5).sum(1) == 1).all()


@pytest.mark.parametrize("even", [False, True])
def test_smoothing_of_odd_and_even_maps_passes_as_much_noise(even):
    smooth = smoothed(torch.ones(1, 1, 1, 1), even)
    assert smooth.shape[-1] == (2 if even else 3)
    assert float(smooth.sum()) == pytest.approx(1)
    assert float(smooth.square().sum()) == pytest.approx(0.25)


@pytest.mark.parametrize("even", [False, True])
def test_smoothed_kernel_is_the_kernel_on_smoothed_maps(even):
    kernel, maps = normal(2, 3, 3, 3), normal(1, 3, 12, 12)
    blur = smoothed(torch.ones(1, 1, 1, 1), even).expand(3, 1, -1, -1)
    expected = nn.functional.conv2d(nn.functional.conv2d(maps, blur, groups=3), kernel)
    torch.testing.assert_close(nn.functional.conv2d(maps, smoothed(kernel, even)), expected)


def test_shared_normalisation_is_that_of_all_orientations_together():
    torch.manual_seed(0)
    norm = DihedralConv(1, 3, 1, lifting=True).norm
    reference = nn.BatchNorm2d(3)
    with torch.no_grad():
        for parameter, other in zip(norm.parameters(), reference.parameters(), strict=True):
            other.copy_(parameter.uniform_(0.5, 2))
    maps = (3 * normal(4, 24, 6, 6) + 1).requires_grad_()
    same = maps.detach().clone().requires_grad_()
    beside = same.unflatten(1, (8, 3)).permute(0, 2, 3, 4, 1).flatten(3)  # orientations as pixels
    weights = normal(4, 24, 6, 6)
    ours = norm(maps)
    theirs = reference(beside).unflatten(3, (6, 8)).permute(0, 4, 1, 2, 3).flatten(1, 2)
    torch.testing.assert_close(ours, theirs)
    (ours * weights).sum().backward()
    (theirs * weights).sum().backward()
    torch.testing.assert_close(maps.grad, same.grad, rtol=1e-4, atol=1e-5)
    torch.testing.assert_close(norm.weight.grad, reference.weight.grad, rtol=1e-4, atol=1e-4)
    torch.testing.assert_close(norm.bias.grad, reference.bias.grad, rtol=1e-4, atol=1e-4)
    torch.testing.assert_close(norm.running_mean, reference.running_mean)
    torch.testing.assert_close(norm.running_var, reference.running_var, rtol=1e-2, atol=0)  # n, not n - 1
    torch.testing.assert_close(norm.eval()(maps), norm(maps).detach())


@pytest.mark.parametrize("used", ["psf_width", "snr", "band"])
def test_only_the_metadata_that_are_asked_for_are_used(used):
    names = ("psf_width", "snr", "band")
    torch.manual_seed(0)
    network = build_network("dihedral_resnet", {name: int(name == used) for name in names}, 5).eval()
    stamps = normal(2, 5, 30, 30)
    with torch.inference_mode():
        logits = network(stamps, torch.zeros(2, 3))
        for column, name in enumerate(names):
            metadata = torch.zeros(2, 3)
            metadata[:, column] = 1
            assert torch.equal(network(stamps, metadata), logits) == (name != used)


def test_dihedral_resnet_is_small():
    assert count(build_network("dihedral_resnet", {}, 5)) <= 150_000


def test_unknown_names_list_the_known():
    with pytest.raises(UnknownArchitectureError, match=r"seed_cnn, small_resnet, .*'vgg'"):
        check_options("vgg", {})
    with pytest.raises(UnknownOptionError, match=r"dropout, width, hidden.*'widht'"):
        check_options("seed_cnn", {"widht": 3})


@pytest.mark.parametrize(
    ("name", "options"),
    [
        ("seed_cnn", {"dropout": 1.0}),
        ("seed_cnn", {"width": 0}),
        ("seed_cnn", {"width": 2.5}),
        ("seed_cnn", {"dropout": "much"}),
        ("vgg6", {"pool_dropout": -0.1}),
        ("rbtn", {"batch_norm": 2}),
        ("dihedral_resnet", {"snr": 2}),
        ("dihedral_resnet", {"band": 0.5}),
        ("dihedral_resnet", {"depth": -1}),
    ],
)
def test_values_out_of_range(name, options):
    with pytest.raises(UnknownOptionError, match=next(iter(options))):
        check_options(name, options)


def test_options_do_something():
    assert count(build_network("small_resnet", {"width": 8}, 5)) < 10_000
    assert check_options("small_resnet", {"dropout": 0.5}).dropout == 0.5
    sizes = [count(build_network("dihedral_resnet", options, 5)) for options in ({}, {"depth": 2})]
    assert sizes[1] > sizes[0]


def test_task_modules_do_not_load_torch():
    code = (
        "import sys\n"
        "import dia_vetting.reliability.score_reliability\n"
        "import dia_vetting.reliability.train_reliability as train\n"
        "train.TrainReliabilityConfig().validate()\n"
        "assert 'torch' not in sys.modules, 'torch was loaded'"
    )
    subprocess.run([sys.executable, "-c", code], check=True)
