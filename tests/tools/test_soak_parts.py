"""The soak's machinery: processes seen to their end, leftovers found, rounds put together."""

import os
import random
import signal
import sqlite3
import threading
import time
from collections.abc import Callable
from contextlib import closing
from itertools import islice
from pathlib import Path
from typing import Any, cast

import pytest
from filelock import FileLock

from faults import FAULTS
from judges.history import load
from lamson_sqlite_state import SQLiteStorage
from powercuts import survey
from powercuts.survey import SurveyedWorkload
from soaking import audit, checks
from soaking.campaign import Campaign, Round, _combinations
from soaking.statistics import merged, percentile_us
from tests.helpers.children import in_child
from workers.caller import Pairs
from workers.crew import Crew, adopt_orphans, lock_holder
from workers.log import Log, events_in
from workers.setting import GRANDCHILDREN, Board, Setting
from workers.stage import Stage


def setting(directory: Path, seconds: float = 5.0) -> Setting:
    (directory / "records").mkdir()
    return Setting(
        directory=directory / "records",
        path=str(directory / "run" / "states"),
        seed="1",
        pairs=Pairs(2, 8, 2),
        threads=1,
        timeout=5.0,
        synchronous="NORMAL",
        until=time.monotonic() + seconds,
        clear_share=0.0,
        clear_until=0.0,
    )


class TestCrew:
    def test_ends_are_told_apart(self, tmp_path: Path) -> None:
        def end_with(code: int) -> Callable[[int], None]:
            return lambda _number: os._exit(code)

        def scene() -> list[tuple[int, int | None, str]]:
            crew = Crew(tmp_path)
            crew.fork("well", lambda _number: None)
            crew.fork("badly", end_with(7))
            crew.fork("by an error", lambda number: os.kill("nobody", number))  # type: ignore[arg-type]
            crew.wait(20, lambda: None)
            return [(m.number, m.exit_code, crew.last_words(m)[-60:]) for m in crew.members]

        well, badly, by_error = in_child(scene)
        assert well == (1, 0, "")
        assert badly == (2, 7, "")
        assert by_error[:2] == (3, 1)
        assert "TypeError" in by_error[2]

    def test_who_does_not_end_says_where_it_is_and_is_killed(self, tmp_path: Path) -> None:
        def wait_for_godot(_number: int) -> None:
            threading.Event().wait()

        def scene() -> tuple[int | None, str | None, str]:
            crew = Crew(tmp_path)
            member = crew.fork("stuck", wait_for_godot)
            while not (tmp_path / "1.stderr").exists():
                os.sched_yield()
            crew.wait(0.5, lambda: None)
            return member.exit_code, member.complaint, crew.last_words(member)

        code, complaint, words = in_child(scene)
        assert code == -signal.SIGKILL
        assert complaint is not None
        assert "wait_for_godot" in words

    def test_orphans_are_seen_to_their_end(self, tmp_path: Path) -> None:
        def leave_a_child(_number: int) -> None:
            if not os.fork():
                name = f"{GRANDCHILDREN + os.getpid()}.0.history"
                (tmp_path / name).touch()
                os.write(born, b".")
                os._exit(5)
            os.read(birth, 1)

        birth, born = os.pipe()

        def scene() -> list[tuple[str, int | None]]:
            adopt_orphans()
            crew = Crew(tmp_path)
            crew.fork("parent", leave_a_child)
            crew.wait(20, lambda: None)
            crew.reap_orphans(20)
            return [(member.role, member.exit_code) for member in crew.members]

        assert in_child(scene) == [("parent", 0), ("orphan", 5)]

    def test_holder_of_the_write_lock_is_known(self, path: str) -> None:
        with SQLiteStorage(path) as store:
            store.set("m", "ann", "A")
            lock = path + ".lock"
            assert lock_holder(lock) is None
            with FileLock(lock):
                assert lock_holder(lock) == os.getpid()

    def test_a_stopped_holder_still_holds_it(self, tmp_path: Path) -> None:
        here = setting(tmp_path)

        def work(_number: int) -> None:
            with here.new_store(cache_size=0) as store:
                while time.monotonic() < here.until:
                    store.set("m", "ann", str(time.monotonic_ns()))

        def scene() -> None:
            crew = Crew(here.directory)
            stage = Stage(here, Board(here.directory / "board"), crew, work)
            stage.add_worker()
            member = stage.stop_holder(patience_seconds=4)
            assert member is not None
            assert lock_holder(here.path + ".lock") == member.pid
            stage.kill(member)
            crew.wait(20, lambda: None)
            assert member.exit_code == -signal.SIGKILL
            assert lock_holder(here.path + ".lock") is None

        in_child(scene)


