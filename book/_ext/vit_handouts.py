"""What a teacher downloads from the site: the slides of each chapter, and a zip for each.

Made when the site is built, from the chapters that it has just run; nothing of it is kept in git.
The student's notebook in a zip is the one behind the download button, with its set-up cell.
"""

import shutil
import tempfile
from pathlib import Path

from sphinx.util import logging

from vit_teach.course import build, slides, source, zips

LOG = logging.getLogger(__name__)
DOWNLOADS = Path("_sources") / "book" / "exercises"


def make(app, exception) -> None:
    """Write _static/slides and _static/course into the site."""
    if exception is not None or app.builder.name != "html":
        return
    site, config = Path(app.outdir), source.configuration()
    caches = Path(app.config.nb_execution_cache_path).parent
    decks = site / "_static" / "slides"
    missing = slides.build(slides.chapters(), decks, config.get("title", ""), caches=caches)
    if missing:
        LOG.warning("no slides of %s: these chapters have no outputs", ", ".join(missing))
    with tempfile.TemporaryDirectory() as folder:
        for name in build.build(config, out=Path(folder) / "course"):
            download = site / DOWNLOADS / f"{name}.ipynb"
            if download.exists():
                shutil.copy(download, Path(folder) / "course" / "student")
            title = config.get("title", "")
            zips.write(Path(folder) / "course", decks, site / "_static" / "course", name, title)


def setup(app) -> dict:
    """Register the extension."""
    app.connect("build-finished", make, priority=900)  # after the set-up cells are stamped
    return {"parallel_read_safe": True, "parallel_write_safe": True}
