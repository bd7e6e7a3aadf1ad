"""The runtime that MLServer imports: a recogniser loaded from the link each time the model is loaded."""

from mlserver import MLModel
from mlserver.codecs import StringCodec
from mlserver.types import InferenceRequest, InferenceResponse


class Runtime(MLModel):
    async def load(self) -> bool:
        from tests.bench.peers.recognizer import Recognizer

        self.recognizer = Recognizer(self.settings.parameters.extra["link"], 1)
        return True

    async def predict(self, payload: InferenceRequest) -> InferenceResponse:
        import base64

        (audio,) = StringCodec.decode_input(payload.inputs[0])
        text = self.recognizer.text(base64.b64decode(audio))
        outputs = [
            StringCodec.encode_output("text", [text]),
            StringCodec.encode_output("version", [self.recognizer.version]),
        ]
        return InferenceResponse(model_name=self.name, outputs=outputs)