class TestAudit:
    def found(self, tmp_path: Path, damage: Callable[[str], None], name: str) -> list[str]:
        here = setting(tmp_path)

        def scene() -> list[str]:
            store = here.new_store()
            store.set(*here.pairs.pair(0), "START")
            store.close()
            damage(here.path)
            board, crew = Board(here.directory / "board"), Crew(here.directory)
            stage = Stage(here, board, crew, lambda _number: None)
            caller = stage.driver(store, 0, 90).caller
            return audit.audited(here, store, caller, crew, [FAULTS["calm"]])[name]

        return in_child(scene)

    def test_nothing_is_found_where_all_is_well(self, tmp_path: Path) -> None:
        assert self.found(tmp_path, lambda _path: None, checks.LEFT) == []
        assert len(load(tmp_path / "records")) == Pairs(2, 8, 2).count + 1

    def test_a_foreign_file_is_left(self, tmp_path: Path) -> None:
        def damage(path: str) -> None:
            Path(f"{path}.rescue").touch()

        (text,) = self.found(tmp_path, damage, checks.LEFT)
        assert "states.rescue" in text

    def test_a_descriptor_is_left(self, tmp_path: Path) -> None:
        def damage(path: str) -> None:
            os.open(f"{path}.lock", os.O_RDWR)

        (text,) = self.found(tmp_path, damage, checks.LEFT)
        assert "states.lock is still open" in text

    @pytest.mark.parametrize(
        ("row", "problem"),
        [
            ("x'ff', 'ann', 'A', 0", "cannot be decoded"),
            ("'m', 'ann', x'41', 0", "wrong types"),
            ("'m', 'ann', 'A', 17", "another time"),
        ],
    )
    def test_rows_that_make_no_sense(self, tmp_path: Path, row: str, problem: str) -> None:
        def damage(path: str) -> None:
            with closing(sqlite3.connect(path)) as tool, tool:
                tool.execute(f"INSERT INTO states (module, sender, state, since) VALUES ({row})")

        assert any(problem in text for text in self.found(tmp_path, damage, checks.SOUND))


def test_events_of_all_processes_are_in_one_log(tmp_path: Path) -> None:
    log = Log(tmp_path)
    with log.struck("kill", "later", number=1) as event, log.struck("stop", "inner"):
        event["more"] = 2
    log.close()
    first, second = events_in(tmp_path)
    assert (first["fault"], first["number"], first["more"]) == ("kill", 1, 2)
    assert first["begin_ns"] <= second["begin_ns"] <= second["end_ns"] <= first["end_ns"]


def test_each_fault_is_tried_alone_before_any_are_mixed() -> None:
    names = list(FAULTS)
    rounds = list(islice(_combinations(names, random.Random(1)), 300))
    assert rounds[: len(names)] == [[name] for name in names]
    assert {name for each in rounds[len(names) :] for name in each} == set(names)
    mixed = [each for each in rounds if len(each) > 1]
    assert len(mixed) > 30
    for each in mixed:
        assert len(set(each)) == len(each)
        assert not any(FAULTS[name].is_alone for name in each)


class Judge:
    """A judge that a Ctrl-C strikes while the soak waits for it."""

    did: tuple[str, ...] = ()

    def communicate(self, timeout: float) -> tuple[None, bytes]:
        raise KeyboardInterrupt

    def kill(self) -> None:
        self.did += ("killed",)

    def wait(self) -> None:
        self.did += ("waited for",)


def test_a_ctrl_c_while_the_last_judge_works_ends_it_and_leaves_the_round_unjudged(
    tmp_path: Path,
) -> None:
    campaign, judge = Campaign(tmp_path, 1.0, 1, []), Judge()
    this = Round(1, ["calm"], tmp_path, 0.0)
    campaign.rounds.append(this)
    campaign._judges.append((this, cast("Any", judge)))
    with pytest.raises(KeyboardInterrupt):
        campaign.run()
    assert judge.did == ("killed", "waited for")
    assert not this.is_judged
    assert not this.problems


def test_what_was_cut_before_a_ctrl_c_is_not_lost(monkeypatch: pytest.MonkeyPatch) -> None:
    """A loss that was found is reported, whatever ends the rest of the survey."""
    lost = SurveyedWorkload("first use", "FULL", 9, 8, 7, 6, ["lost A1"])
    monkeypatch.setattr(survey, "record", lambda *_: object())
    monkeypatch.setattr(survey, "cut_everywhere", lambda *_, **__: lost)
    done: list[SurveyedWorkload] = []

    def tick(_name: str, _done: float) -> None:
        if done:
            raise KeyboardInterrupt

    with pytest.raises(KeyboardInterrupt):
        survey.survey(1, 1.0, tick=tick, done=done)
    assert [each.losses for each in done] == [["lost A1"]]


def test_percentiles_of_histograms() -> None:
    histogram = merged([{"0": 50, "20": 40}, {"40": 10}])
    assert percentile_us(histogram, 0.5) == pytest.approx(1, rel=0.2)
    assert percentile_us(histogram, 0.9) == pytest.approx(10, rel=0.2)
    assert percentile_us(histogram, 1.0) == pytest.approx(100, rel=0.2)
    assert percentile_us({}, 0.5) is None
