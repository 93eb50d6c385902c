"""Weigh pages of built sites as a visitor gets them: kB with gzip, requests, times, shift.

    python tools/page_weight.py NAME=SITE_FOLDER [NAME=SITE_FOLDER ...] [--pages a.html b.html]

Each page is loaded at a processor four times slower; sites take turns, so that other work on the
machine falls on all of them. Times are good to a factor of two, kB and requests are exact.
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

PAGES = ["book/index.html", "book/06_encoder.html", "book/xray.html", "book/appendix/widgets.html"]
WATCH = """window.seen = { shift: 0, tasks: [] };
const watch = (type, take) => new PerformanceObserver((list) => list.getEntries().forEach(take))
  .observe({ type, buffered: true });
watch("layout-shift", (e) => { if (!e.hadRecentInput) seen.shift += e.value; });
watch("longtask", (e) => seen.tasks.push([e.startTime, e.duration]));"""
READ = """() => ({
  paint: performance.getEntriesByName("first-contentful-paint")[0]?.startTime ?? 0,
  ready: Math.max(performance.timing.domContentLoadedEventEnd - performance.timing.navigationStart,
    ...seen.tasks.map(([start, length]) => start + length)),
  longest: Math.max(0, ...seen.tasks.map(([, length]) => length)), shift: seen.shift })"""
HEAD = "kB", "requests", "paint ms", "interactive ms", "longest ms", "shift"


class Zipped(http.server.SimpleHTTPRequestHandler):
    """Serves a folder with gzip level 6, as a static host does, and counts the bytes sent."""

    sent = 0
    TEXT = (".html", ".js", ".css", ".svg", ".json")

    def do_GET(self):
        path = Path(self.translate_path(self.path))
        path = path / "index.html" if path.is_dir() else path
        if not path.is_file():
            return self.send_error(404)
        body = path.read_bytes()
        self.send_response(200)
        self.send_header("Content-Type", self.guess_type(str(path)))
        if path.suffix in self.TEXT:
            body = _zipped(path, path.stat().st_mtime)
            self.send_header("Content-Encoding", "gzip")
        self.send_header("Content-Length", str(len(body)))
        self.end_headers()
        self.wfile.write(body)
        Zipped.sent += len(body)

    def log_message(self, *_):
        pass


@functools.cache
def _zipped(path: Path, _changed: float) -> bytes:
    return gzip.compress(path.read_bytes(), 6)


def weigh(browser, address: str) -> tuple:
    """The six numbers of one load, in the order of ``HEAD``."""
    context = browser.new_context(viewport={"width": 1280, "height": 900})
    page = context.new_page()
    asked = []
    page.on("request", lambda r: asked.append(r.url) if r.url.startswith("http") else None)
    page.add_init_script(WATCH)
    context.new_cdp_session(page).send("Emulation.setCPUThrottlingRate", {"rate": 4})
    Zipped.sent = 0
    page.goto(address, wait_until="networkidle")
    page.wait_for_timeout(1500)
    seen = page.evaluate(READ)
    context.close()
    numbers = [seen[key] for key in ("paint", "ready", "longest")]
    return Zipped.sent / 1000, len(asked), *map(round, numbers), round(seen["shift"], 3)


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("sites", nargs="+", metavar="NAME=FOLDER")
    parser.add_argument("--pages", nargs="+", default=PAGES)
    parser.add_argument("--runs", type=int, default=3)
    settings = parser.parse_args()
    sites = dict(site.split("=", 1) for site in settings.sites)
    found = {}
    with sync_playwright() as playwright:
        flags = ["--no-sandbox", "--disable-gpu"]
        browser = playwright.chromium.launch(executable_path=chromium.find(), args=flags)
        servers = {}
        for name, folder in sites.items():
            handler = functools.partial(Zipped, directory=folder)
            servers[name] = http.server.ThreadingHTTPServer(("127.0.0.1", 0), handler)
            threading.Thread(target=servers[name].serve_forever, daemon=True).start()
        for page in settings.pages * settings.runs:
            for name, server in servers.items():
                address = f"http://127.0.0.1:{server.server_port}/{page}"
                found.setdefault((page, name), []).append(weigh(browser, address))
        browser.close()
    print(f"{'page':30}{'site':8}" + "".join(f"{title:>16}" for title in HEAD))
    for (page, name), rows in found.items():
        middle = [statistics.median(column) for column in zip(*rows, strict=True)]
        print(f"{page:30}{name:8}" + "".join(f"{number:>16.6g}" for number in middle))


if __name__ == "__main__":
    main()
