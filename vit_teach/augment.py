"""Augmentation: random changes that leave the label true, on whole batches of tensors.

No step loops over images. A random step draws one number per image from an explicit
`torch.Generator`, then hands the numbers to a plain function that does the work; the plain
functions can be used, and tested, on their own. One generator drives everything, so saving
`generator.get_state()` and restoring it repeats the stream exactly.

Draws are made on the generator's device (the processor, by default) and moved to the images,
so a seed means the same crops on every machine.
"""

import numpy as np
import torch
import torch.nn.functional as F
from torch import Tensor

POLICIES = ("none", "basic", "medium", "strong", "strong+mix")
PADDINGS = ("zeros", "reflect")
GREY = 0.5  # what fills a place the picture has left: close to the mean colour of photographs


# --- Shared parts -------------------------------------------------------------------------------


def _check_images(images: Tensor, dtype: torch.dtype | None = None) -> None:
    if images.ndim != 4 or 0 in images.shape:
        raise ValueError(
            f"images has shape {tuple(images.shape)}; it must be (B, C, H, W), nothing empty"
        )
    if dtype not in (None, images.dtype):
        values = "0..255" if dtype == torch.uint8 else "0..1"
        raise ValueError(f"images has dtype {images.dtype}; it must be {dtype} in {values}")


def _check_fraction(name: str, value: float) -> None:
    if not 0 <= value <= 1:
        raise ValueError(f"{name}={value} must lie in 0..1")


def _draw(generator: torch.Generator, *shape: int, low: float = 0.0, high: float = 1.0) -> Tensor:
    """Uniform random numbers in low..high, of the given shape."""
    draws = torch.rand(shape, generator=generator, device=generator.device)
    return low + (high - low) * draws


def _draw_whole(generator: torch.Generator, below: int, *shape: int) -> Tensor:
    """Random whole numbers in 0..below-1, of the given shape."""
    return torch.randint(below, shape, generator=generator, device=generator.device)


def _per_image(value: float | Tensor, images: Tensor) -> Tensor:
    """One number, or one per image, in a shape that multiplies images: (1 or B, 1, 1, 1)."""
    value = torch.as_tensor(value, device=images.device, dtype=images.dtype).reshape(-1)
    if len(value) not in (1, len(images)):
        raise ValueError(f"{len(value)} values for {len(images)} images; give one, or one each")
    return value[:, None, None, None]


def rectangles(top: Tensor, left: Tensor, bottom: Tensor, right: Tensor, size) -> Tensor:
    """Mark one rectangle per image; what lies outside the picture is cut off.

    top, left, bottom, right (B,) whole pixels, bottom and right just past the last one; size
    (H, W) of the picture. Returns (B, 1, H, W) bool, True inside.

    >>> one, three, nine = torch.tensor([1]), torch.tensor([3]), torch.tensor([9])
    >>> rectangles(one, one, three, nine, (3, 4)).int().tolist()
    [[[[0, 0, 0, 0], [0, 1, 1, 1], [0, 1, 1, 1]]]]
    """
    rows = torch.arange(size[0], device=top.device)  # (H,)
    columns = torch.arange(size[1], device=top.device)  # (W,)
    in_rows = (rows >= top[:, None]) & (rows < bottom[:, None])  # (B, H)
    in_columns = (columns >= left[:, None]) & (columns < right[:, None])  # (B, W)
    return in_rows[:, None, :, None] & in_columns[:, None, None, :]  # (B, 1, H, W)


# --- Crop and flip: pixels move, none changes, so these work on uint8 as well -------------------


def crop(images: Tensor, top: Tensor, left: Tensor, size: tuple[int, int]) -> Tensor:
    """Cut one window from each image.

    images (B, C, H, W) of any dtype; top, left (B,) whole pixels; size (height, width) of the
    window. Returns (B, C, height, width).

    >>> images = torch.arange(16).view(1, 1, 4, 4)
    >>> crop(images, torch.tensor([1]), torch.tensor([2]), (2, 2)).tolist()
    [[[[6, 7], [10, 11]]]]
    """
    _check_images(images)
    height, width = size
    if not (0 < height <= images.shape[2] and 0 < width <= images.shape[3]):
        raise ValueError(f"size={size} must fit into images of {tuple(images.shape[2:])}")
    # unfold only makes a view: all windows, at every top and left, without copying a pixel.
    windows = images.unfold(2, height, 1).unfold(3, width, 1)  # (B, C, tops, lefts, height, width)
    each = torch.arange(len(images), device=images.device)  # (B,)
    return windows[each, :, top.to(images.device), left.to(images.device)]


