"""Mirrors and tokens, as the hubs' own tools read them."""

from __future__ import annotations

import pytest

from modelward.daemon.errors import BadUsage
from modelward.daemon.fetch.hub_environment import endpoint_of, token_of
from modelward.daemon.fetch.sources import Hub


@pytest.mark.parametrize(
    ("hub", "environment", "endpoint"),
    [
        ("hf", {}, "https://huggingface.co"),
        ("hf", {"HF_ENDPOINT": "https://hf-mirror.com/"}, "https://hf-mirror.com"),
        ("ms", {"HF_ENDPOINT": "https://hf-mirror.com/"}, "https://modelscope.cn"),
        ("ms", {"MODELSCOPE_DOMAIN": "www.modelscope.ai"}, "https://www.modelscope.ai"),
        ("ms", {"MODELSCOPE_ENDPOINT": "http://10.0.0.1:8000", "MODELSCOPE_DOMAIN": "x"}, "http://10.0.0.1:8000"),
    ],
)
def test_a_mirror_may_be_named(hub: Hub, environment: dict[str, str], endpoint: str) -> None:
    assert endpoint_of(hub, environment) == endpoint


def test_a_token_is_one_word() -> None:
    assert token_of("hf", {}) == "" and token_of("hf", {"HF_TOKEN": " hf_x\n"}) == "hf_x"
    assert token_of("ms", {"HF_TOKEN": "hf_x", "MODELSCOPE_API_TOKEN": "ms_x"}) == "ms_x"
    for wrong in ("a b", "a\nb: c", "密"):
        with pytest.raises(BadUsage, match="cannot use HF_TOKEN"):
            token_of("hf", {"HF_TOKEN": wrong})
