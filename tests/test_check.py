"""Each check refuses known wrong answers, each with its words, and takes right ones in any form."""

import re
import time

import pytest
import torch
from check_answers import ANSWERS

from vit_teach import check

WRONG = [
    pytest.param(name, answer, words, id=f"{name}: {words}")
    for name, (wrong, _) in ANSWERS.items()
    for answer, words in wrong
]
RIGHT = [
    pytest.param(name, answer, id=f"{name}-{number}")
    for name, (_, right) in ANSWERS.items()
    for number, answer in enumerate(right)
]


def test_every_check_has_six_wrong_answers_and_three_right_ones():
    checks = {name for name in check.__all__ if name[0].islower()} - {"answered"}
    assert checks == set(ANSWERS)
    for name, (wrong, right) in ANSWERS.items():
        assert len({words for _, words in wrong}) >= 6 and len(right) >= 3, name


@pytest.mark.parametrize(("name", "answer", "words"), WRONG)
def test_a_wrong_answer_hears_what_is_wrong(name, answer, words):
    with pytest.raises(check.Wrong, match=re.escape(words)):
        getattr(check, name)(answer)


@pytest.mark.parametrize(("name", "answer"), RIGHT)
@pytest.mark.parametrize("seed", [0, 7])
def test_a_right_answer_is_right_in_any_form(name, answer, seed, capsys):
    getattr(check, name)(answer, seed=seed)
    assert re.fullmatch(rf"{name}: right \(\d+ cases\)\n", capsys.readouterr().out)


@pytest.mark.parametrize("name", ANSWERS)
def test_a_stub_is_told_kindly_that_the_answer_is_missing(name):
    def stub(*inputs):
        raise NotImplementedError  # your code here

    with pytest.raises(check.NoAnswer, match="There is no answer in the cell yet"):
        getattr(check, name)(stub)


@pytest.mark.parametrize("name", ANSWERS)
def test_what_is_no_function_is_refused(name):
    with pytest.raises(check.Wrong, match=rf"check\.{name} wants your function or class itself"):
        getattr(check, name)(3)
    with pytest.raises(check.NoAnswer):
        getattr(check, name)(...)


def test_another_seed_asks_other_questions(capsys):
    from vit_teach.check import chapter02

    shapes = [[images.shape for images, _ in chapter02.sizes(seed, 8)] for seed in (0, 1)]
    assert shapes[0] != shapes[1]


@pytest.mark.parametrize("name", ANSWERS)
def test_a_check_leaves_the_random_numbers_of_the_notebook_alone(name):
    state = torch.get_rng_state()
    getattr(check, name)(ANSWERS[name][1][0])
    assert torch.equal(state, torch.get_rng_state())


@pytest.mark.parametrize("name", ANSWERS)
def test_a_check_takes_less_than_two_seconds(name):
    answer, times = ANSWERS[name][1][0], []
    for _ in range(3):  # the fastest of three: the machine may be busy with other things
        start = time.perf_counter()
        getattr(check, name)(answer)
        times.append(time.perf_counter() - start)
    assert min(times) < 2
