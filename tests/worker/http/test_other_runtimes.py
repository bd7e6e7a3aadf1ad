"""Clients of other languages' standard libraries, run as they are installed here."""

from __future__ import annotations

import shutil
import subprocess
from collections.abc import Iterator
from pathlib import Path

import pytest
from tests.support import PATIENCE_SECONDS
from tests.worker.http.serving import Served, serving, wav

pytestmark = pytest.mark.system

JAVA = """
import java.net.URI; import java.net.http.*; import java.nio.file.*; import java.io.*;
public class Ask {
  public static void main(String[] a) throws Exception {
    var body = new ByteArrayOutputStream();
    body.write("--b\\r\\nContent-Disposition: form-data; name=\\"file\\"; filename=\\"a.wav\\"\\r\\n\\r\\n".getBytes());
    body.write(Files.readAllBytes(Path.of(a[1])));
    body.write("\\r\\n--b\\r\\nContent-Disposition: form-data; name=\\"model\\"\\r\\n\\r\\n".getBytes());
    body.write("whisper-1\\r\\n--b--\\r\\n".getBytes());
    var client = HttpClient.newHttpClient();
    for (int i = 0; i < 3; i++) {
      var request = HttpRequest.newBuilder(URI.create(a[0] + "/v1/audio/transcriptions"))
        .header("Content-Type", "multipart/form-data; boundary=b")
        .POST(HttpRequest.BodyPublishers.ofByteArray(body.toByteArray())).build();
      var answer = client.send(request, HttpResponse.BodyHandlers.ofString());
      System.out.println(answer.statusCode() + " " + answer.body());
    }
  }
}
"""
NODE = """
const [url, path] = process.argv.slice(2);
const form = new FormData();
form.append("file", new Blob([require("fs").readFileSync(path)]), "录音.wav");
form.append("model", "gpt-4o-mini-transcribe");
form.append("timestamp_granularities[]", "word");
fetch(url + "/v1/audio/transcriptions", {method: "POST", body: form})
  .then(async (a) => console.log(a.status, await a.text()));
"""


@pytest.fixture
def served(tmp_path: Path) -> Iterator[Served]:
    (tmp_path / "a.wav").write_bytes(wav(1))
    with serving(tmp_path) as served:
        yield served


def ran(*command: str) -> list[str]:
    done = subprocess.run(command, capture_output=True, text=True, timeout=PATIENCE_SECONDS)
    assert done.returncode == 0, done.stderr
    return done.stdout.splitlines()


def test_the_client_of_the_jdk_which_offers_http_2(served: Served, tmp_path: Path) -> None:
    if shutil.which("javac") is None or shutil.which("java") is None:
        pytest.skip("no JDK here: apt-get install default-jdk-headless")
    (tmp_path / "Ask.java").write_text(JAVA)
    lines = ran("java", str(tmp_path / "Ask.java"), served.url, str(tmp_path / "a.wav"))
    assert len(lines) == 3 and all(line.startswith('200 {"text":"v1+itn"') for line in lines), lines


def test_fetch_of_node(served: Served, tmp_path: Path) -> None:
    if shutil.which("node") is None:
        pytest.skip("no Node.js here: apt-get install nodejs")
    (tmp_path / "ask.cjs").write_text(NODE)
    [line] = ran("node", str(tmp_path / "ask.cjs"), served.url, str(tmp_path / "a.wav"))
    assert line.startswith('200 {"text":"v1+itn"') and '"words":[]' in line
