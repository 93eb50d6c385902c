"""Links to the repository that builds the book: taken from the environment, never written down.

GitHub Actions and Codespaces set GITHUB_REPOSITORY, so a fork's site points at the fork. A build
anywhere else has no such links.
"""

import json
import os
from dataclasses import dataclass
from pathlib import Path

NOTEBOOK_BRANCH = "notebooks"
CELL_ID = "set-up"


@dataclass(frozen=True)
class Repository:
    """A GitHub repository: ``name`` is owner/name, ``branch`` what the site is built from."""

    server: str
    name: str
    branch: str

    @property
    def url(self) -> str:
        return f"{self.server}/{self.name}"

    @property
    def site(self) -> str:
        """Where GitHub Pages shows what is built."""
        owner, name = self.name.split("/")
        return f"https://{owner.lower()}.github.io/{name}/"

    def launch_links(self, pagename: str) -> list[tuple[str, str, str]]:
        """(text, icon, address) for each place where the notebook of a page can be run."""
        path = f"{pagename}.ipynb"
        colab = (
            f"https://colab.research.google.com/github/{self.name}/blob/{NOTEBOOK_BRANCH}/{path}"
        )
        binder = f"https://mybinder.org/v2/gh/{self.name}/{self.branch}?urlpath=lab/tree/{path}"
        codespaces = f"https://codespaces.new/{self.name}/tree/{self.branch}?quickstart=1"
        return [
            ("Colab", "_static/images/logo_colab.png", colab),
            ("Binder", "_static/images/logo_binder.svg", binder),
            ("Codespaces", "fa-brands fa-github", codespaces),
        ]


def repository() -> Repository | None:
    """The repository this build belongs to, or None outside GitHub."""
    name = os.environ.get("GITHUB_REPOSITORY")
    if not name:
        return None
    server = os.environ.get("GITHUB_SERVER_URL", "https://github.com")
    return Repository(server, name, os.environ.get("GITHUB_REF_NAME") or "main")


def add_launch_buttons(app, pagename, templatename, context, doctree) -> None:
    """Add the launch menu to the header of a page made from a notebook."""
    repo = repository()
    if repo is None or not context.get("sourcename", "").endswith(".ipynb"):
        return
    buttons = [
        {"type": "link", "text": text, "tooltip": f"Run on {text}", "icon": icon, "url": url}
        for text, icon, url in repo.launch_links(pagename)
    ]
    menu = {"type": "group", "tooltip": "Run this chapter", "icon": "fas fa-rocket"}
    context["header_buttons"].insert(0, {**menu, "buttons": buttons, "label": "launch-buttons"})


def set_up_cell(repo: Repository) -> dict:
    """The first cell of a notebook that leaves the repository: it fetches the package."""
    folder = repo.name.split("/")[1]
    source = f"""\
# Set-up for Colab or your own Jupyter: fetches the book's package where it is missing.
import importlib.util, pathlib, subprocess, sys

if importlib.util.find_spec("vit_teach") is None:
    book = pathlib.Path("{folder}").resolve()
    if not book.exists():
        clone = ["git", "clone", "--quiet", "--depth=1", "--branch={repo.branch}"]
        subprocess.run([*clone, "{repo.url}", str(book)], check=True)
    subprocess.run([sys.executable, "-m", "pip", "install", "--quiet", "-e", str(book)], check=True)
    sys.path.insert(0, str(book))"""
    return {
        "cell_type": "code",
        "execution_count": None,
        "id": CELL_ID,
        "metadata": {},
        "outputs": [],
        "source": source.splitlines(keepends=True),
    }


def stamp_downloads(app, exception) -> None:
    """Put the set-up cell at the top of every notebook behind a download button.

    The publishing workflow also copies these files to the branch that Colab opens.
    """
    repo = repository()
    if repo is None or exception is not None:
        return
    for path in (Path(app.outdir) / "_sources").rglob("*.ipynb"):
        notebook = json.loads(path.read_text(encoding="utf-8"))
        if notebook["cells"] and notebook["cells"][0].get("id") == CELL_ID:
            continue
        notebook["cells"].insert(0, set_up_cell(repo))
        text = json.dumps(notebook, indent=1, ensure_ascii=False)
        path.write_text(text + "\n", encoding="utf-8")
