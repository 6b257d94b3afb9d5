"""Determinism on loan: torch gets back what it had."""

import torch
from dia_vetting.reliability.deterministic import deterministic_torch


def test_torch_gets_its_state_back():
    before = torch.get_rng_state(), torch.are_deterministic_algorithms_enabled(), torch.get_num_threads()
    with deterministic_torch(1, 2):
        first = torch.rand(1)
        assert torch.are_deterministic_algorithms_enabled()
        assert torch.get_num_threads() == 2
    with deterministic_torch(1):
        assert torch.equal(torch.rand(1), first)
    assert torch.equal(torch.get_rng_state(), before[0])
    assert (torch.are_deterministic_algorithms_enabled(), torch.get_num_threads()) == before[1:]
