"""The demo's judge, which must be able to say no, and the queue that its workers share."""

import importlib
import sys
import threading
from collections import Counter
from collections.abc import Iterator
from email import message_from_bytes
from email.message import Message
from pathlib import Path
from types import SimpleNamespace
from typing import Any, Self

import pytest
from examples.mailing_list.driver.crowd import Crowd
from examples.mailing_list.driver.ledger import Happenings, Ledger
from examples.mailing_list.driver.people import Person, delivery_report, population
from examples.mailing_list.driver.player import envelope_sender
from examples.mailing_list.driver.verdict import MODULE, unaccounted, wrong_archives, wrong_states

APPLICATION = Path(__file__).resolve().parent.parent.parent / "examples" / "mailing_list"


class Answers:
    """Stands for a store: it says what it is told to."""

    def __init__(self, people: list[Person]) -> None:
        self.states = {
            (f"{MODULE}:{name}", person.address.lower()): state
            for person in people
            for name, state in person.fate.must_be.items()
        }

    def get(self, module: str, sender: str) -> str:
        return self.states[module, sender]


class TestJudge:
    def test_has_nothing_to_say_where_all_is_right(self) -> None:
        people = population(40, seed=3)

        assert wrong_states(people, Answers(people)) == []

    def test_names_a_single_person_in_a_wrong_state(self) -> None:
        people = population(40, seed=3)
        answers = Answers(people)
        somebody = people[17].address
        answers.states[f"{MODULE}:news", somebody.lower()] = "ERROR"

        [wrong] = wrong_states(people, answers)

        assert (wrong.address, wrong.list_name, wrong.found) == (somebody, "news", "ERROR")

    def test_finds_what_was_lost_doubled_or_left(self, run_dir: Path) -> None:
        ledger = Ledger(Happenings(patience_seconds=1))
        for key in ("a", "b", "c"):
            ledger.accept(key)
            ledger.handle(1, key, "handled")
        assert unaccounted(ledger, run_dir) == []

        ledger.handle(2, "a", "handled")
        assert unaccounted(ledger, run_dir) == ["1 messages were handled twice"]

        ledger.accept("d")
        (run_dir / "queue" / "cur" / "d").touch()
        assert unaccounted(ledger, run_dir) == [
            "1 messages were never handled",
            "1 messages were handled twice",
            "1 messages were left in the queue",
        ]

    def test_misses_what_could_not_be_delivered_and_was_not_kept(self, run_dir: Path) -> None:
        ledger = Ledger(Happenings(patience_seconds=1))
        ledger.accept("a")
        ledger.handle(1, "a", "undecodable")

        assert unaccounted(ledger, run_dir) == [
            "1 messages could not be delivered, but 0 were kept"
        ]

    def test_counts_the_archive(self, run_dir: Path) -> None:
        (run_dir / "archive" / "talk" / "new" / "post").touch()

        assert wrong_archives(Counter(talk=1), run_dir) == []
        assert wrong_archives(Counter(talk=2), run_dir) == [
            "the archive of talk holds 1 messages, but 2 were sent"
        ]

    @pytest.fixture
    def run_dir(self, tmp_path: Path) -> Path:
        for folder in ("queue/new", "queue/cur", "undeliverable/new", "archive/talk/new"):
            (tmp_path / folder).mkdir(parents=True)
        return tmp_path


class TestPopulation:
    def test_twenty_people_have_all_the_fates(self) -> None:
        assert len({person.fate.live for person in population(20, seed=1)}) == 9

    def test_is_decided_by_the_seed(self) -> None:
        assert population(20, seed=1) == population(20, seed=1)
        assert population(20, seed=1) != population(20, seed=2)


@pytest.mark.parametrize(
    ("from_line", "headers", "sender"),
    [
        (b"From ann@x.example Thu Jan  1", {}, "ann@x.example"),
        (b"From MAILER-DAEMON Thu Jan  1", {"From": "Ann <Ann@x.example>"}, "Ann@x.example"),
        (b"From ann@x.example Thu Jan  1", {"Return-Path": "<>"}, ""),
        (b"From ann@x.example Thu Jan  1", {"Return-Path": "<bob@x.example>"}, "bob@x.example"),
        (b"", {"From": "j\u00fcrgen@x.example"}, ""),
        (b"", {"From": "just some words"}, ""),
        (b"", {}, ""),
    ],
)
def test_a_played_mail_has_the_sender_that_smtp_can_say(
    from_line: bytes, headers: dict[str, str], sender: str
) -> None:
    message = Message()
    for name, value in headers.items():
        message[name] = value

    assert envelope_sender(from_line, message) == sender


@pytest.fixture
def application(monkeypatch: pytest.MonkeyPatch) -> Iterator[None]:
    """Let the application's modules be imported under the names it has for them."""
    monkeypatch.syspath_prepend(APPLICATION)
    yield
    for name in [name for name in sys.modules if name.partition(".")[0] == "app"]:
        del sys.modules[name]


