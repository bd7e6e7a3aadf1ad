"""A worker that speaks the protocol and serves nobody: a program, for a worker is known by its process.

`python worker.py SOCKET NAME SCRIPT`: SCRIPT is JSON, by version, or by its artifact's directory name, what it does
with it ("refuse", "hang", "hang at commit", "no commit", "dies" once it serves it, "fails" every other request), and
under "*" how it behaves: "slow" loads its welcome for ever, "ignores drain", "loses drain" leaves its connection at
the first word to leave; a number takes so many seconds for its welcome. SIGUSR1 makes it join anew; SIGUSR2 makes it
leave its connection and die of SIGABRT a little later. Standard library only.
"""

from __future__ import annotations

import json
import os
import resource
import signal
import socket
import sys
import time


class Worker:
    def __init__(self, path: str, name: str, script: dict[str, object]) -> None:
        self.path, self.name, self.script = path, name, script
        self.serving = self.artifact = ""
        self.prepared: dict[str, tuple[str, str]] = {}
        self.requests = self.errors = 0
        self.load_until: tuple[float, str, str] | None = None
        self.connection = socket.socket()
        self.again = False

    def join_anew(self, *_: object) -> None:
        self.again = True

    def die_slowly(self, *_: object) -> None:
        self.connection.close()
        time.sleep(0.4)
        os.abort()

    def run(self) -> None:
        while True:
            try:
                self.connection = socket.socket(socket.AF_UNIX)
                self.connection.connect(self.path)
                self.live()
            except OSError:
                pass
            self.connection.close()
            self.prepared.clear()
            time.sleep(0.05)

    def live(self) -> None:
        hello = {"type": "hello", "protocol": 1, "pid": os.getpid(), "name": self.name, "attached": False}
        self.say(**hello, serving=self.serving, artifact=self.artifact)
        held = b""
        self.connection.settimeout(0.05)
        while True:
            try:
                data = self.connection.recv(65536)
                if not data:
                    return
            except TimeoutError:
                data = b""
            *lines, held = (held + data).split(b"\n")
            for line in lines:
                self.hear(json.loads(line))
            self.loaded()
            if self.again:
                self.again = False
                return

    def say(self, **message: object) -> None:
        self.connection.sendall(json.dumps(message).encode() + b"\n")

    def serve(self, rollout: str, version: str, artifact: str) -> None:
        self.serving, self.artifact = version, artifact
        self.beat()
        self.say(type="serving", rollout=rollout, version=version)
        if self.how(version, artifact) == "dies":
            os.abort()
        if self.how(version, artifact) == "fails":
            self.requests, self.errors = self.requests + 100, self.errors + 50
            self.beat()

    def how(self, version: str, artifact: str) -> object:
        return self.script.get(os.path.basename(artifact), self.script.get(version))

    def beat(self) -> None:
        self.say(type="beat", requests=self.requests, errors=self.errors, p95_seconds=0.01)

    def loaded(self) -> None:
        if self.load_until is not None and time.monotonic() >= self.load_until[0]:
            _, version, artifact = self.load_until
            self.load_until = None
            self.serve("", version, artifact)

    def hear(self, message: dict[str, str]) -> None:
        kind, how = message["type"], self.how(message.get("version", ""), message.get("artifact", ""))
        if kind == "welcome":
            self.welcomed(message)
        elif kind == "prepare":
            self.load_until = None
            if message["unload_first"]:
                self.serving = self.artifact = ""
            if how == "refuse":
                self.say(type="refused", rollout=message["rollout"], version=message["version"], reason="bad graph")
            elif how != "hang":
                self.prepared[message["rollout"]] = message["version"], message["artifact"]
                self.say(type="prepared", rollout=message["rollout"], version=message["version"])
        elif kind == "commit":
            self.commit(message["rollout"])
        elif kind == "abort":
            self.prepared.pop(message["rollout"], None)
        elif kind == "reopen_logs":
            self.say(type="reopened")
        elif kind == "drain" and self.script.get("*") == "loses drain":
            self.script["*"] = ""
            self.again = True
        elif kind == "stop" or (kind == "drain" and self.script.get("*") != "ignores drain"):
            self.say(type="drained")
            os._exit(0)

    def welcomed(self, message: dict[str, str]) -> None:
        version, artifact, wait = message["version"], message["artifact"], self.script.get("*")
        if not version or (version, artifact) == (self.serving, self.artifact) or wait == "slow":
            self.beat()
        elif self.script.get(version) == "refuse":
            self.say(type="refused", rollout="", version=version, reason="bad graph")
        else:
            seconds = wait if isinstance(wait, float | int) else 0.0
            self.load_until = time.monotonic() + seconds, version, artifact

    def commit(self, rollout: str) -> None:
        version, artifact = self.prepared.pop(rollout, ("", ""))
        how = self.how(version, artifact)
        if not version or how == "no commit":
            self.say(type="refused", rollout=rollout, version="", reason="nothing is prepared under this rollout")
        elif how != "hang at commit":
            self.serve(rollout, version, artifact)


def main() -> None:
    path, name, script = sys.argv[1], sys.argv[2], json.loads(sys.argv[3])
    resource.setrlimit(resource.RLIMIT_CORE, (0, 0))
    if script.get("*") == "ignores drain":
        signal.signal(signal.SIGTERM, signal.SIG_IGN)
    worker = Worker(path, name, script)
    signal.signal(signal.SIGUSR1, worker.join_anew)
    signal.signal(signal.SIGUSR2, worker.die_slowly)
    worker.run()


if __name__ == "__main__":
    main()
