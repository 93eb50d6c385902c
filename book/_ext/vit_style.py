"""The theme's style sheet without the rules that no page of the book can use.

The theme brings Bootstrap and an icon font: three quarters of its 400 kB name classes that occur
neither in a page nor in a script. They are left out when the site is finished.
"""

import importlib.util
import re
from pathlib import Path

from vit_teach.paths import written_whole

SHEET = Path("static", "styles", "pydata-sphinx-theme.css")
RULE = re.compile(r"([^{}@;]+)\{([^{}]*)\}")
FONT = re.compile(r"@font-face\{[^}]*\}")
CLASS = re.compile(r"\.(-?[A-Za-z_][\w-]*)")
UNLESS = re.compile(r":(?:not|is|where|has)\([^()]*\)")  # what stands there need not be on a page
WORD = re.compile(r"[A-Za-z][\w-]*")
WEIGHS = 1_000_000  # bytes of a script or data file from which no class of the theme is set


def used_rules(sheet: str, words: set[str]) -> str:
    """The rules of a style sheet whose classes are all among ``words``.

    >>> used_rules(".a,.b .c{x:1}.d:not(.e){y:2}@media print{.f{z:3}}", {"a", "d"})
    '.a,.b .c{x:1}.d:not(.e){y:2}@media print{}'
    """

    def fits(selector: str) -> bool:
        return set(CLASS.findall(UNLESS.sub("", selector))) <= words

    def kept(rule) -> str:
        return rule[0] if any(fits(selector) for selector in rule[1].split(",")) else ""

    return RULE.sub(kept, FONT.sub("", sheet))


def words_of(site: Path) -> set[str]:
    """Every class of a page, and every word of a script, which may set it as a class."""
    words = set()
    for page in site.rglob("*.html"):
        for value in re.findall(r'class="([^"]*)"', page.read_text("utf-8")):
            words.update(value.split())
    for script in (site / "_static").rglob("*.js"):
        if "fontawesome" not in script.name and script.stat().st_size < WEIGHS:
            words.update(WORD.findall(script.read_text("utf-8")))
    return words


def lighten_sheet(app, exception) -> None:
    """Write the theme's style sheet again, from the theme's own file, with what is used."""
    if exception is not None or app.builder.format != "html":
        return
    theme = Path(importlib.util.find_spec("pydata_sphinx_theme").origin).parent
    source = theme / "theme" / "pydata_sphinx_theme" / SHEET
    site = Path(app.outdir)
    with written_whole(site / "_static" / SHEET.relative_to("static")) as file:
        file.write_text(used_rules(source.read_text("utf-8"), words_of(site)), "utf-8")


def setup(app) -> dict:
    """Register the last step of a build."""
    app.connect("build-finished", lighten_sheet, priority=900)
    return {"parallel_read_safe": True, "parallel_write_safe": True}
