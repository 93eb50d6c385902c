"""The pieces of the Sphinx extension that can be tested without a build."""

import json
import os
import re
import sys
from types import SimpleNamespace

import nbformat
import numpy as np
import pages
import plotly.io
import pytest
from docutils import nodes
from PIL import Image

from vit_teach import plots
from vit_teach.plots.page_figure import figure_html
from vit_teach.widgets.shared import base

sys.path.insert(0, str(pages.ROOT / "book" / "_ext"))

import vit_book  # noqa: E402
import vit_execute  # noqa: E402
import vit_page  # noqa: E402
import vit_repository  # noqa: E402
import vit_results  # noqa: E402
import vit_search  # noqa: E402


@pytest.fixture
def fork(monkeypatch):
    monkeypatch.setenv("GITHUB_REPOSITORY", "alice/vit-fork")
    monkeypatch.setenv("GITHUB_SERVER_URL", "https://github.com")
    monkeypatch.setenv("GITHUB_REF_NAME", "main")
    return vit_repository.repository()


def test_outside_github_there_is_no_repository(monkeypatch):
    monkeypatch.delenv("GITHUB_REPOSITORY", raising=False)
    assert vit_repository.repository() is None


def test_launch_links_follow_the_fork(fork):
    links = {text: url for text, _, url in fork.launch_links("book/02_patchify")}
    assert set(links) == {"Colab", "Binder", "Codespaces"}
    assert all("alice/vit-fork" in url for url in links.values())
    assert links["Colab"].endswith("/blob/notebooks/book/02_patchify.ipynb")


def test_a_page_gets_the_launch_menu_only_if_it_is_a_notebook(fork):
    for source, menus in (("book/a.ipynb", 1), ("book/index.md", 0)):
        context = {"sourcename": source, "header_buttons": []}
        vit_repository.add_launch_buttons(None, "book/a", "page.html", context, None)
        assert len(context["header_buttons"]) == menus


def test_downloads_are_stamped_once_and_stay_valid(fork, tmp_path):
    folder = tmp_path / "_sources" / "book"
    folder.mkdir(parents=True)
    file = folder / "a.ipynb"
    notebook = nbformat.v4.new_notebook(cells=[nbformat.v4.new_code_cell("x = 1", id="a-00")])
    file.write_text(json.dumps(notebook))
    app = SimpleNamespace(outdir=str(tmp_path))
    vit_repository.stamp_downloads(app, None)
    vit_repository.stamp_downloads(app, None)
    stamped = nbformat.read(file, as_version=4)
    nbformat.validate(stamped)
    assert [cell.id for cell in stamped.cells] == [vit_repository.CELL_ID, "a-00"]
    assert "https://github.com/alice/vit-fork" in stamped.cells[0].source
    compile(stamped.cells[0].source, "set-up", "exec")


@pytest.mark.parametrize("failure, found", [(None, "new"), (RuntimeError(), "old")])
def test_a_changed_script_reaches_a_site_whose_pages_are_up_to_date(failure, found, tmp_path):
    for folder, text in (("html/_static", "old"), ("site_static", "new")):
        file = tmp_path / folder / "vt" / "a.js"
        file.parent.mkdir(parents=True)
        file.write_text(text)
    os.utime(tmp_path / "html" / "_static" / "vt" / "a.js", (0, 0))
    app = SimpleNamespace(outdir=str(tmp_path / "html"), builder=SimpleNamespace(format="html"))
    vit_book.renew_static(app, failure)
    assert (tmp_path / "html" / "_static" / "vt" / "a.js").read_text() == found


def test_the_cache_key_follows_the_data_at_hand(monkeypatch, tmp_path):
    monkeypatch.setenv("VIT_TEACH_DATA", str(tmp_path))
    before = vit_execute.cache_key()
    assert vit_execute.cache_key() == before
    os.mkdir(tmp_path / "cifar10")
    assert vit_execute.cache_key() != before


def test_the_cache_key_follows_the_package(monkeypatch, tmp_path):
    (tmp_path / "vit_teach").mkdir()
    module = tmp_path / "vit_teach" / "a.py"
    module.write_text("x = 1\n")
    monkeypatch.setattr(vit_execute, "ROOT", tmp_path)
    before = vit_execute.cache_key()
    module.write_text("x = 2\n")
    assert vit_execute.cache_key() != before


