"""What LitServe runs in its workers: a recogniser loaded from the link when the worker starts."""

import base64

import litserve


class Api(litserve.LitAPI):
    def __init__(self, link: str) -> None:
        super().__init__()
        self.link = link

    def setup(self, device: str) -> None:
        from tests.bench.peers.recognizer import Recognizer

        self.recognizer = Recognizer(self.link, 1)

    def decode_request(self, request: dict[str, str]) -> bytes:
        return base64.b64decode(request["audio"])

    def predict(self, audio: bytes) -> str:
        return self.recognizer.text(audio)

    def encode_response(self, output: str) -> dict[str, str]:
        return {"result": output, "version": self.recognizer.version}
