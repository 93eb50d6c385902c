"""The last look at a page's HTML: what makes it lighter, and what a link to it shows elsewhere.

The theme's templates load an icon font's script and the search index on every page, scripts hold up
the reading of a page, and Sphinx writes pictures as PNG and without their size. All that is mended
in the finished text of a page. It also gets its security policy, by which a browser runs and loads
nothing that does not belong to the page.
"""

import base64
import hashlib
import html
import io
import re
from pathlib import Path

import vit_figure
import vit_math
from docutils import nodes

from vit_teach.paths import written_whole

LONGEST = 160  # letters of a description: more is cut off by whoever shows it
SCRIPT = r'\s*<script[^>]*\bsrc="[^"]*{}[^"]*"[^>]*></script>'
# The icons come from icons.css. A page that does not search needs no index: the field leads to
# the page that does.
ICON_SCRIPT = re.compile(SCRIPT.format("scripts/fontawesome"))
SEARCH_SCRIPTS = re.compile(SCRIPT.format("(?:searchtools|language_data|searchindex)"))
# What a page needs only where it has something for it: the text that shows it, the files.
CLASS = r'class="(?:[^"]* )?(?:{})'
NEEDED_BY = (
    (CLASS.format(r'toggle[ "]|dropdown (?:[^"]* )?admonition|admonition (?:[^"]* )?dropdown'),
     ("togglebutton",)),
    (CLASS.format("sd-tab-set"), ("design-tabs",)),
    (CLASS.format("sd-"), ("sphinx-design",)),
    (CLASS.format("highlight"), ("clipboard", "copybutton")),
    ("$^", ("sphinx-thebe",)),  # no page: code is run in a notebook
)  # fmt: skip
FILE = r'\s*<(?:script|link)\b[^>]*\b(?:src|href)="[^"]*_static/{}\b[^"]*"[^>]*>(?:</script>)?'
PRELOAD = re.compile(r'<link rel="preload" as="script"[^>]*>\n?')
# A script without which others do not begin, and which the page itself calls: it is tiny.
EARLY = "documentation_options"
WAITS = re.compile(rf"<script(?=[^>]*\bsrc=)(?![^>]*(?:\bdefer|\basync|{EARLY}))")
# The theme's own style sheet does nothing but load another.
DETOUR = re.compile(r'styles/theme\.css[^"]*')
# The theme's script would settle on light or dark after the page is seen: colours and borders jump.
LATE_THEME = 'document.documentElement.dataset.theme = localStorage.getItem("theme") || "auto";'
THEME = """{
      const { mode } = document.documentElement.dataset;
      const dark = matchMedia("(prefers-color-scheme: dark)").matches;
      document.documentElement.dataset.theme = mode !== "auto" ? mode : dark ? "dark" : "light";
    }"""
# The arrow that opens a chapter's list of exercises has no name of its own.
TOGGLE = re.compile(r'<summary>(?=<span class="toctree-toggle")')
EMPTY_HEAD = re.compile(r"<th(?: class=\"[^\"]*\")?>\s*(?:<p></p>)?\s*</th>")
PICTURE = re.compile(r'<img\b(?=[^>]*\bsrc="(?:\.\./)*(_images|_static)/([^"?]+))[^>]*>')
INLINE = re.compile(r'<img\b(?=[^>]*\bsrc="data:image/(?:png|jpeg);base64,([^"]+))[^>]*>')
WIDTH = re.compile(r'\bwidth="(\d+)"')
PLATE = 22  # pixels of padding and border around a figure
VIEW_BOX = re.compile(r'viewBox="0 0 ([\d.]+) ([\d.]+)"')


INLINE_SCRIPT = re.compile(r"<script\b([^>]*)>(.*?)</script>", re.DOTALL | re.IGNORECASE)
HANDLER = re.compile(r"""<[a-z][^<>]*?\son[a-z]+=("[^"]*"|'[^']*')""", re.IGNORECASE)
NOT_RUN = re.compile(r"""\btype=["']?(?!module|text/javascript|application/javascript)""")
# Where a page's own files may come from. Opened from a disk, "self" is nothing to some browsers.
OWN = "'self' file:"
POLICY = {
    "default-src": "'none'",
    "img-src": f"{OWN} data: blob:",  # pictures of cells, the reader's own picture
    "style-src": f"{OWN} 'unsafe-inline'",  # formulas and plotly have styles in their tags
    "font-src": f"{OWN} data:",
    "worker-src": "blob:",  # the X-ray's model
    "form-action": OWN,  # the search field
    "base-uri": "'none'",
}