def test_jupyter_gets_a_plotly_figure_in_plotlys_way_and_a_page_gets_html(monkeypatch):
    monkeypatch.setattr(plotly.io.renderers, "default", "plotly_mimetype")  # as in Jupyter
    bundle = plots.plotly_figure("Tokens against patch size.").add_bar(y=[1])._repr_mimebundle_()
    assert bundle["application/vnd.plotly.v1+json"]["data"][0]["type"] == "bar"
    assert bundle["text/html"].startswith('<figure class="vt-plotly" aria-label="Tokens against')
    assert bundle["text/plain"] == "Tokens against patch size."


def test_a_page_gets_only_what_it_can_show():
    both, jupyter_only = ({vit_execute.PLOTLY: {}, "text/html": ""}, {vit_execute.PLOTLY: {}})
    display = [nbformat.v4.new_output("display_data", data=data) for data in (both, jupyter_only)]
    cell = nbformat.v4.new_code_cell(outputs=display)
    notebook = nbformat.v4.new_notebook(cells=[nbformat.v4.new_markdown_cell("a"), cell])
    vit_execute.drop_what_only_jupyter_shows(notebook)
    # The second is not shown, and the build says so.
    assert [set(o.data) for o in cell.outputs] == [{"text/html"}, {vit_execute.PLOTLY}]


def test_a_kernel_that_runs_a_chapter_warns_of_nothing(capfd, tmp_path):
    cell = nbformat.v4.new_code_cell("import warnings; warnings.warn('of a cell'); print(1 + 1)")
    notebook = nbformat.v4.new_notebook(cells=[cell])
    config = SimpleNamespace(nb_execution_timeout=60)
    _, result = vit_execute.run(tmp_path / "a.ipynb", notebook, config)
    said = {output.name: output.text for output in result.nb.cells[0].outputs}
    assert said["stdout"] == "2\n" and "of a cell" in said["stderr"]
    assert "WARNING" not in capfd.readouterr().err


def test_a_plotly_figure_needs_a_text_alternative():
    with pytest.raises(ValueError, match="layout.meta"):
        figure_html({"data": [], "layout": {}})


def test_a_label_cannot_end_the_script():
    figure = {"data": [{"name": "</script><b>"}], "layout": {"meta": {"alt": 'a "quoted" alt'}}}
    page = figure_html(figure)
    assert page.count("</script>") == 1
    assert 'aria-label="a &quot;quoted&quot; alt"' in page


HEAVY = """<script defer src="../_static/scripts/fontawesome.js?digest=5"></script>
<script src="../_static/searchtools.js"></script><script src="../searchindex.js"></script>
<script src="../_static/vt/vit.js"></script><th class="head"></th>
<img alt="a" src="../_images/a.png"/><img alt="b" src="../_images/a.png"><img src="data:x">"""


def test_a_finished_page_is_light(tmp_path):
    Image.new("RGB", (30, 20)).save(tmp_path / "a.png")
    page = vit_page.lighten(HEAVY, lambda folder, name: tmp_path / name)
    assert "fontawesome" not in page and "search" not in page and "vt/vit.js" in page
    assert "<td></td>" in page and '<img src="data:x">' in page
    sized = 'src="../_images/a.png" width="30" height="20"'
    assert f'<img alt="a" {sized}/>' in page
    assert f'<img alt="b" {sized} loading="lazy" decoding="async">' in page
    assert vit_page.lighten(page, lambda folder, name: tmp_path / name) == page
    address = base.data_uri(np.zeros((20, 30, 3), np.uint8))
    inline = f'<img src="{address}" alt="c" width="90">'
    assert vit_page.lighten(inline, None).endswith('alt="c" width="90" height="60">')
    assert "searchindex" in vit_page.lighten(HEAVY, lambda folder, name: None, searches=True)


PAGE = """<!doctype html><html><head><meta charset="utf-8" /><title>x</title>
<script>window.own = 1;</script><script type="application/json">{"not": "run"}</script>
</head><body><button onclick="window.pressed = &quot;yes&quot;">Press</button></body></html>"""


