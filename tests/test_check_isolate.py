"""What a learner's function may do by accident: reported for what it is, harming nothing."""

import ctypes
import os
import signal
import subprocess
import sys
import threading
import time
import warnings

import pytest
import torch
from check_answers import PATCHIFY, cut_loop

import vit_teach as vt
from vit_teach import check
from vit_teach.check import isolate, plain
from vit_teach.check.isolate import results


def loop(images, patch):
    while True:
        pass


def loop_in_c(images, patch):
    return sum(range(10**13))


def loop_that_holds_on(images, patch):
    signal.signal(signal.SIGTERM, signal.SIG_IGN)
    while True:
        try:
            time.sleep(1)
        except BaseException:
            pass


def ends(images, patch):
    os._exit(0)


def exits(images, patch):
    sys.exit("enough")


def chatty(images, patch):
    print("x" * 20_000_000)


def greedy(images, patch):
    return torch.ones(6 << 30, dtype=torch.uint8)


def greedy_list(images, patch):
    return len([0] * (400 << 20))


def crashes(images, patch):
    ctypes.string_at(0)


def endless_call(images, patch):
    return endless_call(images, patch)


def stops(images, patch):
    return images.reshape(3, 7)


def forged(images, patch):
    for descriptor in range(3, 60):
        try:
            os.write(descriptor, (4).to_bytes(8, "big") + b"null")
        except OSError:
            pass
    os._exit(0)


HOSTILE = [
    (loop, "did not come back within 1 seconds"),
    (loop_in_c, "did not come back within 1 seconds"),
    (loop_that_holds_on, "did not come back within 1 seconds"),
    (ends, "ends the whole program"),
    (exits, "calls exit()"),
    (chatty, "prints or writes more than 64 kB"),
    (greedy, "needs more than 2 GB of memory"),
    (greedy_list, "needs more than 2 GB of memory"),
    (crashes, r"crashed Python (signal 11)"),
    (endless_call, "calls itself without end"),
    (stops, "return images.reshape(3, 7)"),
    (forged, "disturbs the check"),
]


@pytest.fixture
def second(monkeypatch):
    """A check may last one second, so that tests of loops are short."""
    monkeypatch.setattr(isolate.results, "__defaults__", ((), 1))


@pytest.mark.parametrize(
    ("answer", "words"), HOSTILE, ids=lambda part: getattr(part, "__name__", "")
)
def test_a_hostile_answer_is_reported_and_harms_nothing(
    answer, words, second, tmp_path, monkeypatch
):
    monkeypatch.chdir(tmp_path)
    state, threads = torch.get_rng_state(), threading.active_count()
    filters, start = warnings.filters[:], time.perf_counter()
    with pytest.raises(check.Wrong) as caught:
        check.patchify(answer)
    assert words in str(caught.value) and not isinstance(caught.value, check.NoAnswer)
    assert time.perf_counter() - start < 10
    assert torch.equal(state, torch.get_rng_state()) and threads == threading.active_count()
    assert warnings.filters == filters and list(tmp_path.iterdir()) == []
    check.patchify(cut_loop)


def test_five_seconds_are_the_limit():
    assert isolate.results.__defaults__ == ((), 5) and isolate.SECONDS == 5


def test_threads_processes_and_warnings_of_an_answer_do_not_matter(capfd, tmp_path):
    note = tmp_path / "alive"

    def busy(images, patch):
        threading.Thread(target=time.sleep, args=(30,)).start()
        if os.fork() == 0:
            signal.signal(signal.SIGTERM, signal.SIG_IGN)
            time.sleep(2)
            note.write_text("still here")
            os._exit(0)
        print("harmless", file=sys.stderr)
        warnings.warn("harmless too", stacklevel=1)
        return cut_loop(images, patch)

    start = time.perf_counter()
    check.patchify(busy)
    out, err = capfd.readouterr()
    assert "harmless" in out and "patchify: right" in out and err == ""
    assert time.perf_counter() - start < 20  # the thread alone would take 30
    time.sleep(2.5)
    assert not note.exists()


