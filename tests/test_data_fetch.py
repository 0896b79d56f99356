"""Downloads, from servers on this machine only."""

import gzip
import hashlib
import os
import struct
import subprocess
import sys
import threading
from functools import partial
from http.server import SimpleHTTPRequestHandler, ThreadingHTTPServer

import numpy as np
import pytest

from zspace.data.loading import load
from zspace.data.readers import fetch
from zspace.data.sets import catalogue, mnist
from zspace.data.sets.catalogue import describe, sources
from zspace.system.errors import UserError

SHAPES = ((30, 2, 2), (30,), (10, 2, 2), (10,))


class Quiet(SimpleHTTPRequestHandler):
    """Files of a folder; every request is noted by the server."""

    def log_request(self, code="-", size="-"):
        self.server.requests.append(self.path)

    def log_message(self, *args): ...


@pytest.fixture
def serve():
    """Starts servers of folders and gives their addresses."""
    servers = []

    def start(folder):
        server = ThreadingHTTPServer(("127.0.0.1", 0), partial(Quiet, directory=str(folder)))
        server.requests = []
        threading.Thread(target=server.serve_forever, args=(0.01,), daemon=True).start()
        servers.append(server)
        return server, f"http://127.0.0.1:{server.server_port}/"

    yield start
    for server in servers:
        server.shutdown()
        server.server_close()


@pytest.fixture
def published(tmp_path):
    """A folder with the four gzip files of a set, and their checksums."""
    folder = tmp_path / "published"
    folder.mkdir()
    sums = []
    for name, shape in zip(mnist.NAMES, SHAPES, strict=True):
        header = bytes((0, 0, 8, len(shape))) + struct.pack(f">{len(shape)}I", *shape)
        content = gzip.compress(header + bytes(int(np.prod(shape))), mtime=0)
        (folder / f"{name}.gz").write_bytes(content)
        sums.append(hashlib.md5(content).hexdigest())
    return folder, named(*sums)


def named(*sums):
    """Checksums by the names of the files."""
    return dict(zip([f"{name}.gz" for name in mnist.NAMES], sums, strict=True))


@pytest.fixture
def pretend(monkeypatch, tmp_path):
    """Publishes kmnist at the given mirrors, with an empty cache and without pauses."""
    monkeypatch.delenv("ZSPACE_DATA", raising=False)
    monkeypatch.setattr(fetch.pooch, "os_cache", lambda name: tmp_path / "cache" / name)
    monkeypatch.setattr(fetch, "PAUSE", 0.0)

    def publish(mirrors, md5):
        remote = fetch.Remote(("kmnist",), mirrors, md5, mnist.find)
        known = catalogue.KNOWN["kmnist"]
        pretended = catalogue.Known(known.about, known.licence, known.classes, known.sizes, remote)
        monkeypatch.setitem(catalogue.KNOWN, "kmnist", pretended)

    return publish


def test_the_second_mirror_helps_and_the_cache_is_used_after(tmp_path, serve, published, pretend):
    folder, md5 = published
    (tmp_path / "empty").mkdir()
    (poor, first), (good, second) = serve(tmp_path / "empty"), serve(folder)
    pretend((first, second), md5)
    assert len(load("kmnist").test) == 10
    assert len(poor.requests) >= 4
    assert [row.local for row in sources() if row.name == "kmnist"] == [True]
    assert describe("kmnist")["local"] == str(tmp_path / "cache" / "zspace" / "kmnist")
    seen = len(good.requests)
    assert len(load("kmnist").test) == 10
    assert len(good.requests) == seen


def test_a_wrong_checksum_is_refused_and_leaves_nothing_behind(
    tmp_path, serve, published, pretend
):
    folder, md5 = published
    pretend((serve(folder)[1],), {**md5, f"{mnist.NAMES[0]}.gz": "0" * 32})
    with pytest.raises(UserError, match=r"train-images-idx3-ubyte\.gz.*wrong checksum"):
        load("kmnist")
    assert [path for path in (tmp_path / "cache").rglob("*") if path.is_file()] == []


def test_a_mirror_with_wrong_content_is_passed_over(tmp_path, serve, published, pretend):
    folder, md5 = published
    (tmp_path / "bad").mkdir()
    for path in folder.iterdir():
        (tmp_path / "bad" / path.name).write_bytes(path.read_bytes()[:-1])
    pretend((serve(tmp_path / "bad")[1], serve(folder)[1]), md5)
    assert len(load("kmnist").test) == 10


def test_a_damaged_cache_is_fetched_again(tmp_path, serve, published, pretend):
    folder, md5 = published
    pretend((serve(folder)[1],), md5)
    load("kmnist")
    name = f"{mnist.NAMES[0]}.gz"
    (tmp_path / "cache" / "zspace" / "kmnist" / name).write_bytes(b"half")
    assert len(load("kmnist").test) == 10


def test_a_failure_names_what_was_tried_and_the_remedies(tmp_path, serve, pretend, published):
    (tmp_path / "empty").mkdir()
    server, address = serve(tmp_path / "empty")
    closed = "http://127.0.0.1:1/"
    pretend((address, closed), published[1])
    with pytest.raises(UserError) as caught:
        load("kmnist")
    for part in (address, closed, "404", f"tried {fetch.ROUNDS} times", "--data-dir", "mnist5k"):
        assert part in str(caught.value)
    assert len([path for path in server.requests if "train-images" in path]) == fetch.ROUNDS


def test_local_files_come_before_any_download(tmp_path, published, pretend):
    folder, _ = published
    pretend(("http://127.0.0.1:1/",), named(*["0" * 32] * 4))
    assert len(load("kmnist", data_dir=folder).test) == 10


def test_nobody_hears_that_tqdm_lacks_its_widgets(tmp_path):
    """As in a notebook without ipywidgets, where tqdm, which pooch imports, warns."""
    (tmp_path / "tqdm").mkdir()
    (tmp_path / "tqdm" / "__init__.py").touch()
    (tmp_path / "tqdm" / "auto.py").write_text(
        "import warnings\nwarnings.warn('IProgress not found')\ntqdm = None\n"
    )
    code = (
        "import tqdm; assert not hasattr(tqdm, 'auto'); import zspace.system.downloads; tqdm.auto"
    )
    ran = subprocess.run(
        [sys.executable, "-W", "error::UserWarning", "-c", code],
        env={**os.environ, "PYTHONPATH": str(tmp_path)},
        capture_output=True,
        text=True,
        check=False,
    )
    assert (ran.returncode, ran.stderr) == (0, "")