def picture_size(path: Path) -> tuple[int, int] | None:
    """The width and height of a picture's file; None for what has none."""
    if path.suffix == ".svg":
        found = VIEW_BOX.search(path.read_text("utf-8"))
        return tuple(round(float(side)) for side in found.groups()) if found else None
    from PIL import Image

    with Image.open(path) as picture:
        return picture.size


def size_pictures(page: str, find) -> str:
    """Give each picture its size, so that nothing jumps; all but the first wait to be scrolled to.

    A figure also gets the width below which its words are no longer readable: figures are drawn at
    144 dots an inch with words of 9 points and more, so at half their size those have 9 pixels. The
    style sheet uses it on narrow screens, where such a figure scrolls.

    ``find(folder, name)`` gives the file of a picture in ``_images`` or ``_static``, or None.
    """
    seen = 0

    def finish(match):
        nonlocal seen
        tag, folder, name = match.group(0), *match.groups()
        extra = ""
        path = find(folder, name)
        size = picture_size(path) if path and "width=" not in tag else None
        if size:
            extra = f' width="{size[0]}" height="{size[1]}"'
        if folder == "_images":
            seen += 1
            if size and size[0] > 600 and "style=" not in tag:
                extra += f' style="--readable: {size[0] // 2 + PLATE}px"'
            if seen > 1 and "loading=" not in tag:
                extra += ' loading="lazy" decoding="async"'
        end = "/>" if tag.endswith("/>") else ">"
        return tag[: -len(end)].rstrip() + extra + end

    return PICTURE.sub(finish, page)


def size_inline(page: str) -> str:
    """Give a picture that stands in the page itself, with its width, the height that belongs to it.

    >>> size_inline('<img src="a.png" width="90">')
    '<img src="a.png" width="90">'
    """
    from PIL import Image

    def finish(match):
        tag = match.group(0)
        width = WIDTH.search(tag)
        if not width or "height=" in tag:
            return tag
        with Image.open(io.BytesIO(base64.b64decode(match.group(1)))) as picture:
            height = round(int(width[1]) * picture.height / picture.width)
        return tag.replace(width[0], f'{width[0]} height="{height}"')

    return INLINE.sub(finish, page)


def drop_unneeded(page: str) -> str:
    """The page without the scripts and styles that have nothing to do on it.

    >>> drop_unneeded('<p>No code.</p> <script src="_static/copybutton.js?v=1"></script>')
    '<p>No code.</p>'
    """
    for mark, names in NEEDED_BY:
        if not re.search(mark, page):
            for name in names:
                page = re.sub(FILE.format(name), "", page)
    return page


def lighten(page: str, find, searches: bool = False) -> str:
    """The finished HTML of a page without what it does not need, and with scripts that wait."""
    page = ICON_SCRIPT.sub("", page)
    if not searches:
        page = SEARCH_SCRIPTS.sub("", page)
        page = WAITS.sub('<script defer="defer"', page)
    page = DETOUR.sub("basic.css", PRELOAD.sub("", drop_unneeded(page)))
    page = EMPTY_HEAD.sub("<td></td>", page.replace(LATE_THEME, THEME))
    page = TOGGLE.sub('<summary aria-label="Exercises of this chapter">', page)
    page = vit_math.keep_together(vit_figure.with_stills(page))
    return with_policy(size_inline(size_pictures(page, find)))


def as_webp(page: str, find, images: Path) -> str:
    """The page with its PNG pictures as WebP files in ``images``, where those are smaller.

    No pixel changes. ``find(folder, name)`` is that of :func:`size_pictures`.
    """

    def lighter(match):
        tag, (folder, name) = match.group(0), match.groups()
        path = find(folder, name) if folder == "_images" and name.endswith(".png") else None
        webp = write_webp(path, images / f"{name[:-4]}.webp") if path else None
        return tag.replace(f"{folder}/{name}", f"{folder}/{webp.name}") if webp else tag

    return PICTURE.sub(lighter, page)


def write_webp(source: Path, target: Path) -> Path | None:
    """Write a picture as WebP unless it stands there already; None where that is not smaller."""
    from PIL import Image

    if not target.exists() or target.stat().st_mtime < source.stat().st_mtime:
        target.parent.mkdir(parents=True, exist_ok=True)
        with Image.open(source) as picture, written_whole(target) as file:
            opaque = picture.mode == "RGBA" and picture.getextrema()[3] == (255, 255)
            (picture.convert("RGB") if opaque else picture).save(file, "WEBP", lossless=True)
    return target if target.stat().st_size < source.stat().st_size else None


