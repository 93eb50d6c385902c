"""vit_teach.data against a server on loopback that can cut, refuse, forget and lie."""

import threading
import time
import urllib.request
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer

import pytest
from small_cifar import SmallCifar

from vit_teach import data
from vit_teach.data import cifar, download
from vit_teach.data.__main__ import main as data_command

ARCHIVE = "cifar-10-python.tar.gz"
PARQUET = {split: f"{split}-00000-of-00001.parquet" for split in ("train", "test")}


class Handler(BaseHTTPRequestHandler):
    """Serves `server.files`; cuts the answers short after `server.cuts` bytes, one per request."""

    protocol_version = "HTTP/1.1"

    def do_GET(self):
        server, path = self.server, self.path.lstrip("/")
        asked = self.headers.get("Range")
        server.log.append((path, asked))
        if server.leads_to:
            self.send_response(302)
            self.send_header("Location", server.leads_to.pop(0))
            self.send_header("Content-Length", "0")
            return self.end_headers()
        if path not in server.files:
            return self.send_error(404)
        if server.failures:
            return self.send_error(server.failures.pop(0))
        body, first = server.files[path], 0
        if asked and server.ranges:
            first = int(asked.removeprefix("bytes=").rstrip("-"))
            if first >= len(body):
                self.send_response(416)
                self.send_header("Content-Range", f"bytes */{len(body)}")
                self.send_header("Content-Length", "0")
                return self.end_headers()
            self.send_response(206)
            first += server.shift
            self.send_header("Content-Range", f"bytes {first}-{len(body) - 1}/{len(body)}")
        else:
            self.send_response(200)
        if server.lengths:
            self.send_header("Content-Length", server.says or str(len(body) - first))
        else:
            self.send_header("Connection", "close")
        self.end_headers()
        until = first + server.cuts.pop(0) if server.cuts else len(body)
        self.wfile.write(body[first:until])
        self.close_connection = True

    def log_message(self, *arguments):
        pass


@pytest.fixture
def server():
    with ThreadingHTTPServer(("127.0.0.1", 0), Handler) as server:
        server.files, server.log, server.cuts, server.failures = {}, [], [], []
        server.ranges, server.lengths, server.shift = True, True, 0
        server.leads_to, server.says = [], None
        server.url = f"http://127.0.0.1:{server.server_port}"
        threading.Thread(target=server.serve_forever, args=(0.02,), daemon=True).start()
        yield server
        server.shutdown()


@pytest.fixture
def small(monkeypatch, tmp_path, server):
    """A small CIFAR-10, served as archive (at /a/) and as parquet (at /p/); quick new attempts."""
    small = SmallCifar()
    small.root = tmp_path / "data"
    monkeypatch.setitem(cifar.PUBLISHED, "cifar10", small.facts())
    monkeypatch.setenv("VIT_TEACH_DATA", str(small.root))
    monkeypatch.delenv("VIT_TEACH_MIRROR", raising=False)
    monkeypatch.setenv("no_proxy", "127.0.0.1")
    monkeypatch.setattr(download, "PAUSE", 0)
    monkeypatch.setattr(download, "CHUNK", 1000)
    published = small.write_parquet(tmp_path / "hub")
    server.files = {f"p/{file}": (published / file).read_bytes() for file in PARQUET.values()}
    server.files[f"a/{ARCHIVE}"] = small.archive()
    small.archive_url, small.parquet_url = f"{server.url}/a/{ARCHIVE}", f"{server.url}/p"
    small.folder = small.root / "cifar10"
    monkeypatch.setitem(download.SOURCES, "cifar10", (small.parquet_url, small.archive_url))
    return small


def names(folder):
    return sorted(p.name for p in folder.iterdir() if p.is_file())


def part_of(small):
    part = download.Item(small.archive_url, small.folder / ARCHIVE, ()).part
    part.parent.mkdir(parents=True, exist_ok=True)
    return part


