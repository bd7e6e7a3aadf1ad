"""Waits for the right to run the model: as many at once as there are workers, whichever of them has the requests.

A client's connection stays with the worker that accepted it, so one worker may have three requests and another none.
Slots are shared instead of moving requests: a worker runs at the same time what its idle siblings leave free. It must
not block and not depend on the daemon: what waits for a disk, such as opening the file, runs on a thread. Invariants:
no request waits while a slot is free. Without the file, or with one slot, a worker runs one piece of work at a time, as
if it were alone.
"""

from __future__ import annotations

import asyncio
import time
from bisect import bisect_right
from collections import deque
from collections.abc import Callable
from concurrent.futures import Executor
from typing import Final

from msgspec import Struct

from . import fairness as turn
from .slot_file import Board

NO_SLOT: Final = -1
LOOK_SECONDS: Final = 0.02  # while waiting, in case a wake-up was lost with a worker
REOPEN_SECONDS: Final = 1.0
OPEN_SECONDS: Final = 0.25  # a request waits at most this long for the file to be opened


class _Waiter(Struct, eq=False):
    since_ns: int
    slot: asyncio.Future[int]


class Slots:
    """One worker's share. All methods belong to the event loop.

    `path` "" is for a worker that shares nothing. `report` is called when the file cannot be used. `aside` runs what
    opens and closes it; without one, that happens at once.
    """

    def __init__(
        self,
        path: str = "",
        *,
        report: Callable[[str], None] = lambda text: None,
        aside: Executor | None = None,
        monotonic_ns: Callable[[], int] = time.monotonic_ns,
    ) -> None:
        self._path, self._report, self._now_ns = path, report, monotonic_ns
        self._aside, self._opening = aside, None  # type: Executor | None, asyncio.Future[Board] | None
        self._board: Board | None = None
        self._opened_ns: int | None = None
        self._reported = ""
        self._line: deque[_Waiter] = deque()
        self._held: set[int] = set()
        self._running = 0
        self._standing: int | None = None
        self._others: frozenset[int] = frozenset()
        self._idle_ahead: frozenset[int] = frozenset()
        self._passed_over: frozenset[int] = frozenset()
        self._denied_ns: int | None = None
        self._alone = False
        self._timer: asyncio.TimerHandle | None = None

    @property
    def waiting(self) -> int:
        """Pieces of work of this worker that wait for a slot."""
        return len(self._line)

    @property
    def running(self) -> int:
        """Pieces of work of this worker that the model runs on."""
        return self._running

    @property
    def reach(self) -> int:
        """How many slots the piece of work that just got its turn may fill: all, while no other work runs or waits."""
        board = self._board
        if self._running != 1 or self._line or board is None:
            return 1
        try:
            return 1 if board.others_run(self._held) or board.line() else max(1, board.count())
        except OSError:  # the next check reports it
            return 1

    def jammed(self, stuck: int) -> bool:
        """Whether nothing can run here, because all that runs are `stuck` pieces and no slot is free."""
        if not stuck or stuck < self._running:
            return False
        try:
            return self._board is None or self._board.count() <= 1 or not self._board.has_free(self._held)
        except OSError:  # the next check reports it
            return False

    async def turn(self, *, later_seconds: float = 0.0) -> int:
        """Waits for a slot and returns it, for `free`. If cancelled, it has none.

        Work that can wait gives way to requests that come up to `later_seconds` later.
        """
        since = self._now_ns() + int(later_seconds * 1e9)
        waiter = _Waiter(since, asyncio.get_running_loop().create_future())
        self._line.insert(bisect_right(self._line, since, key=lambda other: other.since_ns), waiter)
        self._look()
        try:
            return await waiter.slot
        except asyncio.CancelledError:
            if waiter in self._line:
                self._line.remove(waiter)
                self._look()
                self._pass_on()
            elif not waiter.slot.cancelled():
                self.free(waiter.slot.result())
            raise

    def free(self, slot: int) -> None:
        """The piece of work that had `slot` has ended."""
        self._running -= 1
        if slot in self._held:
            self._held.remove(slot)
            if self._board is not None:
                self._board.free(slot)
        elif self._board is not None:
            self._board.back()
        if not self._look():
            self._pass_on()

    def close(self) -> None:
        """Takes no more slots. What waits is left waiting."""
        if self._timer is not None:
            self._timer.cancel()
        self._opening = None
        board = self._let_go()
        if board is not None and self._aside is not None:
            self._aside.submit(_leave, board)
        elif board is not None:
            _leave(board)

    # deciding

    def _look(self) -> int:
        """Gives slots to those of our requests whose turn it is; returns how many. Right at any moment, needed after
        each change.
        """
        try:
            shared = self._shared()
            if self._awaits_board():
                self._set_timer(waits=bool(self._line))
                return 0
            return self._give(shared)
        except OSError as e:  # no more locks are available
            self._drop_board(e)
            return self._give(None)

    def _give(self, shared: Board | None) -> int:
        given = 0
        while self._line:
            if self._line[0].slot.cancelled():
                self._line.popleft()
                continue
            slot = self._claim(self._line[0], shared) if shared else self._claim_alone()
            if slot is None:
                break
            self._running += 1
            self._line.popleft().slot.set_result(slot)
            given += 1
        if not self._line:
            self._stand(None)
            if not self._alone:
                self._denied_ns = None
        self._set_timer(waits=shared is not None and bool(self._line))
        return given

    def _claim_alone(self) -> int | None:
        return NO_SLOT if self._running == 0 else None

    def _claim(self, waiter: _Waiter, board: Board) -> int | None:
        mine = turn.mark(waiter.since_ns, board.number)
        slot = self._seize(mine, board)
        if slot is None and self._standing != mine:
            # A worker that frees a slot from now on sees our mark; a slot that became free before that can be taken
            # now.
            self._stand(mine)
            slot = self._seize(mine, board)
        if slot is not None:
            self._held.add(slot)
            self._denied_ns, self._alone = None, False
            return slot
        if self._denied_ns is None:
            self._denied_ns = self._now_ns()
        denied = (self._now_ns() - self._denied_ns) / 1e9
        if turn.goes_alone(running=self._running, denied_seconds=denied, alone_already=self._alone):
            self._alone = True
            board.go_alone()
            return NO_SLOT
        return None

    def _seize(self, mine: int, board: Board) -> int | None:
        return board.take(self._held) if turn.is_first(mine, board.line(), self._passed_over) else None

    def _stand(self, mark: int | None) -> None:
        before, self._standing = self._standing, mark
        if self._board is None or before == mark:
            return
        if mark is not None:
            self._board.stand(mark)
        if before is not None:
            self._board.step_out(before)

    def _pass_on(self) -> None:
        """Wakes the first of the other workers that wait, if there is a slot for it."""
        if self._board is not None and (others := self._board.line()) and self._board.has_free(self._held):
            first = turn.next_in_line(others, self._passed_over)
            assert first is not None
            self._board.wake(first)

    def _woken(self) -> None:
        if self._board is not None:
            self._board.clear_wake()
            self._look()
            self._pass_on()

    # time

    def _set_timer(self, *, waits: bool) -> None:
        if not waits and self._timer is not None:
            self._timer.cancel()
            self._timer, self._others, self._idle_ahead = None, frozenset(), frozenset()
        elif waits and self._timer is None:
            self._timer = asyncio.get_running_loop().call_later(LOOK_SECONDS, self._tick)

    def _tick(self) -> None:
        self._timer = None
        if self._board is not None and self._standing is not None:
            others = self._board.line()
            # A worker that left the queue to run without a slot proves nothing about the slots: otherwise all would
            # wait for each other.
            if turn.moved_on(self._standing, self._others, others) and not self._board.someone_alone():
                self._denied_ns = self._now_ns()
            self._others = frozenset(others)
            idle = turn.idle_ahead(self._standing, others, slot_free=self._board.has_free(self._held))
            self._passed_over = turn.passed_over(self._passed_over, self._idle_ahead, idle, others)
            self._idle_ahead = idle
        self._look()

    # the file

    def _shared(self) -> Board | None:
        """The file while it shares something; opened, and opened again when another file has the name now."""
        if self._board is not None and (count := self._board.count()):
            return self._board if count > 1 or self._held else None
        if self._held or not self._path or self._opening is not None:
            return None
        now = self._now_ns()
        if self._opened_ns is None or now - self._opened_ns >= REOPEN_SECONDS * 1e9:
            self._opened_ns = now
            self._open()
        return self._board if self._board is not None and self._board.count() > 1 else None

    def _awaits_board(self) -> bool:
        """Whether the file is being opened, and waiting for that is worth it."""
        if self._opening is None or self._opened_ns is None:
            return False
        return self._now_ns() - self._opened_ns < OPEN_SECONDS * 1e9

    def _open(self) -> None:
        self._close_board()
        if self._aside is None:
            try:
                self._use(Board(self._path))
            except OSError as e:
                self._cannot(e)
            return
        self._opening = asyncio.get_running_loop().run_in_executor(self._aside, Board, self._path)
        self._opening.add_done_callback(self._opened)

    def _opened(self, opening: asyncio.Future[Board]) -> None:
        error = opening.exception()
        if opening is not self._opening:  # closed meanwhile
            if error is None:
                opening.result().close()
            return
        self._opening = None
        if error is None:
            self._use(opening.result())
        elif isinstance(error, OSError):
            self._cannot(error)
        self._look()

    def _use(self, board: Board) -> None:
        self._board, self._reported = board, ""
        asyncio.get_running_loop().add_reader(board.bell, self._woken)

    def _drop_board(self, because: OSError) -> None:
        self._cannot(because)
        self._close_board()
        self._held.clear()  # their locks ended with it

    def _close_board(self) -> None:
        if (board := self._let_go()) is not None:
            board.close()

    def _let_go(self) -> Board | None:
        board, self._board, self._standing = self._board, None, None
        if board is not None:
            asyncio.get_running_loop().remove_reader(board.bell)
        return board

    def _cannot(self, e: OSError) -> None:
        because = e.strerror or str(e)
        if because != self._reported:
            self._report(f"cannot share slots with other workers: {because}; one piece of work at a time is run")
        self._reported = because


def _leave(board: Board) -> None:
    """Removes the socket's name; may wait for a disk."""
    board.unlink()
    board.close()