def random_crop(
    images: Tensor, padding: int, generator: torch.Generator, mode: str = "zeros"
) -> Tensor:
    """Pad each side, then cut a window of the old size at a random place, one per image.

    images (B, C, H, W) of any dtype; padding in pixels; mode "zeros" pads with black, "reflect"
    mirrors the picture at its edge (then padding must be below H and W). Returns (B, C, H, W).
    CIFAR is usually given 4 pixels (He et al., 2016, section 4.2).

    >>> images = torch.ones(2, 3, 6, 8, dtype=torch.uint8)
    >>> random_crop(images, 2, torch.Generator().manual_seed(0)).shape
    torch.Size([2, 3, 6, 8])
    """
    _check_images(images)
    batch, _, height, width = images.shape
    if mode not in PADDINGS:
        raise ValueError(f"mode={mode!r} must be one of {PADDINGS}")
    if padding < 0 or (mode == "reflect" and padding >= min(height, width)):
        raise ValueError(
            f"padding={padding} must be at least 0, and with mode='reflect' below both sides of "
            f"the {height} x {width} images"
        )
    padded = F.pad(images, (padding,) * 4, mode="constant" if mode == "zeros" else mode)
    top, left = _draw_whole(generator, 2 * padding + 1, 2, batch)
    return crop(padded, top, left, (height, width))  # (B, C, H, W)


def flip(images: Tensor, mask: Tensor) -> Tensor:
    """Mirror, left to right, the images that mask marks.

    images (B, C, H, W) of any dtype; mask (B,) bool. Returns (B, C, H, W).

    >>> flip(torch.tensor([[[[1, 2, 3]]]]), torch.tensor([True])).tolist()
    [[[[3, 2, 1]]]]
    """
    _check_images(images)
    return torch.where(mask.to(images.device)[:, None, None, None], images.flip(3), images)


def random_flip(images: Tensor, generator: torch.Generator, probability: float = 0.5) -> Tensor:
    """Mirror each image left to right with the given probability.

    images (B, C, H, W) of any dtype; probability in 0..1. Returns (B, C, H, W).

    >>> random_flip(torch.tensor([[[[1, 2, 3]]]]), torch.Generator(), probability=1.0).tolist()
    [[[[3, 2, 1]]]]
    """
    _check_images(images)
    _check_fraction("probability", probability)
    return flip(images, _draw(generator, len(images)) < probability)


# --- Cutout and geometry: float32 in 0..1 from here on -------------------------------------------


def cutout(images: Tensor, size: int, generator: torch.Generator, fill: float = 0.0) -> Tensor:
    """Cover one square of each image with a flat value (DeVries and Taylor, 2017).

    images (B, C, H, W) float32; size is the square's side in pixels. As in the paper, the centre
    is any pixel, so a square at the edge is cut off. Returns (B, C, H, W).

    >>> out = cutout(torch.ones(2, 3, 8, 8), 1, torch.Generator().manual_seed(0))
    >>> (out == 0).sum((1, 2, 3)).tolist()
    [3, 3]
    """
    _check_images(images, torch.float32)
    if size < 1:
        raise ValueError(f"size={size} must be at least 1")
    batch, _, height, width = images.shape
    top = _draw_whole(generator, height, batch) - size // 2  # (B,)
    left = _draw_whole(generator, width, batch) - size // 2  # (B,)
    hidden = rectangles(top, left, top + size, left + size, (height, width))  # (B, 1, H, W)
    return images.masked_fill(hidden.to(images.device), fill)