def test_a_check_of_a_right_answer_takes_a_fifth_of_a_second():
    busy = max(1, os.getloadavg()[0] / os.cpu_count())  # others may share the machine
    check.patchify(cut_loop)
    times = []
    for _ in range(5):
        start = time.perf_counter()
        check.patchify(cut_loop)
        times.append(time.perf_counter() - start)
    assert min(times) < 0.2 * busy


def test_every_name_of_the_books_function_is_off_and_on_again():
    alias = vt.patchify
    with pytest.raises(check.Wrong, match="switched off"):
        check.patchify(lambda images, patch: alias(images, patch))
    assert alias(torch.zeros(1, 1, 2, 2), 2).shape == (1, 1, 4)


def test_a_function_behind_a_decorator_is_off_too():
    with pytest.raises(check.Wrong, match="switched off"):
        check.window(vt.probe.receptive_field)
    assert vt.probe.receptive_field([(3, 1, 1)]) == (3, 1, -1)


def test_training_in_the_child_works_after_training_here():
    def train(x):
        layer = torch.nn.Linear(64, 64)
        (layer(x) ** 2).sum().backward()
        return layer.weight.grad.abs().sum().item() > 0

    data = torch.randn(256, 64)
    assert train(data)
    assert results([lambda answer: answer(data)], train)[0] == [True]


def test_a_message_in_a_notebook_is_one_line():
    assert check.Wrong("because")._render_traceback_() == ["\x1b[31mNot yet.\x1b[0m because"]
    assert "no answer in the cell yet" in check.NoAnswer()._render_traceback_()[0]


# --- Where there is no fork ----------


@pytest.fixture
def forkless(monkeypatch):
    monkeypatch.setattr(isolate, "can_fork", lambda: False)


def test_without_fork_answers_are_judged_the_same(forkless):
    check.patchify(cut_loop)
    for answer, words in PATCHIFY:
        with pytest.raises(check.Wrong) as caught:
            check.patchify(answer)
        assert words in str(caught.value)
    assert vt.patchify(torch.zeros(1, 1, 2, 2), 2).shape == (1, 1, 4)


def test_without_fork_a_loop_in_python_and_an_exit_are_caught(forkless, second):
    for answer in (loop, exits, endless_call):
        with pytest.raises(check.Wrong):
            check.patchify(answer)


def test_a_system_whose_children_cannot_compute_is_found_out(monkeypatch):
    monkeypatch.setattr(isolate, "_in_child", lambda *a, **k: (None, True, 0))
    isolate.can_fork.cache_clear()
    assert isolate.can_fork() is False
    isolate.can_fork.cache_clear()


def test_importing_the_book_does_not_load_the_checks():
    code = "import sys, vit_teach; print('vit_teach.check' in sys.modules)"
    run = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True)
    assert run.stdout.strip() == "False"


# --- Plain values ----------


@pytest.mark.parametrize("kind", plain.DTYPES.values(), ids=str)
@pytest.mark.parametrize("shape", [(), (0, 3), (2, 3)], ids=str)
def test_a_tensor_comes_back_as_it_was(kind, shape):
    tensor = torch.arange(6).reshape(2, 3)[: shape[0] if shape else 1].to(kind)
    tensor = tensor if shape else tensor[0, 0]
    back = plain.unpack(plain.pack(tensor))
    assert back.dtype == kind and back.shape == tensor.shape and torch.equal(back, tensor)


def test_other_values_come_back_or_tell_their_type():
    value = {"a": [1, (2.5, None)], 3: "x"}
    assert plain.unpack(plain.pack(value)) == value
    assert plain.unpack(plain.pack(threading.Lock())).name == "lock"
    huge = plain.unpack(plain.pack(torch.zeros(1).expand(2000, 2000)))
    assert huge.is_meta and huge.shape == (2000, 2000)


NO_VALUES = [
    '{"tensor": "float32", "shape": [2], "data": "AAAA"}',
    '{"tensor": "object", "shape": [1], "data": ""}',
    "{}",
    "nope",
]


@pytest.mark.parametrize("text", NO_VALUES)
def test_text_that_is_no_packed_value_is_refused(text):
    with pytest.raises(ValueError):
        plain.unpack(text)
