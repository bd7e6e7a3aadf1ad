"""A compiled form's key changes with everything the form depends on and with nothing else."""

from __future__ import annotations

from modelward.worker.shared.form_key import TELLING, flags_in, key

FLAGS = {"fpu", "avx2", "avx512_vnni"}
OPTIONS: dict[str, str | int] = {"level": "exact", "threads": 1}
KEY = key("d" * 64, "1.32.0", FLAGS, OPTIONS)


def test_the_same_things_give_the_same_key_in_any_order() -> None:
    assert key("d" * 64, "1.32.0", sorted(FLAGS, reverse=True), dict(reversed(OPTIONS.items()))) == KEY
    assert len(KEY) == 16
    int(KEY, 16)


def test_flags_that_choose_no_kernel_do_not_matter() -> None:
    assert "fpu" not in TELLING
    assert key("d" * 64, "1.32.0", FLAGS - {"fpu"}, OPTIONS) == KEY


def test_everything_else_matters() -> None:
    others = [
        key("e" * 64, "1.32.0", FLAGS, OPTIONS),
        key("d" * 64, "1.32.1", FLAGS, OPTIONS),
        key("d" * 64, "1.32.0", FLAGS - {"avx512_vnni"}, OPTIONS),
        key("d" * 64, "1.32.0", FLAGS, OPTIONS | {"level": "fast"}),
    ]
    assert len({KEY, *others}) == 5


def test_flags_are_read_from_both_kinds_of_cpuinfo() -> None:
    assert flags_in("processor\t: 0\nflags\t\t: fpu avx2\n\nprocessor\t: 1\nflags\t\t: other\n") == {"fpu", "avx2"}
    assert flags_in("processor : 0\nFeatures : fp asimd i8mm\n") == {"fp", "asimd", "i8mm"}
    assert flags_in("") == frozenset()
