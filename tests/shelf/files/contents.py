"""What stands in the shelves of this directory."""

__all__ = ["BIG", "GONE", "entries", "key_of"]

BIG = 9000  # bytes: more than a page of any of the formats
GONE = "gone{}@example.com"  # written, then deleted again


def key_of(module: str, sender: object) -> str:
    """Return the key that Salmon's ShelveStorage makes of a pair."""
    return repr([module.encode("ascii"), sender])


def entries(count: int) -> list[tuple[str, str, str]]:
    """Return (module, sender, state) of each entry of a shelf: the last two are big."""
    return [
        *(
            (f"app.handlers.{'admin' if i % 3 else 'bounce'}", f"user{i}@example.com", f"S{i % 7}")
            for i in range(count - 2)
        ),
        ("app.handlers.admin", "big state", "B" * BIG),
        ("app.handlers.admin", "big sender" * (BIG // 10), "POSTING"),
    ]
