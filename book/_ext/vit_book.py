"""The book's Sphinx extension: everything on the site is local, accessible and loaded where needed.

- vit_execute: runs the chapters side by side and keys their cache by the package and its data.
- vit_results: recorded numbers in the prose.
- vit_folds: sections that open when asked.
- vit_math: formulas as MathML.
- vit_figure: still pictures of plotly's figures.
- vit_style: the theme's style sheet without what no page uses.
- vit_search: what a search finds first.
- vit_labels: labels of author and year in the list of references.
- vit_repository: links and launch buttons of the repository that builds the site.
- vit_page: what makes the finished HTML lighter, and how a link to it looks elsewhere.
- this file: scripts and styles, MathJax and plotly as local files, repairs of the theme's HTML.
"""

import html
import importlib.util
import re
import shutil
from pathlib import Path

import vit_execute
import vit_folds
import vit_labels  # noqa: F401  # registers the style of the references
import vit_math
import vit_page
import vit_repository
import vit_results
import vit_search
import vit_style
from docutils import nodes
from sphinx.util import logging

from vit_teach.widgets import xray
from vit_teach.widgets.shared import base as widgets

HERE = Path(__file__).resolve().parent
LOG = logging.getLogger(__name__)

# A page gets the scripts and styles of a row when its HTML contains the row's mark.
FILES_BY_MARK = {
    'class="vt-plotly"': ("vt/vt-plotly.js",),  # which loads plotly.min.js when asked to
    "<math": ("vt/vt-math.css",),
    'class="vt-quiz"': ("vt/vt-quiz.js", "vt/vt-quiz.css"),
    'class="vt-widget"': ("vt/vt-host.js", f"vt/{widgets.STYLE}"),
}

# The theme's HTML -> what assistive technology understands (each found by axe on a built page).
REPAIRS = (
    ('<div role="list" class="citation-list">', '<div class="citation-list">'),
    (' role="doc-biblioentry"', ""),
    ('<summary aria-label="Toggle hidden content">', "<summary>"),
)

# The line below a chapter's title: how long it takes to read and to run.
CHAPTER_META = re.compile(r"<p>(Reading .{1,20} min)")


def package_folder(name: str) -> Path:
    """Where an installed package keeps its files."""
    spec = importlib.util.find_spec(name)
    if spec is None or not spec.submodule_search_locations:
        raise RuntimeError(f"{name} is not installed: pip install -r requirements.txt")
    return Path(spec.submodule_search_locations[0])


def copy_newer(source: Path, target: Path) -> None:
    """Copy a file unless the target is already the same."""
    target.parent.mkdir(parents=True, exist_ok=True)
    if not target.exists() or target.stat().st_mtime < source.stat().st_mtime:
        shutil.copy2(source, target)


def gather_widgets(folder: Path) -> None:
    """Write each widget's module as a script that tells vt-host.js its text, and their style."""
    folder.mkdir(parents=True, exist_ok=True)
    for name in widgets.modules():
        script = widgets.call_script("define", name, widgets.module_source(name))
        (folder / f"{name}.def.js").write_text(script, encoding="utf-8")
    for name, text in xray.site_files().items():
        script = widgets.call_script("give", name, text)
        (folder / f"{name}.data.js").write_text(script, encoding="utf-8")
    copy_newer(widgets.SHARED / widgets.STYLE, folder / widgets.STYLE)
    copy_newer(widgets.SHARED / widgets.HOST, folder / "vt-host.js")


def gather_static(folder: Path) -> None:
    """Collect our scripts and styles, widgets, plotly and MathJax in one folder for the site.

    No page of the book loads MathJax: slides and pages that an instructor adds may.
    """
    for file in (HERE / "static").iterdir():
        copy_newer(file, folder / "vt" / file.name)
    gather_widgets(folder / "vt")
    plotly = package_folder("plotly") / "package_data" / "plotly.min.js"
    copy_newer(plotly, folder / "vt" / "plotly.min.js")
    mathjax = package_folder("sphinx-mathjax-offline") / "static" / "mathjax"
    wanted = [mathjax / "tex-chtml.js"]
    wanted += (mathjax / "output" / "chtml" / "fonts" / "woff-v2").iterdir()
    wanted += (mathjax / "input" / "tex" / "extensions").iterdir()
    for file in wanted:
        copy_newer(file, folder / "mathjax" / file.relative_to(mathjax))


