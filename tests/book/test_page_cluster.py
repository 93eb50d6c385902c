"""From a laptop to a cluster: its arithmetic holds, and its words say what its cells say."""

import re

import chapters
import pytest

import vit_teach as vt
from vit_teach.experiments.__main__ import make_parser
from vit_teach.experiments.lab.cluster import PACKAGE
from vit_teach.train.__main__ import make_parser as training_parser

NAME = "appendix/cluster"
PUBLIC = "ViT-L/16", "ImageNet-21k"
DAY, WEEK, YEAR = 86_400, 7 * 86_400, 365.25 * 86_400


def page(*changes):
    """The variables of the page after its cells, with other assumptions if ``changes`` say so."""
    return chapters.built(NAME, changes)


def test_the_formula_is_six_times_the_multiply_adds_of_every_picture_seen():
    config = vt.PRESETS["ViT-B/16"]
    head = config.embed_dim * config.num_classes
    expected = 6 * (vt.cost.macs(config) - head) * 14_000_000 * 90 / 1e18
    assert page()["work"]["ViT-B/16", "ImageNet-21k"] == pytest.approx(expected)


def test_the_times_follow_from_the_assumptions():
    flops = page()["work"][PUBLIC] * 1e18
    alone = page()["seconds"](page()["work"][PUBLIC], "A100")
    assert alone == pytest.approx(flops / (0.4 * 312e12))
    many = page()["seconds"](page()["work"][PUBLIC], "A100", 64)
    assert alone / many == pytest.approx(64 * 0.9)


def test_every_assumption_can_be_changed_in_its_cell():
    other = page(("UTILISATION = 0.40", "UTILISATION = 0.20"), ('GPU = "A100"', 'GPU = "H100"'))
    before, after = page()["rows"], other["rows"]
    assert [name for name, _ in before] == [name for name, _ in after]
    assert all(one != two for (_, one), (_, two) in zip(before, after, strict=True))
    assert other["columns"][2] == "1 H100" and "20%" in other["title"]


@pytest.mark.parametrize(
    ("spent", "words"), [(3 * YEAR, "3 years"), (9.4 * DAY, "9 days"), (DAY, "24 hours")]
)
def test_a_time_is_told_in_its_unit(spent, words):
    assert page()["told"](spent) == words


def test_the_answer_says_what_the_table_says():
    text, one = chapters.markdown(NAME), page()["work"][PUBLIC]
    assert "about six weeks for one GPU" in text and "less than a day for 64" in text
    assert "about a century" in text
    assert page()["seconds"](one, "A100") / WEEK == pytest.approx(6, abs=0.5)
    assert page()["seconds"](one, "A100", 64) < DAY
    assert one * 1e18 / page()["reached"] / YEAR == pytest.approx(100, abs=15)


def test_the_words_about_the_papers_days_hold():
    parts = {}
    for row, printed in page()["TABLE2"].items():
        parts[row] = page()["seconds"](page()["work"][row], "TPU v3 core") / DAY / printed - 1
    small, middle, large = (parts[row] for row in page()["TABLE2"])
    assert abs(small) < 0.1 and abs(middle) < 0.1 and -0.22 < large < -0.18
    share, fewer = page()["share"], page()["fewer"]
    assert all(share[row] * part < 0.75 * share["ViT-H/14", "JFT"] for row, part in fewer.items())


def test_the_words_about_the_figure_hold():
    rows = {(model, data): accuracy for model, data, _, accuracy in page()["ROWS"]}
    work = page()["work"]
    gains = [rows["ViT-L/16", data] - rows["ViT-B/16", data] for data in ("ImageNet-21k", "JFT")]
    costs = [work["ViT-L/16", data] / work["ViT-B/16", data] for data in ("ImageNet-21k", "JFT")]
    assert gains[1] > gains[0] > 0 and min(costs) > 3
    order = sorted(work, key=work.get)
    assert [f"{model[4:]} {data[-3:]}" for model, data in order] == [
        "B/16 21k", "B/16 JFT", "L/16 21k", "L/16 JFT", "H/14 JFT"
    ]  # fmt: skip


def test_the_salesmans_peak():
    assert 12 * page()["PEAK"]["H100"] * DAY / 1e18 == pytest.approx(1_000, rel=0.03)


def commands():
    """The command lines of the page, each as one line without its program."""
    text = re.sub(r" \\\n +", " ", chapters.markdown(NAME))
    fenced = "\n".join(re.findall(r"^```\n(.*?)^```", text, re.M | re.S))
    return [line for line in fenced.splitlines() if "vit_teach" in line]


def test_the_commands_are_ones_that_the_package_takes():
    found = commands()
    assert len(found) == 4
    for line in found:
        module, words = re.search(r"-m vit_teach\.(\w+) (.*)$", line).groups()
        if module == "experiments":
            options = make_parser().parse_args(words.split())
            assert options.executor in (None, "slurm")
        else:
            words = words.replace("...", "--preset CIFAR-ViT-Base --epochs 100")
            options = training_parser().parse_args(words.split())
            assert vt.zoo.preset(options.preset) and options.epochs == 100
    assert f"pip install '{PACKAGE}'" in chapters.markdown(NAME)
