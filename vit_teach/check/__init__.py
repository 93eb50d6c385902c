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

from .chapter01 import largest_side, nearest_colour, one_token, sequence_cost, three_bits
from .chapter02 import cut_judge, patchify, repaired, unpatchify, where
from .chapter03 import from_google, projection, projection_cost, survivors, twice_kernel
from .chapter04 import resize_positions, shuffled_table, sincos, sincos_2d, tokens
from .chapter05 import attention, attention_in_pieces, multi_head, repack, row_attention
from .chapter06 import encoder_block, join_kernels, layer_norm, mean_vit, mlp
from .chapter07 import fold, reached, surround, window
from .chapter08 import decay_alone, smoothed_loss
from .chapter10 import forced_invariance, left_right_tied
from .chapter12 import head_step
from .chapter13 import time_needed
from .chapter14 import near_head, same_maps
from .isolate import NoAnswer, Wrong, answered

__all__ = [
    "NoAnswer", "Wrong", "answered", "attention", "attention_in_pieces", "cut_judge",
    "decay_alone", "encoder_block", "fold", "forced_invariance", "from_google", "head_step",
    "join_kernels", "largest_side", "layer_norm", "left_right_tied", "mean_vit", "mlp",
    "multi_head", "near_head", "nearest_colour", "one_token", "patchify", "projection",
    "projection_cost", "reached", "repack", "repaired", "resize_positions", "row_attention",
    "same_maps", "sequence_cost", "shuffled_table", "sincos", "sincos_2d", "smoothed_loss",
    "surround", "survivors", "three_bits", "time_needed", "tokens", "twice_kernel", "unpatchify",
    "where", "window",
]  # fmt: skip