def configure(app, config) -> None:
    """Complete the configuration with what a YAML file cannot say."""
    static = Path(app.outdir).parent / "site_static"
    gather_static(static)
    config.html_static_path = [*config.html_static_path, str(static)]
    config.html_math_renderer = "mathml"
    config.html_context = {"default_mode": "auto", **(config.html_context or {})}
    options = config.html_theme_options
    options["navbar_persistent"] = []  # the theme would show a second search bar
    options["shorten_urls"] = False  # an address stands in the references as it is typed
    options["logo"] = {"text": config.html_title, "alt_text": "First page"}
    repo = vit_repository.repository()
    if repo is None:
        options.pop("repository_url", None)
    else:
        options.update(repository_url=repo.url, repository_branch=repo.branch)
        options.update(use_repository_button=True, use_issues_button=True)
    vit_execute.choose_cache(app, config)


def renew_static(app, exception) -> None:
    """Bring changed scripts and styles into a site whose pages were all up to date.

    Sphinx copies static files only when it writes a page.
    """
    source, site = Path(app.outdir).parent / "site_static", Path(app.outdir) / "_static"
    if exception is None and app.builder.format == "html":
        for file in source.rglob("*.*"):
            copy_newer(file, site / file.relative_to(source))


def check_alternatives(app, doctree, docname) -> None:
    """Warn (and so fail the build) for every image that has no text alternative."""
    for image in doctree.findall(nodes.image):
        if not image.get("alt", "").strip():
            message = "an image has no alt text: %s (a code cell sets it in its mystnb metadata)"
            LOG.warning(message, image.get("uri"), location=image)


def wanted_scripts(scripts: list) -> list:
    """The page's scripts without duplicates, Thebe, and the copy of the widgets' state."""
    seen, kept = set(), []
    for script in scripts:
        attributes = getattr(script, "attributes", {})
        name, body = str(getattr(script, "filename", "") or ""), attributes.get("body") or ""
        unwanted = (
            "thebe" in (name + body).lower()
            or attributes.get("type") == "application/vnd.jupyter.widget-state+json"
        )
        if not unwanted and (name or body) not in seen:
            seen.add(name or body)
            kept.append(script)
    return kept


def finish_page(app, pagename, templatename, context, doctree) -> None:
    """Add the scripts a page needs, remove those it does not, repair the HTML."""
    body = context.get("body") or ""
    for mark, names in FILES_BY_MARK.items():
        for name in names if mark in body else ():
            if name.endswith(".css"):
                app.add_css_file(name)
            else:
                app.add_js_file(name, loading_method="defer")
    for wrong, right in REPAIRS:
        body = body.replace(wrong, right)
    if body:
        context["body"] = CHAPTER_META.sub(r'<p class="chapter-meta">\1', body, count=1)
    context["script_files"] = wanted_scripts(context.get("script_files", []))
    add_share_tags(app, pagename, context, doctree)


def add_share_tags(app, pagename, context, doctree) -> None:
    """Say how a link to the page looks elsewhere; the first page's title says the book's once."""
    title = re.sub("<[^>]+>", "", context.get("title") or "")
    if html.unescape(title) == context.get("docstitle"):
        context["docstitle"] = ""
    description = vit_page.describe(doctree, CHAPTER_META)
    picture = "_static/vt/share.png"
    repo = vit_repository.repository()
    address = repo.site + picture if repo else context["pathto"](picture, True)
    own = f"{repo.site}{pagename}.html" if repo else ""
    name = html.unescape(title) or context.get("docstitle") or ""  # search and index have no title
    tags = vit_page.share_tags(name, description, address, own)
    context["metatags"] = (context.get("metatags") or "") + tags


def setup(app) -> dict:
    """Register the extension."""
    vit_results.setup(app)
    vit_folds.setup(app)
    vit_math.setup(app)
    vit_search.setup(app)
    vit_style.setup(app)
    app.add_css_file("vt/vit.css")
    app.add_css_file("vt/icons.css")
    app.add_js_file("vt/vit.js", loading_method="defer")
    app.connect("config-inited", configure, priority=900)
    app.connect("builder-inited", vit_page.wrap_templates)
    app.connect("env-before-read-docs", vit_execute.run_uncached)
    app.connect("doctree-resolved", check_alternatives)
    app.connect("html-page-context", vit_repository.add_launch_buttons, priority=600)
    app.connect("html-page-context", finish_page, priority=900)
    app.connect("build-finished", vit_page.write_redirect)
    app.connect("build-finished", renew_static)
    app.connect("build-finished", vit_repository.stamp_downloads)
    return {"parallel_read_safe": True, "parallel_write_safe": True}
