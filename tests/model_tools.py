"""Small things that several tests of the model share."""

import torch
from hypothesis import settings

# Property tests: few and always the same examples, so that a run is quick and repeatable.
few = settings(max_examples=12, deadline=None, derandomize=True, database=None)


def randomise(model, seed=0, size=0.2):
    """Add noise to every parameter: no bias, norm, class token or head keeps its plain start."""
    generator = torch.Generator().manual_seed(seed)
    with torch.no_grad():
        for parameter in model.parameters():
            noise = torch.randn(parameter.shape, generator=generator, dtype=torch.float64)
            parameter.add_(size * noise.to(parameter.dtype))
    return model


def pictures(*shape, seed=0, dtype=torch.float32):
    """Random images (B, C, H, W), the same on each call."""
    generator = torch.Generator().manual_seed(seed)
    return torch.randn(shape, generator=generator, dtype=torch.float64).to(dtype)


def close(actual, expected, tolerance):
    """Assert that two tensors agree, relative and absolute, and have one shape and type."""
    torch.testing.assert_close(actual, expected, rtol=tolerance, atol=tolerance)
