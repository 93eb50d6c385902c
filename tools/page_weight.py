"""Weigh pages of built sites as a visitor gets them: kB with gzip, requests, times, shift.

    python tools/page_weight.py NAME=SITE_FOLDER [NAME=SITE_FOLDER ...] [--pages a.html b.html]

Every page of the first site is loaded at a processor four times slower, unless ``--pages`` names
some; sites take turns, so that other work on the machine falls on all of them. kB, requests and
shift are exact. Times are good to a factor of two; the longest task is therefore also given as a
multiple of a reference task, a fixed calculation that the same page does right after its load.
``--down`` scrolls to the end of each page first, so that all that waits to be seen is loaded.
"""

import argparse
import functools
import gzip
import http.server
import statistics
import threading
from pathlib import Path

import chromium
from playwright.sync_api import sync_playwright

SLOWER = 4  # times, the processor
WATCH = """window.seen = { shift: 0, tasks: [] };
{
  const watch = (type, take) => new PerformanceObserver((list) => list.getEntries().forEach(take))
    .observe({ type, buffered: true });
  watch("layout-shift", (e) => { if (!e.hadRecentInput) seen.shift += e.value; });
  watch("longtask", (e) => seen.tasks.push([e.startTime, e.duration]));
}"""
# Tasks under 50 ms are reported by no browser: a page without a longer one has 0.
READ = """() => ({
  paint: performance.getEntriesByName("first-contentful-paint")[0]?.startTime ?? 0,
  ready: Math.max(performance.timing.domContentLoadedEventEnd - performance.timing.navigationStart,
    ...seen.tasks.map(([start, length]) => start + length)),
  longest: Math.max(0, ...seen.tasks.map(([, length]) => length)), shift: seen.shift })"""
# Some 100 ms on a laptop's core that is four times slowed; the middle of five.
REFERENCE = """() => {
  const once = () => {
    const start = performance.now();
    let sum = 0;
    for (let i = 0; i < 1e6; i++) sum += Math.sin(i) * Math.sqrt(i);
    return performance.now() - start + 0 * sum;
  };
  return [1, 2, 3, 4, 5].map(once).sort((a, b) => a - b)[2];
}"""
HEAD = "kB", "requests", "paint ms", "interactive ms", "longest ms", "x reference", "shift"
DOWN = """async () => {
  const wait = () => new Promise((done) => setTimeout(done, 150));
  for (let y = 0; y < document.documentElement.scrollHeight; y += 800, await wait())
    scrollTo({ top: y, behavior: "instant" });
}"""


class Zipped(http.server.SimpleHTTPRequestHandler):
    """Serves a folder with gzip level 6, as a static host does, and counts the bytes sent."""

    sent = 0
    TEXT = (".html", ".js", ".css", ".svg", ".json")

    def do_GET(self):
        path = Path(self.translate_path(self.path))
        path = path / "index.html" if path.is_dir() else path
        if not path.is_file():
            return self.send_error(404)
        body = sent_body(path)
        self.send_response(200)
        self.send_header("Content-Type", self.guess_type(str(path)))
        if path.suffix in self.TEXT:
            self.send_header("Content-Encoding", "gzip")
        self.send_header("Content-Length", str(len(body)))
        self.end_headers()
        self.wfile.write(body)
        Zipped.sent += len(body)

    def log_message(self, *_):
        pass


def sent_body(path: Path) -> bytes:
    """What a static host sends for a file: text with gzip, the rest as it is."""
    return _zipped(path, path.stat().st_mtime) if path.suffix in Zipped.TEXT else path.read_bytes()


@functools.cache
def _zipped(path: Path, _changed: float) -> bytes:
    return gzip.compress(path.read_bytes(), 6)


def weigh(browser, address: str, down: bool = False) -> tuple:
    """The numbers of one load, in the order of ``HEAD``."""
    context = browser.new_context(viewport={"width": 1280, "height": 900})
    page = context.new_page()
    asked = []
    page.on("request", lambda r: asked.append(r.url) if r.url.startswith("http") else None)
    page.add_init_script(WATCH)
    slow = context.new_cdp_session(page)
    slow.send("Emulation.setCPUThrottlingRate", {"rate": SLOWER})
    Zipped.sent = 0
    page.goto(address, wait_until="networkidle", timeout=120_000)
    if down:
        page.evaluate(DOWN)
        page.wait_for_load_state("networkidle")
    page.wait_for_timeout(1500)
    seen = page.evaluate(READ)
    ratio = seen["longest"] / page.evaluate(REFERENCE)
    context.close()
    numbers = [round(seen[key]) for key in ("paint", "ready", "longest")]
    return Zipped.sent / 1000, len(asked), *numbers, round(ratio, 2), round(seen["shift"], 3)


def all_pages(site: str) -> list[str]:
    """Every page of a site but the one that only leads to the first."""
    files = sorted(Path(site).rglob("*.html"))
    names = [file.relative_to(site).as_posix() for file in files]
    return [name for name in names if not name.startswith("_") and name != "index.html"]


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("sites", nargs="+", metavar="NAME=FOLDER")
    parser.add_argument("--pages", nargs="+", help="pages to load, all by default")
    parser.add_argument("--runs", type=int, default=3, help="loads of each, the middle counts")
    parser.add_argument("--down", action="store_true", help="scroll to the end of each page")
    settings = parser.parse_args()
    sites = dict(site.split("=", 1) for site in settings.sites)
    pages = settings.pages or all_pages(next(iter(sites.values())))
    found = {}
    with sync_playwright() as playwright:
        flags = ["--no-sandbox", "--disable-gpu"]
        browser = playwright.chromium.launch(executable_path=chromium.find(), args=flags)
        servers = {}
        for name, folder in sites.items():
            handler = functools.partial(Zipped, directory=folder)
            servers[name] = http.server.ThreadingHTTPServer(("127.0.0.1", 0), handler)
            threading.Thread(target=servers[name].serve_forever, daemon=True).start()
        for page in pages * settings.runs:
            for name, server in servers.items():
                address = f"http://127.0.0.1:{server.server_port}/{page}"
                found.setdefault((page, name), []).append(weigh(browser, address, settings.down))
        browser.close()
    print(f"{'page':44}{'site':8}" + "".join(f"{title:>15}" for title in HEAD))
    for (page, name), rows in found.items():
        middle = [statistics.median(column) for column in zip(*rows, strict=True)]
        print(f"{page:44}{name:8}" + "".join(f"{number:>15.6g}" for number in middle))


if __name__ == "__main__":
    main()
