"""Checks that tell a reader at once whether an answer is right, and if not, why.

Each function takes your own function or class, asks it a few small questions in a child process
with limits on time, memory and output, and compares the replies with a trusted reference. A wrong
answer raises :class:`Wrong`, whose message names the property that is broken; where the reply is
what a well-known mistake gives, it names the mistake. ``seed`` draws other sizes and numbers.

>>> from vit_teach import check
>>> check.where(lambda channel, y, x, width, patch: (0, 0))
Traceback (most recent call last):
vit_teach.check.isolate.Wrong: (1, 7) is wanted, yours is (0, 0). (channel=1, y=1, x=3, width=6, ...

For the exercises of chapters 1 to 15.
"""

from .chapter01 import nearest_colour, one_token, sequence_cost
from .chapter02 import patchify, repaired, unpatchify, where
from .chapter03 import from_google, projection, projection_cost, twice_kernel
from .chapter04 import resize_positions, sincos, sincos_2d, tokens
from .chapter05 import attention, multi_head, repack, row_attention
from .chapter06 import encoder_block, join_kernels, layer_norm, mlp
from .chapter07 import fold, reached, surround, window
from .isolate import NoAnswer, Wrong, answered

__all__ = [
    "NoAnswer", "Wrong", "answered", "attention", "encoder_block", "fold", "from_google",
    "join_kernels", "layer_norm", "mlp", "multi_head", "nearest_colour", "one_token", "patchify",
    "projection", "projection_cost", "reached", "repack", "repaired", "resize_positions",
    "row_attention", "sequence_cost", "sincos", "sincos_2d", "surround", "tokens", "twice_kernel",
    "unpatchify", "where", "window",
]  # fmt: skip