def test_command_fetches_parquet_from_the_first_source(small, server, capsys):
    assert data_command(["cifar10"]) == 0
    assert names(small.folder) == sorted(PARQUET.values())
    assert [path for path, _ in server.log] == [f"p/{PARQUET['train']}", f"p/{PARQUET['test']}"]
    assert "CIFAR-10 is ready" in capsys.readouterr().out
    assert len(data.load("cifar10")) == 50
    assert data_command(["cifar10"]) == 0
    assert len(server.log) == 2  # a good copy is not fetched again


def test_archive_by_mirror_option_into_a_folder(small, server, tmp_path, capsys):
    folder = tmp_path / "elsewhere"
    assert data_command(["cifar10", "--folder", str(folder), "--mirror", small.archive_url]) == 0
    assert names(folder / "cifar10") == [ARCHIVE]
    assert f"set VIT_TEACH_DATA={folder}" in capsys.readouterr().out
    assert len(server.log) == 1


def test_mirrors_by_environment_variable(small, server, monkeypatch):
    monkeypatch.setenv("VIT_TEACH_MIRROR", f"{server.url}/nothing {small.archive_url}")
    assert data_command(["cifar10"]) == 0
    assert [path for path, _ in server.log] == [f"nothing/{PARQUET['train']}", f"a/{ARCHIVE}"]


@pytest.mark.parametrize("lengths", [True, False])
def test_cut_connections_go_on_where_they_stopped(small, server, lengths):
    if not lengths:  # then only a check of the whole file can tell that it was cut
        server.files[f"a/{ARCHIVE}"] = small.archive()
    server.lengths = lengths
    server.cuts = [4000, 3000] if lengths else []
    download.download("cifar10", mirrors=[small.archive_url])
    ranges = [asked for _, asked in server.log]
    assert ranges == ([None, "bytes=4000-", "bytes=7000-"] if lengths else [None])
    assert names(small.folder) == [ARCHIVE]


def test_a_later_run_goes_on_where_an_earlier_one_stopped(small, server):
    part_of(small).write_bytes(small.archive()[:2500])
    download.download("cifar10", mirrors=[small.archive_url])
    assert server.log == [(f"a/{ARCHIVE}", "bytes=2500-")]
    assert (small.folder / ARCHIVE).read_bytes() == small.archive()
    assert names(small.folder) == [ARCHIVE]


def test_a_complete_part_needs_only_its_name(small, server):
    part_of(small).write_bytes(small.archive())
    download.download("cifar10", mirrors=[small.archive_url])
    assert names(small.folder) == [ARCHIVE] and len(server.log) == 1


def test_a_part_that_is_too_long_is_begun_again(small, server):
    part_of(small).write_bytes(small.archive() + b"more")
    download.download("cifar10", mirrors=[small.archive_url])
    assert (small.folder / ARCHIVE).read_bytes() == small.archive()


def test_a_server_without_ranges_sends_all_again(small, server):
    server.ranges = False
    part_of(small).write_bytes(small.archive()[:2500])
    download.download("cifar10", mirrors=[small.archive_url])
    assert (small.folder / ARCHIVE).read_bytes() == small.archive()


def test_pieces_that_do_not_fit_are_fetched_once_more(small, server):
    part_of(small).write_bytes(b"x" * 2500)
    download.download("cifar10", mirrors=[small.archive_url])
    assert [asked for _, asked in server.log] == ["bytes=2500-", None]
    assert (small.folder / ARCHIVE).read_bytes() == small.archive()


def test_a_wrong_range_is_not_appended(small, server):
    server.shift = 10
    part_of(small).write_bytes(small.archive()[:2500])
    with pytest.raises(download.DownloadError, match="another part of the file"):
        download.download("cifar10", mirrors=[small.archive_url])
    assert part_of(small).read_bytes() == small.archive()[:2500]


def test_wrong_md5_leads_to_the_next_source(small, server, capsys):
    server.files[f"bad/{ARCHIVE}"] = small.archive()[:-1] + b"?"
    bad = f"{server.url}/bad/{ARCHIVE}"
    download.download("cifar10", mirrors=[bad, small.archive_url])
    assert "its md5 is" in capsys.readouterr().out
    assert names(small.folder) == [ARCHIVE]
    assert len(data.load("cifar10")) == 50


