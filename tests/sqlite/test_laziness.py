"""Constructing touches no file, so that boot.py may run before daemonising, chdir and fork."""

from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest

from lamson_sqlite_state import SQLiteStorage

APP, ANN = "app.handlers.lists", "ann@example.com"


def test_a_store_touches_no_file_before_its_first_call(tmp_path: Path) -> None:
    store = SQLiteStorage(tmp_path / "run" / "states")
    assert repr(store)
    assert store.path == str(tmp_path / "run" / "states")
    store.close()
    with store:
        pass

    assert list(tmp_path.iterdir()) == []


@pytest.mark.parametrize("first_call", ["get", "set", "clear", "set_all", "compare_and_set"])
def test_the_first_call_creates_file_and_directories(tmp_path: Path, first_call: str) -> None:
    store = SQLiteStorage(tmp_path / "var" / "run" / "states")
    calls: dict[str, Callable[[], object]] = {
        "get": lambda: store.get(APP, ANN),
        "set": lambda: store.set(APP, ANN, "POSTING"),
        "clear": store.clear,
        "set_all": lambda: store.set_all(ANN, "POSTING"),
        "compare_and_set": lambda: store.compare_and_set(APP, ANN, "START", "POSTING"),
    }
    calls[first_call]()
    store.close()

    assert (tmp_path / "var" / "run" / "states").stat().st_size > 0


def test_a_relative_path_means_what_it_did_at_construction(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    (tmp_path / "app").mkdir()
    monkeypatch.chdir(tmp_path / "app")
    store = SQLiteStorage("run/../states")
    monkeypatch.chdir("/")
    store.set(APP, ANN, "POSTING")
    store.close()

    assert store.path == str(tmp_path / "app" / "states")
    assert (tmp_path / "app" / "states").is_file()


def test_symbolic_links_are_followed_at_the_first_call(tmp_path: Path) -> None:
    """A deployment may point `current` elsewhere between boot and the first mail, not later."""
    for release in ("1", "2", "3"):
        (tmp_path / release).mkdir()
    current = tmp_path / "current"
    current.symlink_to("1")
    store = SQLiteStorage(current / "states")

    current.unlink()
    current.symlink_to("2")
    store.set(APP, ANN, "POSTING")
    current.unlink()
    current.symlink_to("3")
    store.close()

    assert store.get(APP, ANN) == "POSTING"
    assert store.path == str(tmp_path / "2" / "states")
    store.close()
    assert [len(list((tmp_path / release).iterdir())) for release in "123"] == [0, 3, 0]


def test_a_link_and_its_target_are_one_store_with_one_lock(tmp_path: Path) -> None:
    (tmp_path / "shared").mkdir()
    (tmp_path / "states").symlink_to("shared/states")
    with SQLiteStorage(tmp_path / "states") as by_link:
        by_link.set(APP, ANN, "POSTING")
        with SQLiteStorage(tmp_path / "shared" / "states") as by_name:
            assert by_name.get(APP, ANN) == "POSTING"
            assert by_name.path == by_link.path

    assert {path.name for path in tmp_path.iterdir()} == {"shared", "states"}
    assert {path.name for path in (tmp_path / "shared").iterdir()} == {
        "states",
        "states.lock",
        "states.versions",
    }


@pytest.mark.parametrize("kind", [str, Path])
def test_a_path_may_hold_any_character(tmp_path: Path, kind: Callable[[str], str | Path]) -> None:
    path = f"{tmp_path}/run?mode=ro#1%20 ä"
    with SQLiteStorage(kind(path)) as store:
        store.set(APP, ANN, "POSTING")

        assert store.path == path
        assert {name.name for name in tmp_path.iterdir()} == {
            f"run?mode=ro#1%20 ä{suffix}" for suffix in ("", "-wal", "-shm", ".lock", ".versions")
        }


@pytest.mark.parametrize("path", ["", ":memory:", "states\0"])
def test_a_path_that_names_no_file_is_refused(path: str) -> None:
    with pytest.raises(ValueError, match="path"):
        SQLiteStorage(path)


@pytest.mark.parametrize(
    ("option", "value"),
    [
        *[("timeout", -1), ("timeout", -0.001), ("timeout", float("nan"))],
        *[("synchronous", word) for word in ("OFF", "full", "", "EXTRA", "FULL; DROP", 2, None)],
        *[("file_mode", mode) for mode in (0, 0o400, 0o200, 0o060, 0o1600, 0o4600, -1)],
    ],
)
def test_an_option_that_cannot_be_kept_is_refused(
    tmp_path: Path, option: str, value: object
) -> None:
    with pytest.raises(ValueError, match=option):
        SQLiteStorage(tmp_path / "states", **{option: value})  # type: ignore[arg-type]


@pytest.mark.parametrize(
    "options",
    [
        *[{"timeout": None}, {"timeout": "30"}, {"file_mode": "600"}, {"file_mode": 6.0}],
        *[{"database_path": None}, {"database_path": 3}, {"journal_mode": "DELETE"}],
    ],
    ids=str,
)
def test_an_argument_of_the_wrong_type_is_refused(tmp_path: Path, options: Any) -> None:
    with pytest.raises(TypeError):
        SQLiteStorage(**{"database_path": tmp_path / "states", **options})


def test_options_are_given_by_name(tmp_path: Path) -> None:
    with pytest.raises(TypeError):
        SQLiteStorage(tmp_path / "states", 30.0)  # type: ignore[call-arg]
