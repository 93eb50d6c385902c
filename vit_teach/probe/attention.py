"""What attention weights say: where each head looks, how far, how evenly. Chapter 14.

Source: ViT paper (arXiv 2010.11929), section 4.5 and appendix D.7 (mean attention distance).

The measures take plain tensors of weights, so that cases with a known answer can be put in.
:func:`vit_teach.probe.examine` takes a model and pictures and returns all of them at once.
"""

from math import prod

import torch
from torch import Tensor

from ..arguments import finite, require_tensor, require_type, whole, whole_pair
from ..vit.model import VisionTransformer, ViTConfig
from ..vit.patches import Size, to_pair


def _steps(model: VisionTransformer, images: Tensor) -> dict[str, Tensor]:
    """Every intermediate of a model by name, without gradients or dropout."""
    if not isinstance(model, VisionTransformer):
        raise ValueError(f"model={type(model).__name__} must be a VisionTransformer or a hybrid")
    require_tensor("images", images, "(B, C, H, W)")
    wanted = (model.config.in_channels, *to_pair(model.config.image_size))
    if tuple(images.shape[1:]) != wanted:
        raise ValueError(f"images of shape {tuple(images.shape)} must be (B, *{wanted})")
    training = model.training
    model.eval()
    try:
        with torch.no_grad():
            _, out = model(images.to(model.head.weight), intermediates=True)
    finally:
        model.train(training)
    return out


def collect(model: VisionTransformer, images: Tensor) -> Tensor:
    """The attention weights of a model for images (B, C, H, W): (B, L, H, T, T), L blocks.

    Any ViT or hybrid of the package will do, whatever its weights came from. Raises ``ValueError``
    for another kind of model.

    >>> from vit_teach import zoo
    >>> model = zoo.build(zoo.preset("CIFAR-ViT-Nano"))
    >>> collect(model, torch.zeros(2, 3, 32, 32)).shape
    torch.Size([2, 4, 4, 16, 16])
    """
    out = _steps(model, images)
    return torch.stack([out[f"blocks.{i}.attn.weights"] for i in range(len(model.blocks))], dim=1)


# --- How far --------------------------------------------------------------------------------------


def patch_distances(grid: tuple[int, int], patch_size: Size = 1) -> Tensor:
    """Distances in pixels between the centres of all patches, (N, N), float64.

    ``grid`` is (gh, gw); ``patch_size`` an int or (height, width).

    >>> patch_distances((1, 3), 4)[0]
    tensor([0., 4., 8.], dtype=torch.float64)
    """
    ph, pw = to_pair(patch_size, "patch_size")
    whole_pair("grid", grid)
    rows, columns = torch.arange(grid[0]).double() * ph, torch.arange(grid[1]).double() * pw
    centres = torch.cartesian_prod(rows, columns).view(-1, 2)  # (N, 2)
    return (centres[:, None] - centres).square().sum(dim=2).sqrt()  # (N, N)


def patches_only(weights: Tensor, grid: tuple[int, int]) -> Tensor:
    """Attention among patches: weights (..., T, T) to (..., N, N), whose rows sum to 1 again.

    What stands before the patches (a class token) loses its row and its column, and each row is
    divided by what is left. A row that gave everything to the class token stays zero. Raises
    ``ValueError`` if there are fewer tokens than places in the ``grid``.

    >>> patches_only(torch.full((5, 5), 0.2), (2, 2))[0]
    tensor([0.2500, 0.2500, 0.2500, 0.2500])
    """
    require_tensor("weights", weights)
    count = prod(whole_pair("grid", grid))
    if weights.ndim < 2 or weights.shape[-1] != weights.shape[-2] or weights.shape[-1] < count:
        shape = tuple(weights.shape)
        raise ValueError(f"weights of shape {shape} must be (..., T, T) with T >= {count}")
    if not weights.is_floating_point():
        raise ValueError(f"weights of dtype {weights.dtype} must be fractions")
    kept = weights[..., -count:, -count:]  # (..., N, N)
    return kept / kept.sum(dim=-1, keepdim=True).clamp(min=torch.finfo(kept.dtype).tiny)