def affine(
    images: Tensor,
    rotate: float | Tensor = 0.0,
    shear_x: float | Tensor = 0.0,
    shear_y: float | Tensor = 0.0,
    right: float | Tensor = 0.0,
    down: float | Tensor = 0.0,
    scale: float | Tensor = 1.0,
    fill: float = GREY,
) -> Tensor:
    """Rotate, shear, enlarge and shift each image, in one resampling (bilinear).

    images (B, C, H, W) float32. Each change is one number or (B,): rotate in degrees clockwise;
    shear_x in pixels to the right per pixel down, shear_y in pixels down per pixel to the right;
    scale as a factor; then right and down in pixels. All but the shift turn about the picture's
    centre. fill is the value where no picture is left. Returns (B, C, H, W).

    >>> affine(torch.tensor([[[[0.1, 0.2, 0.3]]]]), right=1.0, fill=0.0)
    tensor([[[[0.0000, 0.1000, 0.2000]]]])
    """
    _check_images(images, torch.float32)
    height, width = images.shape[2:]
    values = (rotate, shear_x, shear_y, right, down, scale)
    values = [_per_image(value, images).flatten().expand(len(images)) for value in values]
    rotate, shear_x, shear_y, right, down, scale = values  # each (B,)
    # A pixel at (x, y) from the centre goes to [[xx, xy], [yx, yy]] (x, y), each entry (B,).
    cos, sin = scale * torch.deg2rad(rotate).cos(), scale * torch.deg2rad(rotate).sin()
    xx, xy = cos - sin * shear_y, cos * shear_x - sin
    yx, yy = sin + cos * shear_y, sin * shear_x + cos
    det = (xx * yy - xy * yx)[:, None]  # (B, 1)
    # Sampling asks the other way round: where did a pixel of the new picture come from?
    x = torch.arange(width, device=images.device) - (width - 1) / 2 - right[:, None]  # (B, W)
    y = torch.arange(height, device=images.device) - (height - 1) / 2 - down[:, None]  # (B, H)
    yy, xy, yx, xx = (entry[:, None] / det for entry in (yy, xy, yx, xx))  # each (B, 1)
    from_x = (yy * x)[:, None, :] - (xy * y)[:, :, None]  # (B, H, W)
    from_y = (xx * y)[:, :, None] - (yx * x)[:, None, :]  # (B, H, W)
    # grid_sample measures in half widths and half heights, not in pixels.
    grid = torch.stack([from_x / (width / 2), from_y / (height / 2)], 3)  # (B, H, W, 2)
    return F.grid_sample(images - fill, grid, align_corners=False) + fill  # outside counts as 0


def random_affine(
    images: Tensor,
    generator: torch.Generator,
    degrees: float = 10.0,
    shear: float = 0.1,
    shift: float = 0.05,
    scale: float = 0.1,
) -> Tensor:
    """A small random rotation, shear, shift and change of size, all in one, drawn per image.

    images (B, C, H, W) float32; each argument bounds its draw on both sides: degrees, shear as a
    slope, shift as a part of the side, scale as a part around 1. Returns (B, C, H, W).

    >>> random_affine(torch.rand(2, 3, 6, 8), torch.Generator().manual_seed(0)).shape
    torch.Size([2, 3, 6, 8])
    """
    _check_images(images, torch.float32)
    height, width = images.shape[2:]
    draws = _draw(generator, 6, len(images), low=-1.0)  # (6, B)
    return affine(
        images,
        rotate=degrees * draws[0],
        shear_x=shear * draws[1],
        shear_y=shear * draws[2],
        right=shift * width * draws[3],
        down=shift * height * draws[4],
        scale=1 + scale * draws[5],
    )


# --- Colour -------------------------------------------------------------------------------------


def _blend(plain: Tensor, images: Tensor, factor: float | Tensor) -> Tensor:
    """Move images away from a plainer picture (factor above 1) or towards it (below 1)."""
    return torch.lerp(plain, images, _per_image(factor, images)).clamp(0, 1)


def _grey(images: Tensor) -> Tensor:
    """Lightness (B, 1, H, W): for three channels as the eye weighs red, green, blue."""
    if images.shape[1] != 3:
        return images.mean(1, keepdim=True)
    weights = torch.tensor([0.299, 0.587, 0.114], device=images.device)[None, :, None, None]
    return (images * weights).sum(1, keepdim=True)


def brightness(images: Tensor, factor: float | Tensor) -> Tensor:
    """Lighter (factor above 1) or darker: away from black, or towards it.

    images (B, C, H, W) float32 in 0..1; factor one number or (B,); 1 changes nothing. Returns
    (B, C, H, W) in 0..1. The next three take and return the same.

    >>> brightness(torch.full((1, 1, 1, 2), 0.4), 1.5)
    tensor([[[[0.6000, 0.6000]]]])
    """
    _check_images(images, torch.float32)
    return _blend(torch.zeros_like(images), images, factor)


