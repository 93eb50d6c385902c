"""Fold the sections that support a chapter but do not carry it: native ``details``, closed.

A notebook cannot hold a code cell inside a directive, so a fold goes by its heading: every section
under "Going deeper", and the whole of "Paper, measured, not checked". Headings keep their anchors,
and a link to one opens its fold, as browsers do.
"""

from docutils import nodes

PARTS, WHOLE = "Going deeper", "Paper, measured, not checked"


def fold(section: nodes.section) -> None:
    """Put a section into a fold whose summary is its heading."""
    for place, text in ((1, "</summary>"), (0, '<details class="vt-fold"><summary>')):
        section.insert(place, nodes.raw("", text, format="html"))
    section.append(nodes.raw("", "</details>", format="html"))


def fold_sections(app, doctree, docname) -> None:
    """Fold what a page has to fold. The contents in the margin were collected before."""
    if app.builder.format != "html":
        return
    for section in list(doctree.findall(nodes.section)):
        title = section[0].astext() if len(section) else ""
        if title == PARTS:
            for part in section.children[:]:
                if isinstance(part, nodes.section):
                    fold(part)
        elif title == WHOLE:
            fold(section)


def setup(app) -> dict:
    """Register the folding."""
    app.connect("doctree-resolved", fold_sections)
    return {"parallel_read_safe": True, "parallel_write_safe": True}
