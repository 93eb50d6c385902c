"""Waiting for a page in Chromium."""

TWO_FRAMES = """() => new Promise((done) => requestAnimationFrame(() =>
  requestAnimationFrame(() => setTimeout(done, 10))))"""


def drawn(page):
    """The same page, after all that has just happened was drawn: a widget draws once a frame."""
    page.evaluate(TWO_FRAMES)
    return page
