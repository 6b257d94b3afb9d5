"""Label-noise strategies: names and options are checked, and each does what its paper says."""

import dataclasses

import numpy as np
import pytest
import torch
from dia_vetting.reliability.strategies import (
    STRATEGIES,
    StrategyOptionError,
    UnknownStrategyError,
    build_strategy,
    check_strategy,
)
from dia_vetting.reliability.strategies.base import Batch, large_losses
from torch.nn.functional import binary_cross_entropy, binary_cross_entropy_with_logits

PAIRS = (
    "co_teaching",
    "class_asymmetric_co_teaching",
    "asymmetric_co_teaching",
    "stochastic_co_teaching",
)


def _batch(n=400, prior=0.1, age=1.0, injected_fraction=0.3, seed=1):
    rng = np.random.default_rng(seed)
    injected = rng.random(n) < injected_fraction
    weights = torch.from_numpy(
        np.where(injected, 0.5 / injected_fraction, 0.5 / (1 - injected_fraction)).astype(np.float32)
    )
    return Batch(injected, weights, prior, prior, injected_fraction, age, rng)


def _logits(batch, seed=2):
    """Return the logits of two networks that disagree, and that have a gradient."""
    rng = np.random.default_rng(seed)
    means = np.where(batch.injected, 1.5, -1.5)
    return [torch.tensor(rng.normal(means, 1.5), dtype=torch.float32, requires_grad=True) for _ in range(2)]


def _losses(logits, injected):
    return np.where(injected, np.logaddexp(0, -logits), np.logaddexp(0, logits))


def _used(name, batch, logits, **options):
    """Return which rows each network is trained on: those through which its loss has a gradient."""
    strategy = build_strategy(name, options)
    for values in logits:
        values.grad = None
    torch.stack(strategy.losses(logits, batch)).sum().backward()
    return [values.grad.numpy() != 0 for values in logits]


@pytest.mark.parametrize("name", STRATEGIES)
def test_every_strategy_can_be_built(name):
    strategy = build_strategy(name, {})
    assert strategy.networks == (2 if name in PAIRS else 1)
    batch = _batch()
    losses = strategy.losses(_logits(batch)[: strategy.networks], batch)
    assert len(losses) == strategy.networks
    assert all(torch.isfinite(loss) and loss.ndim == 0 for loss in losses)


@pytest.mark.parametrize("name", STRATEGIES)
def test_every_option_is_used(name):
    """No option may be there that the strategy does not read: another value must change some loss."""
    others = {"ramp": 1.0, "purity": 3.0, "alpha": 2.0, "beta": 0.6, "gamma": 0.5}
    for field in dataclasses.fields(STRATEGIES[name]):
        results = []
        for options in ({}, {field.name: others.get(field.name, 0.35)}):
            batch = _batch(age=0.1, prior=0.45)
            # The unlabelled learnt by heart: nnPU's options matter only where a risk gets negative.
            logits = [v - 5 * torch.from_numpy(~batch.injected).float() for v in _logits(batch)]
            losses = build_strategy(name, options).losses(logits, batch)
            results.append([loss.item() for loss in losses])
        assert results[0] != results[1], field.name


def test_unknown_names_and_options_list_those_there_are():
    with pytest.raises(UnknownStrategyError, match=r"plain, deep_ensemble, .* nnpu, found 'magic'"):
        check_strategy("magic", {})
    with pytest.raises(StrategyOptionError, match="options forget_rate, ramp, found 'forget_unlabelled'"):
        check_strategy("co_teaching", {"forget_unlabelled": 0.1})
    with pytest.raises(StrategyOptionError, match="no options, found 'forget_rate'"):
        check_strategy("plain", {"forget_rate": 0.1})


@pytest.mark.parametrize(
    ("name", "option", "value"),
    [
        ("co_teaching", "forget_rate", 1.0),
        ("co_teaching", "ramp", None),
        ("class_asymmetric_co_teaching", "forget_injected", -0.1),
        ("asymmetric_co_teaching", "purity", 0.5),
        ("stochastic_co_teaching", "alpha", 0.0),
        ("nnpu", "gamma", "much"),
    ],
)
def test_options_out_of_range(name, option, value):
    with pytest.raises(StrategyOptionError, match=f"{option} must be a number from"):
        check_strategy(name, {option: value})


