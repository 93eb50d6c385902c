"""Waiting for a page in Chromium, and looking for what sticks out of it."""

# The controls of a widget that are wider than its frame.
STICK_OUT = """() => [...document.querySelectorAll(".vt-live")].flatMap((frame) =>
  [...frame.querySelectorAll("select, button, input")].filter((control) => control.checkVisibility()
    && control.getBoundingClientRect().right > frame.getBoundingClientRect().right)
    .map((control) => control.outerHTML.slice(0, 120)))"""
TWO_FRAMES = """() => new Promise((done) => requestAnimationFrame(() =>
  requestAnimationFrame(() => setTimeout(done, 10))))"""


def drawn(page):
    """The same page, after all that has just happened was drawn: a widget draws once a frame."""
    page.evaluate(TWO_FRAMES)
    return page
