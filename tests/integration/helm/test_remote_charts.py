# Copyright: (c) 2026, DCM platform engineers
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
"""Charts from a repository: fetched once, kept, and checked."""

from __future__ import annotations

import functools
import hashlib
import http.server
import pathlib
import subprocess
import threading
from collections.abc import Iterator

import pytest
from ansible_collections.dcm.platform.plugins.module_utils._errors import PlatformError

from tests.integration.helm.conftest import Site


@pytest.fixture
def repository(site: Site) -> Iterator[tuple[http.server.ThreadingHTTPServer, pathlib.Path]]:
    """A chart repository on this machine that holds demo 1.0.0."""
    folder = site.folder / "repository"
    folder.mkdir()
    handler = functools.partial(http.server.SimpleHTTPRequestHandler, directory=str(folder))
    server = http.server.ThreadingHTTPServer(("127.0.0.1", 0), handler)
    subprocess.run([site.helm, "package", str(site.chart()), "--destination", str(folder)], check=True, capture_output=True)
    url = f"http://127.0.0.1:{server.server_port}"
    subprocess.run([site.helm, "repo", "index", str(folder), "--url", url], check=True, capture_output=True)
    thread = threading.Thread(target=server.serve_forever)
    thread.start()
    yield server, folder
    server.shutdown()
    thread.join()
    server.server_close()


Repository = tuple[http.server.ThreadingHTTPServer, pathlib.Path]


def test_a_pinned_chart_is_fetched_once(site: Site, repository: Repository) -> None:
    server, folder = repository
    url = f"http://127.0.0.1:{server.server_port}"
    wanted = site.release("remote", "demo", chart_repo_url=url, chart_version="1.0.0")
    assert site.run(wanted)["remote"].chart == "demo-1.0.0"
    (folder / "index.yaml").unlink()
    assert not site.run(wanted)["remote"].changed
    assert site.run(site.release("second", "demo", chart_repo_url=url, chart_version="1.0.0"))["second"].changed


def test_a_fetched_chart_is_checked_and_not_kept_when_wrong(site: Site, repository: Repository) -> None:
    server, folder = repository
    url = f"http://127.0.0.1:{server.server_port}"
    good = hashlib.sha256(next(folder.glob("*.tgz")).read_bytes()).hexdigest()
    for _attempt in range(2):
        with pytest.raises(PlatformError, match=f"is {good}, but chart_digest says {'1' * 64}"):
            site.run(site.release("wrong", "demo", chart_repo_url=url, chart_version="1.0.0", chart_digest="1" * 64))
    assert site.names("secret") == set()
    assert site.run(site.release("right", "demo", chart_repo_url=url, chart_digest=good))["right"].changed


def test_a_chart_that_is_not_there_is_named(site: Site, repository: Repository) -> None:
    server, _folder = repository
    url = f"http://127.0.0.1:{server.server_port}"
    with pytest.raises(PlatformError, match=f"release 'none': chart demo 9.9.9 cannot be fetched from {url}"):
        site.run(site.release("none", "demo", chart_repo_url=url, chart_version="9.9.9"))