def test_an_ensemble_has_several_members():
    check_strategy("deep_ensemble", {}, 2)
    with pytest.raises(StrategyOptionError, match="at least 2 members per fold, found 1"):
        check_strategy("deep_ensemble", {}, 1)


@pytest.mark.parametrize("name", ["plain", "deep_ensemble"])
def test_plain_is_the_weighted_cross_entropy(name):
    batch = _batch()
    (logits, _) = _logits(batch)
    (loss,) = build_strategy(name, {}).losses([logits], batch)
    target = torch.from_numpy(batch.injected.astype(np.float32))
    assert torch.allclose(loss, binary_cross_entropy_with_logits(logits, target, batch.weights))


def test_co_teaching_hands_over_small_losses():
    batch = _batch()
    logits = _logits(batch)
    used = _used("co_teaching", batch, logits, forget_rate=0.2)
    for network in (0, 1):
        theirs = _losses(logits[1 - network].detach().numpy(), batch.injected)
        assert (~used[network]).sum() in (80, 81)
        assert theirs[~used[network]].min() >= theirs[used[network]].max()
    assert (~used[0] & batch.injected).any()


def test_the_estimated_rate_of_co_teaching_counts_all_rows():
    batch = _batch(n=4000, prior=0.2, injected_fraction=0.4)
    used = _used("co_teaching", batch, _logits(batch))
    assert (~used[0]).mean() == pytest.approx(0.2 * 0.6, abs=1e-3)


def test_injected_rows_are_not_forgotten_by_class_asymmetric_co_teaching():
    batch = _batch(prior=0.25)
    logits = _logits(batch)
    used = _used("class_asymmetric_co_teaching", batch, logits)
    for network in (0, 1):
        theirs = _losses(logits[1 - network].detach().numpy(), batch.injected)
        assert used[network][batch.injected].all()
        forgotten = ~used[network]
        assert forgotten.sum() == pytest.approx(0.25 * (~batch.injected).sum(), abs=1)
        assert theirs[forgotten].min() >= theirs[used[network] & ~batch.injected].max()


def test_each_class_has_its_rate():
    batch = _batch(prior=0.25)
    used = _used(
        "class_asymmetric_co_teaching", batch, _logits(batch), forget_unlabelled=0.05, forget_injected=0.3
    )
    assert (~used[0])[batch.injected].mean() == pytest.approx(0.3, abs=0.01)
    assert (~used[0])[~batch.injected].mean() == pytest.approx(0.05, abs=0.01)


def test_the_roles_of_asymmetric_co_teaching():
    batch = _batch(prior=0.1)
    logits = _logits(batch)
    diverse, pure = _used("asymmetric_co_teaching", batch, logits, purity=3.0)
    unlabelled = ~batch.injected
    assert diverse[batch.injected].all()
    assert pure[batch.injected].all()
    assert (~diverse).sum() == pytest.approx(0.1 * unlabelled.sum(), abs=1)
    assert (~pure).sum() == pytest.approx(0.3 * unlabelled.sum(), abs=1)
    by_pure = _losses(logits[1].detach().numpy(), batch.injected)
    assert by_pure[~diverse].min() >= by_pure[diverse & unlabelled].max()


def test_stochastic_thresholds_follow_the_beta_distribution():
    """With p(label) = 0.9 for every row, a row is kept as often as a threshold lies below that."""
    batch = _batch(n=40_000)
    logit = np.log(9.0)
    values = np.where(batch.injected, logit, -logit)
    logits = [torch.tensor(values, dtype=torch.float32, requires_grad=True) for _ in range(2)]
    used = _used("stochastic_co_teaching", batch, logits, alpha=8.0, beta=2.0)
    expected = 0.9**8 * (9 - 8 * 0.9)  # the distribution function of Beta(8, 2)
    assert used[0].mean() == pytest.approx(expected, abs=0.01)
    assert (used[0] != used[1]).any()


