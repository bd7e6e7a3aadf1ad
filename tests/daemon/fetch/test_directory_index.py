"""Pages that servers make for directories, and pages that mean harm."""

from __future__ import annotations

import pytest
from hypothesis import given
from hypothesis import strategies as st

from modelward.daemon.fetch.directory_index import MAX_LINKS, entries_of

URL = "https://example.org/models/v1/"
NGINX = """<html><head><title>Index of /models/v1/</title></head><body><h1>Index of /models/v1/</h1><hr><pre>
<a href="../">../</a>
<a href="golden/">golden/</a>                                            01-Dec-2026 07:00                   -
<a href="model%20a.onnx">model a.onnx</a>                                01-Dec-2026 07:00           241000000
</pre><hr></body></html>"""
CADDY = """<!DOCTYPE html><html><body><a href="/">example.org</a> <a href="./?sort=name&order=desc">Name</a>
<table><tr class="file"><td><a href="./golden/"><span class="name">golden</span></a></td></tr>
<tr class="file"><td><a href="./model%20a.onnx"><span class="name">model a.onnx</span></a></td></tr>
</table></body></html>"""
PYTHON = """<!DOCTYPE HTML><html lang="en"><body><h1>Directory listing for /models/v1/</h1><hr><ul>
<li><a href="golden/">golden/</a></li>
<li><a href="model%20a.onnx">model a.onnx</a></li></ul><hr></body></html>"""
APACHE = """<html><body><table><tr><th><a href="?C=N;O=D">Name</a></th></tr>
<tr><td><a href="/models/">Parent Directory</a></td></tr>
<tr><td><a href="golden/">golden/</a></td></tr><tr><td><a href='model%20a.onnx'>model a.onnx</a></td></tr></table>"""


@pytest.mark.parametrize("page", [NGINX, CADDY, PYTHON, APACHE])
def test_the_entries_of_a_directory_are_found(page: str) -> None:
    assert entries_of(page, URL) == (["model a.onnx"], ["golden"])


@pytest.mark.parametrize(
    "link",
    [
        "../x", "/etc/passwd", "/models/v1", "/models/v10/x", "https://other.org/models/v1/x",
        "//other.org/models/v1/x",
        "http://example.org/models/v1/x",
        "https://example.org:8443/models/v1/x", "%2e%2e/", "..%2fx", "a%2fb", "a%00b",
        "a%0ab", "a%5cb", "%ff", ".", "./", "?x=1", "a?x=1", "#top", "a/../../x", "golden/a", "javascript:x",
        "https://[x",
    ],
)  # fmt: skip
def test_nothing_that_leads_elsewhere_is_taken(link: str) -> None:
    assert entries_of(f'<a href="{link}">x</a>', URL) == ([], [])


@given(st.lists(st.text(alphabet="./%2fe0a\\\\?#:@[]0", max_size=20), max_size=5))
def test_whatever_a_page_links_to_names_stay_names(links: list[str]) -> None:
    for name in [name for found in entries_of("".join(f'<a href="{link}">' for link in links), URL) for name in found]:
        assert name not in ("", ".", "..") and name.isprintable() and not set(name) & {"/", "\\"}


def test_a_page_without_end_gives_no_more_than_is_allowed() -> None:
    files, _ = entries_of("".join(f'<a href="f{n}">' for n in range(MAX_LINKS + 100)), URL)
    assert len(files) == MAX_LINKS
