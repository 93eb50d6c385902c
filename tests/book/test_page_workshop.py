"""The recipe workshop: its formulas hold."""

import chapters
import pytest
import torch
import torch.nn.functional as F

NAME = "appendix/recipe_workshop"


def page():
    """The variables of the page after its cells."""
    return chapters.built(NAME)


@pytest.mark.parametrize("s", [0.1, 0.7, 3.0])
def test_the_size_of_gelu_is_that_of_many_draws(s):
    draws = torch.randn(400_000, generator=torch.Generator().manual_seed(1), dtype=torch.float64)
    found = F.gelu(s * draws).square().mean().sqrt().item()
    assert page()["gelu_size"](s) == pytest.approx(found, rel=0.01)


def test_a_target_of_three_classes_is_scored_three_times():
    z = torch.randn(4, 6, generator=torch.Generator().manual_seed(0)).double()
    target = torch.tensor([0.2, 0.0, 0.5, 0.0, 0.3, 0.0]).double().expand(4, 6)
    apart = sum(
        share * F.cross_entropy(z, torch.full((4,), k)) for k, share in enumerate(target[0])
    )
    torch.testing.assert_close(F.cross_entropy(z, target), apart)