def query_distances(weights: Tensor, grid: tuple[int, int], patch_size: Size) -> Tensor:
    """How far each patch looks on average, in pixels: weights (..., T, T) to (..., N).

    For patch i it is the sum of a_ij d_ij over all patches j, where a are the weights among
    patches (:func:`patches_only`) and d the distances between centres. A patch's distance to itself
    is 0, and it counts. Source: ViT paper, Figure 11, which leaves these choices open.

    >>> query_distances(torch.full((3, 3), 1 / 3), (1, 3), 4)
    tensor([4.0000, 2.6667, 4.0000])
    """
    require_tensor("weights", weights, "(..., T, T)")
    distances = patch_distances(grid, patch_size).to(weights)  # (N, N)
    return (patches_only(weights, grid) * distances).sum(dim=-1)


def attention_distance(weights: Tensor, grid: tuple[int, int], patch_size: Size) -> Tensor:
    """Mean attention distance in pixels: weights (..., T, T) to (...), the mean over all patches.

    >>> attention_distance(torch.eye(6), (2, 3), 4)
    tensor(0.)
    """
    return query_distances(weights, grid, patch_size).mean(dim=-1)


def uniform_distance(grid: tuple[int, int], patch_size: Size) -> float:
    """The mean attention distance in pixels of a uniform head: equal weights for all patches.

    >>> round(uniform_distance((8, 8), 4), 2)
    16.55
    """
    return patch_distances(grid, patch_size).mean().item()


def distances(model: VisionTransformer, images: Tensor, batch_size: int = 32) -> Tensor:
    """The mean attention distance of each head for each image, in pixels: (B, L, H).

    Goes through the images in batches, since the weights themselves are large.

    >>> from vit_teach import zoo
    >>> distances(zoo.build(zoo.preset("CIFAR-ViT-Nano")), torch.zeros(2, 3, 32, 32)).shape
    torch.Size([2, 4, 4])
    """
    require_type("model", model, VisionTransformer, "a ViT or a hybrid")
    require_tensor("images", images, "(B, C, H, W)")
    whole("batch_size", batch_size, 1)
    place = model.config.grid_size, model.config.patch_size
    parts = [attention_distance(collect(model, x), *place) for x in images.split(batch_size)]
    return torch.cat(parts)  # (B, L, H)


def offset_map(weights: Tensor, grid: tuple[int, int]) -> Tensor:
    """Where a head looks relative to the query: (..., T, T) to (..., 2 gh - 1, 2 gw - 1).

    The middle is the query's own place; each cell is the mean weight of all pairs of patches with
    this offset in rows and columns (far offsets have few pairs: (gh - 1, gw - 1) has one).

    >>> offset_map(torch.eye(6), (2, 3))[1]
    tensor([0., 0., 1., 0., 0.])
    """
    require_tensor("weights", weights, "(..., T, T)")
    gh, gw = whole_pair("grid", grid)
    places = torch.cartesian_prod(torch.arange(gh), torch.arange(gw)).view(-1, 2)  # (N, 2)
    down, right = (places[None] - places[:, None]).unbind(dim=2)  # (N, N) each, key minus query
    cell = ((down + gh - 1) * (2 * gw - 1) + right + gw - 1).flatten().to(weights.device)  # (N N,)
    flat = patches_only(weights, grid).flatten(-2)  # (..., N N)
    total = flat.new_zeros(*flat.shape[:-1], (2 * gh - 1) * (2 * gw - 1))
    total = total.index_add(-1, cell, flat) / cell.bincount()
    return total.unflatten(-1, (2 * gh - 1, 2 * gw - 1))


# --- How evenly -----------------------------------------------------------------------------------


def entropy(weights: Tensor) -> Tensor:
    """The entropy of each row in nats: weights (..., T, T) to (..., T).

    0 for a row that looks at one token only, ln T for a uniform one, and never more.

    >>> entropy(torch.tensor([[0.5, 0.5], [0.0, 1.0]]))
    tensor([0.6931, 0.0000])
    """
    require_tensor("weights", weights, "(..., T)")
    return torch.special.entr(weights).sum(dim=-1)


# --- Maps -----------------------------------------------------------------------------------------


def reader(config: ViTConfig) -> str:
    """Which row of a map the classifier of a model reads: "class token" or "mean of all patches".

    >>> from vit_teach import zoo
    >>> reader(zoo.preset("ViT-B/16")), reader(zoo.preset("CIFAR-ViT-Nano"))
    ('class token', 'mean of all patches')
    """
    require_type("config", config, ViTConfig, "a ViT's configuration")
    return "class token" if config.pool == "cls" else "mean of all patches"


