"""Every public name of the package with one wrong argument or two: right, or a ValueError."""

import contextlib
import inspect
import io
import types
import warnings
from pathlib import Path

import matplotlib.pyplot as plt
import pytest
import torch
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st
from right_arguments import CALLS, IMAGES, MODEL, NO_FILE, NOT_TRIED

import vit_teach as vt
from vit_teach.check import isolate

ODD = [
    None, True, False, -1, 0, 1, 7, 2**31, 2**63, 10**400, 0.5, -0.5, float("nan"), float("inf"),
    1e308, "", "x", "\0", "~nobody-of-this-name", "/", b"x", (), (1,), (0, 0), (-1, 2), (1, 2, 3),
    [], [None], {}, {"x": 1}, {1: 2}, set(), object(), len, torch.zeros(()), torch.zeros(0),
    torch.zeros(2, 3), torch.zeros(1, 3, 4, 4), torch.full((1, 3, 4, 4), float("nan")),
    torch.zeros(3, 4, 4, dtype=torch.int64), torch.zeros(1, 3, 4, 4, dtype=torch.complex64),
    IMAGES.subset(1), MODEL.config, torch.nn.Linear(2, 2),
]  # fmt: skip
# Any amount of work may be asked for: sizes are small here, or more than any size may be.
INTEGERS = st.integers(-20, 20) | st.integers(min_value=2**31) | st.integers(max_value=-(2**31))
VALUES = st.sampled_from(ODD) | INTEGERS | st.floats() | st.text(max_size=9)
EXAMPLES = {"plots": 8, "widgets": 10, "check": 3}  # by door; the others get 20
FEW = {"train.train": 3, "train.Trainer": 4, "train.make_optimizers": 6, "weights.recorded": 6}

# Any amount of work may be asked for, and any place be read: no wrong argument.
TOO_MUCH = {
    "data.shapes": {"n"}, "train.batch_indices": {"batch_size", "length"},
    "results.read_cards": {"folder"}, "train.evaluate": {"model", "batch_size"},
    "cost.samples": {"at_least"}, "cost.seconds": {"at_least"},
}  # fmt: skip
# What is wrong without a file, a card or an answer, whatever else is given.
NEVER_RIGHT = {"weights.save", "results.write_card", "experiments.quick"}
# Where the words of others are good enough: torch names both sides, a function knows itself.
OWN_WORDS = {
    "cost.samples": "what the reader's own function raises",
    "cost.seconds": "what the reader's own function raises",
    "vit.attention_weights": "tensors of two types, or with leading axes that do not go together",
    "vit.attend": "tensors of two types, or with leading axes that do not go together",
    "train.train": "a model of the reader's own that cannot take pictures",
}


def function(name):
    room, _, part = name.partition(".")
    return getattr(getattr(vt, room), part)


def quietly(name, arguments):
    with contextlib.redirect_stdout(io.StringIO()), warnings.catch_warnings():
        warnings.simplefilter("ignore")
        try:
            return function(name)(**arguments)
        finally:
            plt.close("all")


def public_names():
    """ "door.name" of everything that takes arguments, by each door's own list."""
    for door in vt.DOORS:
        room = getattr(vt, door)
        own = [n for n, v in vars(room).items() if getattr(v, "__module__", "") == room.__name__]
        for part in getattr(room, "__all__", [n for n in own if not n.startswith("_")]):
            value = getattr(room, part)
            exception = isinstance(value, type) and issubclass(value, Exception)
            if isinstance(value, types.ModuleType) or not callable(value):
                continue
            if exception or inspect.signature(value).parameters:
                yield f"{door}.{part}"


def test_no_public_name_is_forgotten():
    """A new name goes into the table of right arguments, or gets a reason there."""
    assert not set(CALLS) & set(NOT_TRIED) and all(NOT_TRIED.values())
    assert set(public_names()) == set(CALLS) | set(NOT_TRIED)
    short = [name for name in vt.__all__ if name not in vt.DOORS]
    assert all(getattr(vt, name) is getattr(vt.vit, name) for name in short)


@pytest.fixture(autouse=True)
def nothing_here(monkeypatch, tmp_path_factory):
    """No data, a place to write, and checks without a process of their own."""
    monkeypatch.chdir(tmp_path_factory.getbasetemp())
    monkeypatch.setenv("VIT_TEACH_DATA", NO_FILE)
    monkeypatch.setattr(isolate, "can_fork", lambda: False)


@pytest.mark.parametrize("name", CALLS)
def test_the_right_arguments_are_right(name):
    arguments = CALLS[name]
    signature = inspect.signature(function(name))
    assert set(arguments) <= set(signature.parameters) or "**" in str(signature)
    try:
        quietly(name, arguments)
    except FileNotFoundError:
        pass  # no data here
    except isolate.NoAnswer:
        assert name.startswith("check.")
    except ValueError:
        assert name in NEVER_RIGHT or NO_FILE in arguments.values()


def names_it(words, arguments):
    """Whether a message names an argument, or shows its value."""
    shown = [text for value in arguments.values() for text in (repr(value), str(value))]
    shown += [str(Path(value)) for value in arguments.values() if isinstance(value, str)]
    return any(name in words for name in arguments) or any(s and s[:20] in words for s in shown)


@pytest.mark.parametrize("name", CALLS)
def test_a_wrong_argument_is_a_value_error(name):
    count = FEW.get(name, EXAMPLES.get(name.partition(".")[0], 20))

    @settings(max_examples=count, deadline=None, derandomize=True, database=None,
              suppress_health_check=list(HealthCheck))  # fmt: skip
    @given(data=st.data())
    def tried(data):
        arguments = dict(CALLS[name])
        free = sorted(set(arguments) - TOO_MUCH.get(name, set()))
        for changed in data.draw(st.lists(st.sampled_from(free), min_size=1, max_size=2)):
            arguments[changed] = data.draw(VALUES)
        try:
            quietly(name, arguments)
        except isolate.Wrong:
            assert name.startswith("check.")  # what is no answer is a wrong one
        except FileNotFoundError as error:  # documented: there are no data here
            assert str(error)
        except ValueError as error:
            assert names_it(str(error), arguments), error
        except (RuntimeError, TypeError):
            assert name in OWN_WORDS

    tried()


@pytest.mark.parametrize(("length", "dim"), [(6.6, 8), (-1, 8), (6, 8.0), (6, 7), ("6", 8), (6, 0)])
def test_a_table_of_waves_has_whole_sizes(length, dim):
    with pytest.raises(ValueError, match=r"(length|dim)="):
        vt.sincos_1d(length, dim)
