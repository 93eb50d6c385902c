"""The book's Muon is PyTorch's, whichever number type its inner products use."""

import copy

import pytest
import torch
from hypothesis import given
from hypothesis import strategies as st
from model_tools import few

from vit_teach.train import muon

SHAPES = [(24, 8), (8, 24), (8, 8), (24, 8), (5, 3)]  # two of one shape, one of each other kind


@pytest.fixture(params=["float32", "bfloat16"])
def number_type(request, monkeypatch):
    monkeypatch.setattr(muon, "pick_precision", lambda name, device: request.param)
    return request.param


def weights(seed=0):
    torch.manual_seed(seed)
    return [torch.nn.Parameter(torch.randn(shape)) for shape in SHAPES]


def walk(optimizer, parameters, steps=3):
    torch.manual_seed(1)
    for _ in range(steps):
        for parameter in parameters:
            parameter.grad = torch.randn(parameter.shape)
        optimizer.step()
    return torch.cat([parameter.detach().flatten() for parameter in parameters])


def test_steps_are_pytorchs(number_type):
    mine, theirs = weights(), weights()
    start = torch.cat([parameter.detach().flatten() for parameter in mine])
    ours = walk(muon.Muon(mine, lr=0.02, weight_decay=0.3), mine)
    expected = torch.optim.Muon(theirs, lr=0.02, weight_decay=0.3, adjust_lr_fn="match_rms_adamw")
    expected = walk(expected, theirs)
    # Equal to the last bit where a product of many small matrices adds as one of a single matrix.
    rounding = 0.03 * (expected - start).norm()  # of bfloat16: 8 bits, through five rounds
    assert (ours - expected).norm() < rounding


def test_a_saved_state_goes_on_in_either_number_type(monkeypatch):
    reference = weights()
    whole = muon.Muon(reference, lr=0.02, weight_decay=0.0)
    monkeypatch.setattr(muon, "pick_precision", lambda name, device: "bfloat16")
    walk(whole, reference)
    other = copy.deepcopy(reference)
    resumed = muon.Muon(other, lr=0.02, weight_decay=0.0)
    resumed.load_state_dict(whole.state_dict())
    before = walk(whole, reference)
    monkeypatch.setattr(muon, "pick_precision", lambda name, device: "float32")
    torch.testing.assert_close(walk(resumed, other), before, rtol=0, atol=0.02)


def test_a_weight_without_gradient_stays(number_type):
    first, second = weights()[:2]
    optimizer = muon.Muon([first, second], lr=0.1, weight_decay=0.5)
    first.grad, kept = torch.ones_like(first), second.detach().clone()
    optimizer.step()
    assert torch.equal(second.detach(), kept)
    assert not optimizer.state[second]


def test_a_closure_is_called_with_gradients_and_its_loss_returned(number_type):
    weight = weights()[0]
    optimizer = muon.Muon([weight], lr=0.1, weight_decay=0.0)

    def closure():
        loss = weight.square().sum()
        loss.backward()
        return loss

    expected = weight.detach().square().sum()
    assert optimizer.step(closure).item() == pytest.approx(expected.item())
    assert weight.detach().square().sum() < expected


@few
@given(st.integers(1, 4), st.integers(1, 20), st.integers(1, 20))
def test_the_singular_vectors_stay_and_the_values_come_near_one(n, rows, columns):
    random = torch.Generator().manual_seed(100 * rows + columns)
    u, _, vt = torch.linalg.svd(
        torch.randn(n, rows, columns, generator=random, dtype=torch.float64), full_matrices=False
    )
    values = torch.rand(n, min(rows, columns), generator=random, dtype=torch.float64) + 0.3
    found = muon.orthogonalise(u * values[:, None] @ vt)
    inside = u.mT @ found @ vt.mT  # (n, k, k): diagonal if the singular vectors stayed
    size = inside.diagonal(dim1=1, dim2=2)
    assert 0.6 < size.min() and size.max() < 1.3
    assert (inside - torch.diag_embed(size)).abs().max() < 1e-9
    assert found.shape == (n, rows, columns)


def test_matrices_do_not_mix():
    torch.manual_seed(0)
    several = torch.randn(3, 7, 4, dtype=torch.float64)
    alone = torch.cat([muon.orthogonalise(matrix[None]) for matrix in several])
    torch.testing.assert_close(muon.orthogonalise(several), alone, rtol=0, atol=1e-12)


def test_zero_stays_zero():
    assert torch.equal(muon.orthogonalise(torch.zeros(2, 3, 5)), torch.zeros(2, 3, 5))


def test_bad_arguments():
    with pytest.raises(ValueError, match=r"matrices of shape \(3, 5\) must have 3 axes"):
        muon.orthogonalise(torch.zeros(3, 5))
    with pytest.raises(ValueError, match="with 2 axes"):
        muon.Muon([torch.nn.Parameter(torch.zeros(3))], lr=0.1, weight_decay=0.0)


def test_a_filter_bank_moves_as_the_matrix_of_its_filters():
    torch.manual_seed(0)
    shapes = [(8, 3, 3, 3), (8, 3, 3, 3), (6, 8, 1, 1)]
    filters = [torch.nn.Parameter(torch.randn(shape)) for shape in shapes]
    # In a convolution's own order of memory, which is not that of the matrix.
    for bank in filters:
        bank.data = bank.data.to(memory_format=torch.channels_last)
    matrices = [torch.nn.Parameter(bank.detach().flatten(1).clone()) for bank in filters]
    ours = muon.FilterMuon(filters, lr=0.02, weight_decay=0.3)
    theirs = torch.optim.Muon(matrices, lr=0.02, weight_decay=0.3, adjust_lr_fn="match_rms_adamw")
    start = torch.cat([matrix.detach().flatten() for matrix in matrices])
    expected = walk(theirs, matrices)
    found = walk(ours, filters)
    assert (found - expected).norm() < 0.03 * (expected - start).norm()  # the rounding of bfloat16
    assert ours.param_groups[0]["ns_steps"] == theirs.param_groups[0]["ns_steps"]


def test_the_filters_optimiser_goes_on_from_a_saved_state():
    torch.manual_seed(0)
    bank = [torch.nn.Parameter(torch.randn(4, 2, 3, 3))]
    whole = muon.FilterMuon(bank, lr=0.02, weight_decay=0.1)
    walk(whole, bank)
    other = copy.deepcopy(bank)
    resumed = muon.FilterMuon(other, lr=0.02, weight_decay=0.1)
    resumed.load_state_dict(copy.deepcopy(whole.state_dict()))
    assert torch.equal(walk(resumed, other), walk(whole, bank))