def test_a_page_runs_its_own_scripts_and_no_other(browser, tmp_path):
    page = browser.new_page()
    file = tmp_path / "page.html"
    strange = "<script>window.strange = 1;</script><img src='https://a.org/x.png'></body>"
    file.write_text(vit_page.with_policy(PAGE).replace("</body>", strange), encoding="utf-8")
    page.add_init_script(
        "document.addEventListener('securitypolicyviolation', (event) =>"
        " (window.refused ??= []).push(event.effectiveDirective))"
    )
    page.goto(file.as_uri())
    page.click("button")
    page.wait_for_timeout(200)
    found = page.evaluate("[window.own, window.pressed, window.strange ?? null, window.refused]")
    assert found[:3] == [1, "yes", None]
    assert sorted(set(found[3])) == ["img-src", "script-src-elem"]
    page.close()


def test_the_address_of_the_site_is_a_page_with_a_policy_too(tmp_path):
    config = SimpleNamespace(master_doc="book/index", html_title="A & B")
    builder = SimpleNamespace(name="html")
    (tmp_path / "index.html").write_text('<meta http-equiv="Refresh" content="0; url=x" />')
    app = SimpleNamespace(config=config, builder=builder, outdir=tmp_path)
    vit_page.write_redirect(app, None)
    page = (tmp_path / "index.html").read_text("utf-8")
    first, second = re.findall("<meta http-equiv=.*>", page)
    assert first.startswith(
        '<meta http-equiv="Content-Security-Policy" content="default-src \'none'
    )
    assert second == '<meta http-equiv="Refresh" content="0; url=book/index.html" />'
    assert '<a href="book/index.html">A &amp; B</a>' in page


def test_the_policy_stands_before_anything_that_it_is_for():
    page = vit_page.lighten(PAGE, lambda *_: None)
    head = page.partition("<head>")[2]
    assert head.strip().startswith('<meta http-equiv="Content-Security-Policy"')
    assert page.count("sha256-") == 2 and "unsafe-eval" not in page  # one script, one button
    assert "'unsafe-inline'" not in vit_page.policy(page).split("; ")[1]
    assert "connect-src" not in page
    search = '<script src="_static/searchtools.js"></script>'
    assert "connect-src 'self' file:" in vit_page.policy(search)


def test_where_a_page_changed_all_are_read_for_the_search():
    env = SimpleNamespace(found_docs={"b", "a"})
    assert vit_search.read_all(None, env, set(), {"a"}, set()) == ["a", "b"]
    assert vit_search.read_all(None, env, set(), set(), set()) == []


def table_of(*entries):
    """A table of the document tree with these results, each alone in its place."""
    table = nodes.table()
    for text in entries:
        table += nodes.entry("", nodes.paragraph("", "", nodes.inline(text, text)))
        table[-1][0][0]["classes"] = ["vt-number"]
    return table


def test_a_table_says_its_seeds_once():
    table = table_of("50.0 % (one run, seed 0)", "60.0 % (one run, seed 0)")
    assert vit_results.say_once(table) == "One run each, seed\N{NO-BREAK SPACE}0."
    assert [entry.astext() for entry in table] == ["50.0 %", "60.0 %"]
    mixed = table_of("50.0 % (one run, seed 0)", "60.0 ± 1.0 % (3 seeds)", "70.0 ± 1.0 % (3 seeds)")
    assert vit_results.say_once(mixed).startswith("Mean ± standard deviation over 3 seeds; without")
    assert mixed.astext().count("seed") == 0


@pytest.mark.parametrize(
    "entries",
    [
        ("50.0 % (one run, seed 0)",),
        ("50.0 % (one run, seed 0)", "60.0 % (one run, seed 1)"),
        ("50.0 ± 1.0 % (2 seeds)", "60.0 ± 1.0 % (3 seeds)"),
        ("1.0 points", "2.0 points"),
    ],
)
def test_a_table_whose_numbers_differ_in_their_seeds_says_each(entries):
    table = table_of(*entries)
    assert vit_results.say_once(table) == ""
    assert tuple(entry.astext() for entry in table) == entries