def readout_map(weights: Tensor, config: ViTConfig) -> Tensor:
    """What the token that the classifier reads looks at: (..., T, T) to (..., gh, gw), sum 1.

    That is the class token's row. A model that averages its patches has no such token: there it is
    the mean of all patches' rows (:func:`reader` says which). Works on rollout as well.

    >>> from vit_teach import zoo
    >>> readout_map(torch.full((197, 197), 1 / 197), zoo.preset("ViT-B/16")).shape
    torch.Size([14, 14])
    """
    require_type("config", config, ViTConfig, "a ViT's configuration")
    require_tensor("weights", weights, "(..., T, T)")
    count = config.num_patches
    if weights.shape[-1] < count or weights.shape[-2] < count:
        raise ValueError(f"weights of shape {tuple(weights.shape)} must have T >= {count}")
    rows = weights[..., :1, :] if config.pool == "cls" else weights[..., -count:, :]
    line = rows.mean(dim=-2)[..., -count:]  # (..., N)
    return (line / line.sum(dim=-1, keepdim=True)).unflatten(-1, config.grid_size)


def rollout(weights: Tensor, residual: bool = True) -> Tensor:
    """Attention followed through all blocks: weights (..., L, H, T, T) to (..., T, T).

    In each block the heads are averaged, the identity is added for the residual connection, and
    each row is divided by its sum; then the blocks are multiplied, the last one from the left. Row
    i says how much token i of the output took from each token of the input, if nothing but
    attention and the residual connection existed. ``residual=False`` leaves the identity out.
    Source: Abnar and Zuidema, arXiv 2005.00928.

    >>> rollout(torch.eye(3).expand(2, 4, 3, 3))[0]
    tensor([1., 0., 0.])
    """
    require_type("residual", residual, bool, "True or False")
    require_tensor("weights", weights, "(..., L, H, T, T)")
    if weights.shape[-1] != weights.shape[-2] or 0 in weights.shape:
        raise ValueError(f"weights of shape {tuple(weights.shape)} must be (..., L, H, T, T)")
    mean = weights.mean(dim=-3)  # (..., L, T, T)
    if residual:
        mean = mean + torch.eye(mean.shape[-1]).to(mean)
    mean = mean / mean.sum(dim=-1, keepdim=True)
    result = mean[..., 0, :, :]
    for i in range(1, mean.shape[-3]):
        result = mean[..., i, :, :] @ result  # (..., T, T)
    return result


def token_norms(model: VisionTransformer, images: Tensor) -> Tensor:
    """The length of each patch's token on its way through the blocks: (L + 1, B, N).

    Row 0 is what enters the first block, row l what leaves block l.

    >>> from vit_teach import zoo
    >>> token_norms(zoo.build(zoo.preset("CIFAR-ViT-Nano")), torch.zeros(2, 3, 32, 32)).shape
    torch.Size([5, 2, 16])
    """
    out, count = _steps(model, images), model.config.num_patches
    names = ["tokens", *(f"blocks.{i}" for i in range(len(model.blocks)))]
    return torch.stack([out[name][:, -count:].norm(dim=2) for name in names])


def outlier_tokens(norms: Tensor, k: float = 10.0) -> Tensor:
    """Which tokens are far longer than the rest of their layer: (..., B, N), booleans.

    A token counts if its norm exceeds median + ``k`` x MAD, where MAD is the median of the
    distances from the median, over all tokens of the layer. In a normal distribution MAD is 0.67
    standard deviations, and k = 10 is never exceeded by chance. Source of the question: Darcet et
    al., arXiv 2309.16588, who find norms about ten times the median in large models.

    >>> outlier_tokens(torch.tensor([[1.0, 1.1, 0.9, 1.2, 12.0]]))
    tensor([[False, False, False, False,  True]])
    """
    require_tensor("norms", norms, "(..., B, N)")
    finite("k", k, 0)
    flat = norms.flatten(-2)  # (..., B N)
    middle = flat.median(dim=-1, keepdim=True).values  # (..., 1)
    spread = (flat - middle).abs().median(dim=-1, keepdim=True).values  # (..., 1)
    return norms > (middle + k * spread)[..., None]
