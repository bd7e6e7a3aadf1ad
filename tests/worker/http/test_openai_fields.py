"""What a form on OpenAI's route asks for, in the spellings that clients use."""

from __future__ import annotations

import pytest

from modelward.worker.http.errors import ApiError
from modelward.worker.http.openai_fields import FORMATS, requested_fields

VERBOSE = ("response_format", "verbose_json")


def read(*fields: tuple[str, str]) -> tuple[str, bool, bool, bool]:
    """Format, words, segments, stream of a form with these fields."""
    repeated: dict[str, list[str]] = {}
    for name, value in fields:
        repeated.setdefault(name, []).append(value)
    found = requested_fields({name: values[-1] for name, values in repeated.items()}, repeated)
    return found.format, found.words, found.segments, found.stream


@pytest.mark.parametrize(
    "sent",
    [
        [("timestamp_granularities[]", "word"), ("timestamp_granularities[]", "segment")],
        [("timestamp_granularities", "word"), ("timestamp_granularities", "segment")],
        [("timestamp_granularities[0]", "word"), ("timestamp_granularities[1]", "segment")],
        [("timestamp_granularities", '["word", "segment"]')],
        [("timestamp_granularities[]", '["word","segment"]')],
        [("timestamp_granularities", "word,segment")],
        [("timestamp_granularities", " Word , SEGMENT ")],
        [("timestamp_granularities", "'word'"), ("timestamp_granularities[]", '"segment"')],
    ],
)
def test_a_list_is_read_however_it_is_sent(sent: list[tuple[str, str]]) -> None:
    assert read(VERBOSE, *sent) == ("verbose_json", True, True, False)


@pytest.mark.parametrize("nothing", [[], [("timestamp_granularities[]", "")], [("timestamp_granularities", "[]")]])
def test_segments_come_when_nothing_is_asked_for(nothing: list[tuple[str, str]]) -> None:
    assert read(VERBOSE, *nothing) == ("verbose_json", False, True, False)


@pytest.mark.parametrize("form", FORMATS)
def test_times_may_be_asked_for_in_every_format(form: str) -> None:
    assert read(("response_format", form), ("timestamp_granularities[]", "word")) == (form, True, False, False)


@pytest.mark.parametrize("form", ["JSON", " srt ", "Verbose_JSON"])
def test_a_format_is_known_in_any_case(form: str) -> None:
    assert read(("response_format", form))[0] == form.strip().lower()


def test_what_is_not_openais_and_what_has_no_effect_is_passed_over() -> None:
    sent = [
        ("prompt", "numbers"),
        ("temperature", "0.2"),
        ("chunking_strategy", "auto"),
        ("diarize", "true"),
        ("x", ""),
    ]
    assert read(*sent) == ("json", False, False, False)


@pytest.mark.parametrize(
    ("sent", "param"),
    [
        (("response_format", "xml"), "response_format"),
        (("response_format", "diarized_json"), "response_format"),
        (("timestamp_granularities[]", "letter"), "timestamp_granularities"),
        (("timestamp_granularities", '["word", {"a": 1}]'), "timestamp_granularities"),
        (("timestamp_granularities", "[word"), "timestamp_granularities"),
        (("include[]", "logprobs"), "include"),
        (("include", '["logprobs"]'), "include"),
        (("known_speaker_names[]", "Ann"), "known_speaker_names"),
        (("known_speaker_references[0]", "data:"), "known_speaker_references"),
        (("temperature", "hot"), "temperature"),
        (("stream", "perhaps"), "stream"),
    ],
)
def test_what_cannot_be_had_is_refused_by_its_name(sent: tuple[str, str], param: str) -> None:
    with pytest.raises(ApiError) as caught:
        read(sent)
    assert (caught.value.status, caught.value.param) == (400, param)
    assert caught.value.message.startswith("cannot")
