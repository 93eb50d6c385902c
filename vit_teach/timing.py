"""How much time a call takes on one processor core."""

import time

import torch


def samples(function, *inputs, at_least=0.15):
    """Processor time of each of several calls of ``function(*inputs)``: a list of seconds.

    One thread; the call is repeated at least three times, and until it has used ``at_least``
    seconds. The clock counts only what this thread computes, so other programs on the machine
    disturb it little. Only for work on a CPU: a GPU computes beside the processor.

    >>> len(samples(torch.add, torch.zeros(8), 1.0, at_least=0))
    3
    """
    threads = torch.get_num_threads()
    torch.set_num_threads(1)
    try:
        function(*inputs)  # the first call also pays for preparations
        times = []
        while len(times) < 3 or sum(times) < at_least:
            start = time.thread_time()
            function(*inputs)
            times.append(time.thread_time() - start)
    finally:
        torch.set_num_threads(threads)
    return times


def seconds(function, *inputs, at_least=0.15):
    """Processor time of ``function(*inputs)`` in seconds: the fastest of :func:`samples`.

    >>> 0 < seconds(torch.add, torch.zeros(8), 1.0, at_least=0) < 1
    True
    """
    return min(samples(function, *inputs, at_least=at_least))