def test_a_web_page_in_place_of_parquet_is_not_kept(small, server):
    server.files[f"p/{PARQUET['train']}"] = b"<html>Please log in</html>"
    with pytest.raises(download.DownloadError, match="not CIFAR parquet"):
        download.download("cifar10", mirrors=[small.parquet_url])
    assert names(small.folder) == []


def test_server_errors_are_waited_out(small, server):
    server.failures = [503, 500]
    download.download("cifar10", mirrors=[small.archive_url])
    assert len(server.log) == 3


def test_a_source_that_stays_cut_is_given_up_and_its_part_kept(small, server):
    server.cuts = [4000] + [0] * 20
    with pytest.raises(download.DownloadError) as error:
        download.download("cifar10", mirrors=[small.archive_url])
    assert len(server.log) == download.ATTEMPTS
    assert part_of(small).read_bytes() == small.archive()[:4000]
    assert "What has arrived so far is kept" in str(error.value)
    with pytest.raises(FileNotFoundError, match="half downloaded"):
        data.load("cifar10")


def test_failure_lists_what_was_tried_and_the_way_by_hand(small, server, capsys):
    server.files.clear()
    assert data_command(["cifar10", "--mirror", "http://127.0.0.1:9/x.tar.gz"]) == 1
    assert data_command(["cifar10"]) == 1
    message = capsys.readouterr().err
    assert "http://127.0.0.1:9/x.tar.gz" in message and "refused" in message
    for words in (small.parquet_url, small.archive_url, "404", "By hand", str(small.folder)):
        assert words in message
    assert "--mirror URL" in message


def test_a_damaged_copy_is_not_overwritten(small, server, capsys):
    small.write_archive(small.root).write_bytes(b"damaged")
    assert data_command(["cifar10"]) == 1
    assert (small.folder / ARCHIVE).read_bytes() == b"damaged"
    assert "Move it away" in capsys.readouterr().err and server.log == []


def test_only_the_missing_split_is_fetched(small, server):
    small.write_parquet(small.folder)
    (small.folder / PARQUET["test"]).unlink()
    download.download("cifar10")
    assert [path for path, _ in server.log] == [f"p/{PARQUET['test']}"]


def test_control_c_says_how_to_go_on(small, monkeypatch, capsys):
    def stop(*arguments):
        raise KeyboardInterrupt

    monkeypatch.setattr(download, "download", stop)
    assert data_command(["cifar10"]) == 130
    assert "goes on from there" in capsys.readouterr().out


def test_unknown_name():
    with pytest.raises(ValueError, match="name='mnist' must be one of cifar10, cifar100"):
        download.download("mnist")


def test_official_host_is_asked_last():
    for name, sources in download.SOURCES.items():
        assert "huggingface.co" in sources[0] and "cs.toronto.edu" in sources[-1]
        assert all(cifar.PUBLISHED[name].archive in s for s in sources[1:])


def test_the_progress_bar_goes_on_from_what_is_there(small, server, capsys):
    part_of(small).write_bytes(small.archive()[:2500])
    server.cuts = [1500]
    download.download("cifar10", mirrors=[small.archive_url])
    size = len(small.archive())
    cut, whole = [line for line in capsys.readouterr().err.splitlines() if line.strip()][-2:]
    assert f"{4000 / size:4.0%}" in cut
    assert "100%" in whole


def test_without_a_length_the_progress_bar_counts(small, server, capsys):
    server.lengths = False
    download.download("cifar10", mirrors=[small.archive_url])
    last = capsys.readouterr().err.splitlines()[-1]
    assert "B/s" in last and "%" not in last


