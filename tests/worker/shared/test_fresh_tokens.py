"""A token file beside an event loop: what is in the file now counts, and a disk that hangs holds up nobody."""

from __future__ import annotations

import asyncio
import threading
from collections.abc import Callable, Coroutine
from pathlib import Path
from typing import Any

from tests.support import PATIENCE_SECONDS, soon

from modelward.worker.shared.fresh_tokens import FreshTokens


class Hanging(FreshTokens):
    """Its looks wait for `answers`."""

    def __init__(self, path: Path) -> None:
        super().__init__(str(path), lambda problem: None)
        self.answers = threading.Event()
        self.looks = 0

    def refresh(self) -> None:
        self.looks += 1
        self.answers.wait(PATIENCE_SECONDS)
        super().refresh()


def run(test: Callable[[], Coroutine[Any, Any, None]]) -> None:
    asyncio.run(asyncio.wait_for(test(), PATIENCE_SECONDS))


def test_a_change_before_the_call_counts_after_it(tmp_path: Path) -> None:
    async def test() -> None:
        tokens = FreshTokens(str(tmp_path / "tokens"), lambda problem: None)
        assert not tokens.check("a")
        for token in "abc":
            (tmp_path / "new").write_text(token)
            (tmp_path / "new").rename(tmp_path / "tokens")
            await asyncio.gather(*(tokens.fresh() for _ in range(20)))
            assert [bool(tokens.check(other)) for other in "abc"] == [other == token for other in "abc"]
        tokens.close()

    run(test)


def test_while_the_disk_does_not_answer_what_was_known_holds_and_looks_do_not_pile_up(tmp_path: Path) -> None:
    async def test() -> None:
        (tmp_path / "tokens").write_text("good\n")
        tokens = Hanging(tmp_path / "tokens")
        tokens.answers.set()
        await tokens.fresh()
        assert tokens.check("good")
        tokens.answers.clear()
        (tmp_path / "tokens").write_text("other\n")
        for _ in range(100):
            await tokens.fresh()
        assert tokens.check("good") and tokens.looks == 2
        tokens.answers.set()
        await soon(lambda: tokens.check("other") and not tokens.check("good"))
        tokens.close()

    run(test)


def test_a_problem_that_comes_or_goes_is_told_on_the_event_loop(tmp_path: Path) -> None:
    async def test() -> None:
        loop_thread, told = threading.get_ident(), list[int]()

        def changed() -> None:
            told.append(threading.get_ident())

        tokens = FreshTokens(str(tmp_path / "tokens"), lambda problem: None, changed=changed)
        tokens.soon()
        await soon(lambda: told == [loop_thread])
        assert "No such file" in tokens.problem()
        (tmp_path / "tokens").write_text("good\n")
        tokens.soon()
        await soon(lambda: told == [loop_thread, loop_thread])
        assert not tokens.problem()
        tokens.close()

    run(test)