def contrast(images: Tensor, factor: float | Tensor) -> Tensor:
    """More or less contrast: away from the picture's mean grey, or towards it.

    images (B, C, H, W) float32 in 0..1; factor one number or (B,). Returns (B, C, H, W).

    >>> contrast(torch.tensor([[[[0.2, 0.6]]]]), 0.5)
    tensor([[[[0.3000, 0.5000]]]])
    """
    _check_images(images, torch.float32)
    return _blend(_grey(images).mean((2, 3), keepdim=True).expand_as(images), images, factor)


def saturation(images: Tensor, factor: float | Tensor) -> Tensor:
    """More or less colour: away from the same picture in grey, or towards it.

    images (B, C, H, W) float32 in 0..1; factor one number or (B,). Returns (B, C, H, W).

    >>> saturation(torch.tensor([1.0, 0.0, 0.0]).view(1, 3, 1, 1), 0.0).flatten()
    tensor([0.2990, 0.2990, 0.2990])
    """
    _check_images(images, torch.float32)
    return _blend(_grey(images).expand_as(images), images, factor)


def sharpness(images: Tensor, factor: float | Tensor) -> Tensor:
    """Sharper or softer: away from a 3 x 3 blur of the picture, or towards it.

    images (B, C, H, W) float32 in 0..1; factor one number or (B,). The outermost pixels, which
    have too few neighbours, stay as they are. Returns (B, C, H, W).

    >>> sharpness(torch.eye(3).view(1, 1, 3, 3), 0.0)[0, 0, 1]
    tensor([0.0000, 0.5385, 0.0000])
    """
    _check_images(images, torch.float32)
    blurred = images.clone()
    if min(images.shape[2:]) > 2:
        middle = images[:, :, 1:-1, 1:-1]  # (B, C, H-2, W-2)
        # Weights 1 for the eight neighbours and 5 for the pixel itself: 9 x the mean, plus 4.
        blurred[:, :, 1:-1, 1:-1] = (9 * F.avg_pool2d(images, 3, stride=1) + 4 * middle) / 13
    return _blend(blurred, images, factor)


def random_colour(images: Tensor, generator: torch.Generator, strength: float = 0.3) -> Tensor:
    """Random brightness, contrast and saturation, in this order, drawn per image.

    images (B, C, H, W) float32 in 0..1; each factor lies in 1-strength..1+strength. Returns
    (B, C, H, W) in 0..1.

    >>> random_colour(torch.rand(2, 3, 6, 8), torch.Generator().manual_seed(0)).shape
    torch.Size([2, 3, 6, 8])
    """
    _check_images(images, torch.float32)
    _check_fraction("strength", strength)
    factors = _draw(generator, 3, len(images), low=1 - strength, high=1 + strength)  # (3, B)
    return saturation(contrast(brightness(images, factors[0]), factors[1]), factors[2])


def solarize(images: Tensor, threshold: float | Tensor) -> Tensor:
    """Turn every value above threshold into its negative.

    images (B, C, H, W) float32 in 0..1; threshold one number or (B,). Returns (B, C, H, W).

    >>> solarize(torch.tensor([[[[0.25, 0.75]]]]), 0.5)
    tensor([[[[0.2500, 0.2500]]]])
    """
    _check_images(images, torch.float32)
    return torch.where(images > _per_image(threshold, images), 1 - images, images)


def posterize(images: Tensor, bits: float | Tensor) -> Tensor:
    """Keep only the first bits of each 8-bit value, so that few shades are left.

    images (B, C, H, W) float32 in 0..1; bits in 0..8, one number or (B,). Returns (B, C, H, W).

    >>> posterize(torch.tensor([[[[100.0, 200.0]]]]) / 255, 1) * 255
    tensor([[[[  0., 128.]]]])
    """
    _check_images(images, torch.float32)
    step = 2 ** (8 - _per_image(bits, images))  # a shade stands for this many values
    return torch.floor(torch.round(images * 255) / step) * step / 255


