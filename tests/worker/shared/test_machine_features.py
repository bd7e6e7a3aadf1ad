"""Features of the processor as the compiler sees them."""

from __future__ import annotations

from modelward.worker.shared.machine_features import HIDE, cpu_flags


def test_features_can_be_hidden_from_the_compiler() -> None:
    every = cpu_flags({})
    assert every, "this kernel does not name the processor's features"
    one, other, *_ = sorted(every)
    assert cpu_flags({HIDE: f"{one}, {other},nothing"}) == every - {one, other}