def test_a_server_that_hangs_or_resets_loses_nothing(small, monkeypatch):
    """Raw sockets: the first answer stalls, the second is reset, both in the middle of a chunk."""
    import socket
    import struct

    monkeypatch.setattr(download, "TIMEOUT", 0.3)
    monkeypatch.setattr(download, "CHUNK", 1 << 18)  # more than the whole file
    body, asked, stalled = small.archive(), [], []

    def serve(listener):
        for number in range(3):
            connection, _ = listener.accept()
            head = connection.recv(10_000).decode()
            first = int(head.split("bytes=")[1].split("-")[0]) if "Range" in head else 0
            asked.append(first)
            status = f"206 x\r\nContent-Range: bytes {first}-{len(body) - 1}/{len(body)}"
            answer = f"HTTP/1.1 {status if first else '200 OK'}\r\n"
            answer += f"Content-Length: {len(body) - first}\r\n\r\n"
            until = first + 3000 if number < 2 else len(body)
            connection.sendall(answer.encode() + body[first:until])
            if number == 0:
                stalled.append(connection)  # stays open, and nothing more comes
                continue
            if number == 1:
                time.sleep(0.2)
                linger = struct.pack("ii", 1, 0)  # a reset in place of an orderly end
                connection.setsockopt(socket.SOL_SOCKET, socket.SO_LINGER, linger)
            connection.close()

    with socket.create_server(("127.0.0.1", 0)) as listener:
        thread = threading.Thread(target=serve, args=(listener,), daemon=True)
        thread.start()
        url = f"http://127.0.0.1:{listener.getsockname()[1]}/{ARCHIVE}"
        download.download("cifar10", mirrors=[url])
        thread.join(5)
    assert asked == [0, 3000, 6000]
    assert (small.folder / ARCHIVE).read_bytes() == body


@pytest.mark.parametrize("mirror, words", [
    ("notaurl", "must begin with https://"), ("http://[::1", "no URL"), ("ftp://x/y", "https://"),
    ("file:///etc/passwd", "must begin with https://"), ("http://a b/", "no URL"),
    ("http://127.0.0.1:99999/x", "refused"),
])  # fmt: skip
def test_a_mirror_that_is_none(small, mirror, words, capsys):
    assert data_command(["cifar10", "--mirror", mirror]) == 1
    message = capsys.readouterr().err
    assert words in message and "Traceback" not in message
    assert "is kept" not in message  # nothing came


@pytest.mark.parametrize("length", ["abc", "-5", "1" * 400])
def test_a_length_that_is_none(small, server, length, capsys):
    server.says = length
    assert data_command(["cifar10", "--mirror", small.archive_url]) == 1
    assert "could not be fetched" in capsys.readouterr().err


@pytest.mark.parametrize("target", ["ftp://127.0.0.1/x"])
def test_a_redirect_away_from_the_web_is_not_followed(small, server, target):
    server.leads_to = [target]
    with pytest.raises(download.DownloadError, match=f"leads from http to {target}: not followed"):
        download.download("cifar10", mirrors=[small.archive_url])
    server.leads_to = ["file:///etc/passwd"]
    with pytest.raises(download.DownloadError, match="file:///etc/passwd' is not allowed"):
        download.download("cifar10", mirrors=[small.archive_url])
    handler, request = download.Redirects(), urllib.request.Request("https://a.org/x")
    with pytest.raises(download.DownloadError, match="leads from https to http://a.org/y"):
        handler.redirect_request(request, None, 302, "", {}, "http://a.org/y")


def test_a_redirect_to_another_host_is_named(small, server, capsys):
    server.leads_to = [f"http://localhost:{server.server_port}/a/{ARCHIVE}"]
    download.download("cifar10", mirrors=[small.archive_url])
    assert "127.0.0.1 leads to localhost" in capsys.readouterr().out


def test_a_full_disk_is_no_fault_of_the_network(small, server, monkeypatch):
    def full(*_):
        raise OSError(28, "No space left on device")

    monkeypatch.setattr(download, "_pour", full)
    with pytest.raises(download.DiskError, match="cannot be written: .*No space left"):
        download.download("cifar10")
    assert len(server.log) == 1  # no second try, no second source


def test_wrong_arguments():
    with pytest.raises(ValueError, match="folder=5 must be a path"):
        download.download("cifar10", folder=5)
    for mirrors in ("https://a.org", [5]):
        with pytest.raises(ValueError, match="mirrors=.* must be a list of URLs"):
            download.download("cifar10", mirrors=mirrors)