@pytest.mark.usefixtures("application")
class TestDeliveryReport:
    @pytest.mark.parametrize(
        ("status", "failed"),
        [("5.1.1", ["ann@x.example"]), ("5.7.26", ["ann@x.example"]), ("4.2.2", []), ("", [])],
    )
    def test_gives_up_on_those_who_failed_for_good(self, status: str, failed: list[str]) -> None:
        module = importlib.import_module("app.model.delivery_report")
        report = message_from_bytes(delivery_report("Ann@x.example", status, with_from=False))

        assert module.permanently_failed(report) == failed


class TestCrowd:
    def test_interrupted_as_it_gathers_leaves_no_thread(
        self, monkeypatch: pytest.MonkeyPatch
    ) -> None:
        """Each would wait for an answer to its mail, for as long as its patience lasts."""

        class Idle:
            def __enter__(self) -> Self:
                return self

            def __exit__(self, *_exception: object) -> None:
                pass

        stage: Any = SimpleNamespace(happenings=(happenings := Happenings(30)), postman=Idle)
        crowd = Crowd(stage)
        begun: list[threading.Thread] = []
        start = threading.Thread.start

        def start_and_be_interrupted(thread: threading.Thread) -> None:
            start(thread)
            begun.append(thread)
            if len(begun) == 3:
                sys.exit(143)

        monkeypatch.setattr(
            crowd, "_live_one", lambda *_: happenings.wait_for(lambda: False, "an answer")
        )
        monkeypatch.setattr(threading.Thread, "start", start_and_be_interrupted)
        with pytest.raises(SystemExit):
            crowd.live(population(20, 1), 8, lambda: None)
        assert [thread.is_alive() for thread in begun] == [False] * 3


class Going:
    """A lifeline nobody cuts; whoever would wait for mail is in the wrong test."""

    def is_cut(self, wait_seconds: float = 0.0) -> bool:
        assert not wait_seconds
        return False


@pytest.mark.usefixtures("application")
class TestSharedQueue:
    @pytest.fixture
    def outcomes(self) -> list[tuple[str, str]]:
        return []

    def queue(self, tmp_path: Path, outcomes: list[tuple[str, str]], at_once: int = 9) -> Any:
        module = importlib.import_module("app.shared_queue")
        return module.SharedQueue(
            str(tmp_path / "queue"),
            module.UndeliverableQueue(str(tmp_path / "undeliverable")),
            Going(),
            lambda key, outcome: outcomes.append((key, outcome)),
            at_once,
        )

    def test_gives_each_message_to_one_of_those_who_have_seen_it(
        self, tmp_path: Path, outcomes: list[tuple[str, str]]
    ) -> None:
        first, second = self.queue(tmp_path, outcomes), self.queue(tmp_path, outcomes)
        keys = {first.push(b"Subject: %d\n\n" % number) for number in range(3)}
        assert len(first) == len(second) == 3

        taken = [first.pop()[0], second.pop()[0], first.pop()[0]]

        assert set(taken) == keys
        for queue in (first, second):
            with pytest.raises(KeyError):
                queue.pop()

    def test_takes_the_envelope_for_the_sender_and_not_the_header(
        self, tmp_path: Path, outcomes: list[tuple[str, str]]
    ) -> None:
        queue = self.queue(tmp_path, outcomes)
        trace = b"Return-Path: <Ann@X.example>\nDelivered-To: talk@lists.example\n"
        queue.push(trace + b'From: "Ann, of old" <old@x.example>\nTo: you\n\n')

        _, message = queue.pop()

        assert (message.From, message.To) == ("ann@x.example", "talk@lists.example")

    def test_has_no_sender_for_a_bounce(
        self, tmp_path: Path, outcomes: list[tuple[str, str]]
    ) -> None:
        queue = self.queue(tmp_path, outcomes)
        queue.push(b"Return-Path: <>\nDelivered-To: talk-bounces@lists.example\n\n")

        assert queue.pop()[1].From is None

    def test_keeps_what_a_killed_worker_held(
        self, tmp_path: Path, outcomes: list[tuple[str, str]]
    ) -> None:
        module = importlib.import_module("app.shared_queue")
        queue = self.queue(tmp_path, outcomes)
        key = queue.push(b"Subject: held\n\n")
        queue.pop()  # and it is killed here

        assert module.recover(queue.dir) == 1
        assert self.queue(tmp_path, outcomes).pop()[0] == key

    def test_sets_aside_what_can_not_be_decoded_byte_for_byte(
        self, tmp_path: Path, outcomes: list[tuple[str, str]]
    ) -> None:
        queue = self.queue(tmp_path, outcomes)
        broken = b"From: =?utf-8?b?A?=\n\n\xff\0"
        key = queue.push(broken)

        with pytest.raises(KeyError):
            queue.pop()

        assert outcomes == [(key, "undecodable")]
        [kept] = (tmp_path / "undeliverable" / "new").iterdir()
        assert kept.read_bytes() == broken