def autocontrast(images: Tensor) -> Tensor:
    """Stretch each channel of each image to fill 0..1; a flat channel stays as it is.

    images (B, C, H, W) float32 in 0..1. Returns (B, C, H, W).

    >>> autocontrast(torch.tensor([[[[0.25, 0.5, 0.75]]]]))
    tensor([[[[0.0000, 0.5000, 1.0000]]]])
    """
    _check_images(images, torch.float32)
    low = images.amin((2, 3), keepdim=True)  # (B, C, 1, 1)
    span = images.amax((2, 3), keepdim=True) - low  # (B, C, 1, 1)
    return torch.where(span > 0, (images - low) / span.clamp(min=1e-6), images)


def equalize(images: Tensor) -> Tensor:
    """Spread the 256 shades of each channel so that all are about equally common.

    images (B, C, H, W) float32 in 0..1. Returns (B, C, H, W). The whole-number rule is the one of
    Pillow's ImageOps.equalize.

    >>> (equalize(torch.tensor([[[[0.0, 0.4, 0.5, 0.6]]]]).repeat(1, 1, 255, 1)) * 255).unique()
    tensor([  0.,  85., 170., 255.])
    """
    _check_images(images, torch.float32)
    shades = torch.round(images.flatten(2) * 255).long()  # (B, C, H W)
    counts = shades.new_zeros(*shades.shape[:2], 256)
    counts.scatter_add_(2, shades, torch.ones_like(shades))  # (B, C, 256)
    brightest = counts.gather(2, shades.amax(2, keepdim=True))  # (B, C, 1)
    step = (shades.shape[2] - brightest) // 255  # (B, C, 1) pixels to each new shade
    below = counts.cumsum(2) - counts  # (B, C, 256) pixels darker than each shade
    new = ((below + step // 2) // step.clamp(min=1)).clamp(max=255)  # (B, C, 256)
    equal = torch.where(step > 0, new.gather(2, shades), shades)  # (B, C, H W)
    return (equal.float() / 255).view_as(images)


# --- RandAugment --------------------------------------------------------------------------------

# Each takes images (b, C, H, W) and strengths (b,) in -1..1, of which some use only the size. The
# largest changes are those of AutoAugment (Cubuk et al., 2019), from which RandAugment takes them.
RAND_OPERATIONS = {
    "identity": lambda x, s: x,
    "autocontrast": lambda x, s: autocontrast(x),
    "equalize": lambda x, s: equalize(x),
    "rotate": lambda x, s: affine(x, rotate=30 * s),
    "solarize": lambda x, s: solarize(x, 1 - s.abs()),
    "saturation": lambda x, s: saturation(x, 1 + 0.9 * s),
    "posterize": lambda x, s: posterize(x, 8 - (4 * s.abs()).round()),
    "contrast": lambda x, s: contrast(x, 1 + 0.9 * s),
    "brightness": lambda x, s: brightness(x, 1 + 0.9 * s),
    "sharpness": lambda x, s: sharpness(x, 1 + 0.9 * s),
    "shear-x": lambda x, s: affine(x, shear_x=0.3 * s),
    "shear-y": lambda x, s: affine(x, shear_y=0.3 * s),
    "translate-x": lambda x, s: affine(x, right=0.45 * x.shape[3] * s),
    "translate-y": lambda x, s: affine(x, down=0.45 * x.shape[2] * s),
}


def rand_augment(
    images: Tensor, num_ops: int, magnitude: float, generator: torch.Generator
) -> Tensor:
    """RandAugment-style: num_ops operations per image, drawn at random, all of one magnitude.

    images (B, C, H, W) float32 in 0..1; num_ops at least 0; magnitude in 0..10. Each image draws
    its own operations from the 14 of RAND_OPERATIONS, with replacement. Returns (B, C, H, W).

    After Cubuk et al., 2020 (RandAugment), section 3. What differs from the authors' code: the
    direction of brightness, contrast, saturation and sharpness is drawn, as it is for geometry, so
    that magnitude 0 is no change (autocontrast and equalize have no magnitude and always act);
    geometry is bilinear, not nearest pixel; values are not rounded to 8 bits in between.

    >>> rand_augment(torch.rand(4, 3, 6, 8), 2, 5, torch.Generator().manual_seed(0)).shape
    torch.Size([4, 3, 6, 8])
    """
    _check_images(images, torch.float32)
    if num_ops < 0:
        raise ValueError(f"num_ops={num_ops} must be at least 0")
    if not 0 <= magnitude <= 10:
        raise ValueError(f"magnitude={magnitude} must lie in 0..10")
    for _ in range(num_ops):
        choice = _draw_whole(generator, len(RAND_OPERATIONS), len(images)).to(images.device)
        signs = 2 * _draw_whole(generator, 2, len(images)).to(images.device) - 1  # (B,) -1 or 1
        changed = images.clone()
        # The images that drew the same operation go through it together.
        for index, operation in enumerate(RAND_OPERATIONS.values()):
            chosen = (choice == index).nonzero().flatten()  # (b,)
            if len(chosen):
                changed[chosen] = operation(images[chosen], signs[chosen] * magnitude / 10)
        images = changed
    return images


# --- Mixing two images and their targets --------------------------------------------------------


def _check_mix(images: Tensor, targets: Tensor, alpha: float) -> None:
    _check_images(images, torch.float32)
    if targets.ndim != 2 or len(targets) != len(images):
        raise ValueError(
            f"targets has shape {tuple(targets.shape)}; it must be (B, K) for {len(images)} images"
        )
    if not alpha > 0:
        raise ValueError(f"alpha={alpha} must be above 0")


def _draw_shares(
    images: Tensor, alpha: float, generator: torch.Generator, per_image: bool
) -> tuple[Tensor, Tensor]:
    """For each image, the share it keeps, from Beta(alpha, alpha), and the partner it mixes with.

    Torch's Beta takes no generator, so numpy draws it, from a seed that our generator gives.
    Returns shares (B,), all equal unless per_image, and partners (B,) as indices.
    """
    batch = len(images)
    beta = np.random.default_rng(int(_draw_whole(generator, 2**62)))
    shares = torch.from_numpy(beta.beta(alpha, alpha, batch if per_image else 1)).float()
    partners = torch.randperm(batch, generator=generator, device=generator.device)
    return shares.expand(batch).to(images.device), partners.to(images.device)


def mixup(
    images: Tensor,
    targets: Tensor,
    alpha: float,
    generator: torch.Generator,
    per_image: bool = True,
) -> tuple[Tensor, Tensor]:
    """Average each image with another of the batch, and their targets alike (Zhang et al., 2018).

    images (B, C, H, W) float32; targets (B, K); the share that an image keeps is drawn from
    Beta(alpha, alpha), for each image or, as in the paper's code, once for the batch. Returns both
    in the same shapes; rows of targets that sum to 1 still do. Section 2 of the paper.

    >>> images, targets = mixup(
    ...     torch.rand(2, 3, 6, 8), torch.eye(2), 1.0, torch.Generator().manual_seed(0))
    >>> targets.sum(1)
    tensor([1., 1.])
    """
    _check_mix(images, targets, alpha)
    shares, partners = _draw_shares(images, alpha, generator, per_image)
    mixed = torch.lerp(images[partners], images, _per_image(shares, images))  # (B, C, H, W)
    return mixed, torch.lerp(targets[partners], targets, shares[:, None])


def cutmix(
    images: Tensor,
    targets: Tensor,
    alpha: float,
    generator: torch.Generator,
    per_image: bool = True,
) -> tuple[Tensor, Tensor]:
    """Paste a rectangle of another image into each; targets share by area (Yun et al., 2019).

    images (B, C, H, W) float32; targets (B, K); the area that an image keeps is drawn from
    Beta(alpha, alpha), for each image or once for the batch. The rectangle has the image's shape
    and its centre anywhere, so the edge may cut it; the targets follow the area that is really
    pasted. Returns both in the same shapes. Section 3 of the paper.

    >>> images, targets = cutmix(
    ...     torch.rand(2, 3, 6, 8), torch.eye(2), 1.0, torch.Generator().manual_seed(0))
    >>> targets.sum(1)
    tensor([1., 1.])
    """
    _check_mix(images, targets, alpha)
    shares, partners = _draw_shares(images, alpha, generator, per_image)
    batch, _, height, width = images.shape
    side = (1 - shares).sqrt()  # (B,) rectangle's side as a part of the picture's
    tall, wide = (height * side).round().long(), (width * side).round().long()  # (B,)
    places = (batch,) if per_image else (1,)
    top = _draw_whole(generator, height, *places).to(images.device) - tall // 2  # (B,)
    left = _draw_whole(generator, width, *places).to(images.device) - wide // 2  # (B,)
    pasted = rectangles(top, left, top + tall, left + wide, (height, width))  # (B, 1, H, W)
    kept = 1 - pasted.float().mean((2, 3))  # (B, 1)
    mixed = torch.where(pasted, images[partners], images)  # (B, C, H, W)
    return mixed, torch.lerp(targets[partners], targets, kept)


# --- A policy is a fixed chain of these steps ---------------------------------------------------


class Augment:
    """A policy with its own seeded generator: call it on each training batch.

    policy: one of POLICIES. With S for the shorter side of the images (32 for CIFAR):

    - "none" changes nothing;
    - "basic" crops, after S/8 pixels of black padding, and flips;
    - "medium" adds random_affine, random_colour, and cutout of a square of side S/4;
    - "strong" is "basic", then rand_augment (2 operations, magnitude 5) and cutout of side S/2;
    - "strong+mix" adds, for one batch in two by chance, mixup (alpha 0.8), else cutmix (alpha 1).

    seed: starts `augment.generator`, whose get_state and set_state save and restore the stream of
    draws exactly.

    Calling takes images (B, C, H, W) uint8, labels (B,) int64 and num_classes K. It returns
    images (B, C, H, W) float32 in 0..1, not normalised, and targets (B, K) float32 whose rows sum
    to 1. An unknown policy or a wrong shape, dtype or label gives a ValueError.

    >>> augment = Augment("basic", seed=0)
    >>> images = torch.full((2, 3, 8, 8), 255, dtype=torch.uint8)
    >>> out, targets = augment(images, torch.tensor([2, 0]), num_classes=3)
    >>> out.shape, out.dtype, float(out.max())
    (torch.Size([2, 3, 8, 8]), torch.float32, 1.0)
    >>> targets.tolist()
    [[0.0, 0.0, 1.0], [1.0, 0.0, 0.0]]
    """

    def __init__(self, policy: str = "basic", seed: int = 0):
        if policy not in POLICIES:
            raise ValueError(f"policy={policy!r} must be one of {POLICIES}")
        self.policy = policy
        self.generator = torch.Generator().manual_seed(seed)

    def __call__(self, images: Tensor, labels: Tensor, num_classes: int) -> tuple[Tensor, Tensor]:
        _check_images(images, torch.uint8)
        if len(labels) != len(images):
            raise ValueError(f"labels has {len(labels)} entries for {len(images)} images")
        targets = one_hot(labels, num_classes).to(images.device)  # (B, K)
        if self.policy == "none":
            return images.float() / 255, targets
        side = min(images.shape[2:])
        images = random_crop(images, max(1, side // 8), self.generator)  # uint8: a quarter of
        images = random_flip(images, self.generator).float() / 255  # the bytes to move
        if self.policy == "medium":
            images = random_colour(random_affine(images, self.generator), self.generator)
            images = cutout(images, max(1, side // 4), self.generator, fill=GREY)
        elif self.policy != "basic":
            images = rand_augment(images, 2, 5, self.generator)
            images = cutout(images, max(1, side // 2), self.generator, fill=GREY)
        if self.policy == "strong+mix":
            first = float(_draw(self.generator, 1)) < 0.5
            mix, alpha = (mixup, 0.8) if first else (cutmix, 1.0)
            images, targets = mix(images, targets, alpha, self.generator)
        return images.clamp(0, 1), targets  # bilinear sampling rounds, now and then just past 1

    def __repr__(self) -> str:
        return f"Augment(policy={self.policy!r})"


def one_hot(labels: Tensor, num_classes: int) -> Tensor:
    """Labels as rows of targets: 1 at the label, 0 elsewhere.

    labels (B,) int64 in 0..num_classes-1. Returns (B, K) float32.

    >>> one_hot(torch.tensor([1, 0]), 3).tolist()
    [[0.0, 1.0, 0.0], [1.0, 0.0, 0.0]]
    """
    if labels.ndim != 1 or labels.dtype != torch.int64:
        raise ValueError(
            f"labels has shape {tuple(labels.shape)} and dtype {labels.dtype}; "
            "it must be (B,) torch.int64"
        )
    if len(labels) and not (0 <= int(labels.min()) and int(labels.max()) < num_classes):
        raise ValueError(
            f"labels range over {int(labels.min())}..{int(labels.max())}; "
            f"each must lie in 0..{num_classes - 1}"
        )
    return F.one_hot(labels, num_classes).float()  # (B, K)