def _hash(text: str) -> str:
    return f"'sha256-{base64.b64encode(hashlib.sha256(text.encode()).digest()).decode()}'"


def policy(page: str) -> str:
    """The content security policy of a page: its own files, and the scripts that stand in it.

    A script in the page is named by its hash, so a browser runs no other; widgets come as a Blob.

    >>> policy("<script>1</script>").split("; ")[1]
    "script-src 'self' file: blob: 'sha256-a4ayc/80/OGda4BO/1o/V0etpOqiLx1JwB5S3beHW0s='"
    """
    scripts = [text for about, text in INLINE_SCRIPT.findall(page)
               if "src=" not in about and not NOT_RUN.search(about)]  # fmt: skip
    hashes = [_hash(text) for text in scripts]
    handlers = [html.unescape(value[1:-1]) for value in HANDLER.findall(page)]
    if handlers:
        hashes += ["'unsafe-hashes'", *map(_hash, handlers)]
    allowed = " ".join([OWN, "blob:", *dict.fromkeys(hashes)])
    parts = {"default-src": POLICY["default-src"], "script-src": allowed, **POLICY}
    if SEARCH_SCRIPTS.search(page):  # the search reads the pages that it found
        parts["connect-src"] = OWN
    return "; ".join(f"{name} {value}" for name, value in parts.items())


def with_policy(page: str) -> str:
    """The page with its policy as the first thing in its head.

    >>> with_policy("<p>no head</p>")
    '<p>no head</p>'
    """
    tag = f'<meta http-equiv="Content-Security-Policy" content="{policy(page)}" />'
    return re.sub(r"(<head\b[^>]*>)", lambda found: f"{found[1]}\n{tag}", page, count=1)


def redirect(first: str, title: str) -> str:
    """The page at the site's own address: it leads to the first page, and loads nothing.

    >>> redirect("book/index.html", "A book").splitlines()[3]
    '<meta http-equiv="Refresh" content="0; url=book/index.html" />'
    """
    words = html.escape(title)
    return with_policy(
        f"""<!doctype html>
<html lang="en"><head>
<meta http-equiv="Refresh" content="0; url={first}" />
<meta charset="utf-8" /><title>{words}</title>
</head><body><p><a href="{first}">{words}</a></p></body></html>
"""
    )


def write_redirect(app, error) -> None:
    """Put :func:`redirect` in the place of the bare tag that is written without it."""
    if error is None and app.builder.name == "html" and app.config.master_doc != "index":
        page = redirect(f"{app.config.master_doc}.html", app.config.html_title)
        Path(app.outdir, "index.html").write_text(page, encoding="utf-8")


def describe(doctree, skip: re.Pattern) -> str:
    """The beginning of a page's first paragraph of prose; empty where there is none."""
    for paragraph in doctree.findall(nodes.paragraph) if doctree is not None else ():
        text = " ".join(paragraph.astext().split())
        if len(text) < 40 or skip.match(f"<p>{text}"):
            continue
        return text if len(text) <= LONGEST else text[:LONGEST].rsplit(" ", 1)[0] + " …"
    return ""


def share_tags(title: str, description: str, picture: str, address: str = "") -> str:
    """The tags that say how a link to a page looks elsewhere; ``address`` is the page's own.

    >>> share_tags("A & B", "", "p.png").splitlines()[0]
    '<meta property="og:title" content="A &amp; B" />'
    """
    tags = [("property", "og:title", title), ("property", "og:type", "article")]
    if description:
        tags += [("name", "description", description), ("property", "og:description", description)]
    tags += [("property", "og:url", address)] if address else []
    tags += [("property", "og:image", picture), ("name", "twitter:card", "summary_large_image")]
    lines = (f'<meta {a}="{b}" content="{html.escape(c)}" />' for a, b, c in tags)
    return "\n".join(lines) + "\n"


def wrap_templates(app) -> None:
    """Pass every page through :func:`lighten` when its template is filled in."""
    if app.builder.format != "html":
        return
    render, static = app.builder.templates.render, Path(__file__).parent / "static"

    def find(folder, name):
        if folder == "_static":
            path = static / name
        else:
            sources = {target: source for source, target in app.builder.images.items()}
            path = Path(app.srcdir) / sources.get(name, name)
        return path if path.is_file() else None

    def finished(template, context):
        page = render(template, context)
        page = lighten(page, find, context.get("pagename") == "search")
        return as_webp(page, find, Path(app.outdir) / "_images")

    app.builder.templates.render = finished