@pytest.mark.parametrize("name", PAIRS)
def test_nothing_is_forgotten_right_after_the_warm_up(name):
    batch = _batch(age=0.0, prior=0.3)
    assert all(used.all() for used in _used(name, batch, _logits(batch)))


@pytest.mark.parametrize("name", PAIRS[:3])
def test_the_rate_rises(name):
    counts = []
    for age in (0.05, 0.1, 0.2, 0.8):
        batch = _batch(n=4000, prior=0.2, age=age)
        counts.append((~_used(name, batch, _logits(batch), ramp=0.2)[0]).sum())
    assert counts[1] == pytest.approx(2 * counts[0], abs=3)
    assert counts[2] == pytest.approx(4 * counts[0], abs=5)
    assert counts[3] == pytest.approx(counts[2], abs=1)


def _sigmoid_risks(logits, batch):
    """Return the three risks of Kiryo et al. with the sigmoid loss, each the mean over its class."""
    as_artefact = 1 / (1 + np.exp(-logits))
    injected = batch.injected
    return 1 - as_artefact[injected].mean(), as_artefact[injected].mean(), as_artefact[~injected].mean()


def _balanced(batch):
    """Return the batch with weights for its own class fractions."""
    fraction = batch.injected.mean()
    weights = np.where(batch.injected, 0.5 / fraction, 0.5 / (1 - fraction)).astype(np.float32)
    return dataclasses.replace(batch, weights=torch.from_numpy(weights))


def test_nnpu_against_its_formula():
    batch = _balanced(_batch(prior=0.15))
    (logits, _) = _logits(batch)
    (loss,) = build_strategy("nnpu", {}).losses([logits], batch)
    positive, known, unlabelled = _sigmoid_risks(logits.detach().numpy(), batch)
    expected = 0.5 * positive + 0.5 * (unlabelled - 0.15 * known) / 0.85
    assert loss.item() == pytest.approx(expected, rel=1e-5)


def test_nnpu_drives_a_negative_risk_back():
    batch = _balanced(_batch(prior=0.3))
    values = np.where(batch.injected, 3.0, -3.0)  # the unlabelled learnt by heart
    logits = torch.tensor(values, dtype=torch.float32, requires_grad=True)
    (loss,) = build_strategy("nnpu", {"gamma": 0.5}).losses([logits], batch)
    loss.backward()
    unlabelled = torch.from_numpy(~batch.injected)
    assert loss.item() > 0
    assert (logits.grad[unlabelled] < 0).all()  # descent raises their scores
    assert (logits.grad[~unlabelled] > 0).all()


def test_nnpu_without_hidden_ones_is_the_plain_sigmoid_loss():
    batch = _batch(prior=0.0)
    (logits, _) = _logits(batch)
    (loss,) = build_strategy("nnpu", {}).losses([logits], batch)
    target = torch.from_numpy(batch.injected.astype(np.float32))
    probability = torch.sigmoid(logits)
    assert torch.allclose(loss, (batch.weights * (probability - target).abs()).mean())
    assert not torch.allclose(loss, binary_cross_entropy(probability, target, batch.weights))


def test_small_rates_hold_on_average():
    rng = np.random.default_rng(3)
    losses = rng.random(40).astype(np.float32)
    among = np.arange(40) < 30
    counts = [large_losses(losses, among, 0.05, rng).sum() for _ in range(2000)]
    assert set(counts) == {1, 2}
    assert np.mean(counts) == pytest.approx(1.5, abs=0.05)
    assert not (large_losses(losses, among, 1.0, rng) & ~among).any()


@pytest.mark.parametrize("name", PAIRS[:3])
def test_no_more_is_forgotten_than_is_surely_real(name):
    batch = dataclasses.replace(_batch(n=4000, prior=0.3), prior_low=0.1)
    forgotten = ~_used(name, batch, _logits(batch))[0]
    among = ~batch.injected if name != "co_teaching" else np.ones(4000, dtype=bool)
    rate = 0.1 if name != "co_teaching" else 0.1 * (1 - batch.injected_fraction)
    assert forgotten.sum() == pytest.approx(rate * among.sum(), abs=1)
