"""How a power cut is decided: which sectors and names made it to the disk."""

import random
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from typing import Final

__all__ = ["SECTOR_BYTES", "Fate", "fates"]

SECTOR_BYTES: Final = 512

_SPREAD: Final = 0x9E3779B97F4A7C15  # so that neighbouring seeds have nothing in common


@dataclass(frozen=True)
class Fate:
    """One of the ways in which a power cut can go.

    Args:
        name: for people.
        until: what was done before this time is on the disk.
        at: what was done at this time is torn.
        density: of all that is not decided so, each sector is there with this probability in
            eighths; 0 is none, 8 all.
        without: what was done at this time is not there, nor what depends on it.
        seed: of chance.
        names: whether names go another way than contents do: all or none of them.
        mapped: what is in a mapped file: "nothing", "zeros", "seen" or "noise", and a seed.
        grows: whether files have the size that they had last, even if that is all they got.
    """

    name: str
    until: int = 0
    at: int = -1
    density: int = 0
    without: int = -1
    seed: int = 0
    names: bool | None = None
    mapped: str = "seen"
    grows: bool = False

    @classmethod
    def everything(cls) -> "Fate":
        """Return the fate in which nothing is lost."""
        return cls("everything", density=8)

    def mask(self, time: int, sectors: int, *, is_name: bool = False) -> int:
        """Return which sectors of an operation are on the disk, as bits."""
        if is_name and self.names is not None:
            return int(self.names)
        full = (1 << sectors) - 1
        if time < self.until:
            return full
        if time == self.without:
            return 0
        density = 4 if time == self.at else self.density
        if density in (0, 8):
            return full if density else 0
        rng = random.Random(self.seed * _SPREAD + time)
        if sectors == 1:
            return int(rng.randrange(8) < density)
        half = rng.getrandbits(sectors)
        if density == 4:
            return half
        quarter = half & rng.getrandbits(sectors)
        eighth = quarter & rng.getrandbits(sectors)
        return full & (~eighth if density == 7 else eighth)


def fates(pending: Sequence[int], rng: random.Random, chances: int) -> Iterator[Fate]:
    """Yield the fates to try at a cut point: the plain ones, then so many that are left to chance.

    Args:
        pending: the times of all operations that are not certain to be on the disk.
        rng: chance.
        chances: how many.
    """
    yield Fate("nothing un-synced", mapped="nothing")
    yield Fate("everything", density=8)
    if not pending:
        return
    yield Fate("names only", names=True, mapped="zeros")
    yield Fate("names only, files at full size", names=True, grows=True, mapped="zeros")
    yield Fate("contents only", density=8, names=False, mapped="zeros")
    for number in range(chances):
        seed = rng.getrandbits(32)
        mapped = f"{rng.choice(('seen', 'noise', 'zeros'))} {seed % 256}"
        grows = rng.random() < 0.25
        time = rng.choice(pending)
        match number % 4:
            case 0:
                yield Fate(f"in order, until {time}", time, time, seed=seed, mapped=mapped)
            case 1:
                density = rng.choice((1, 4, 7))
                yield Fate(
                    f"{density}/8 of all sectors and names, seed {seed}",
                    density=density,
                    seed=seed,
                    mapped=mapped,
                    grows=grows,
                )
            case 2:
                yield Fate(f"all but {time}", density=8, without=time, mapped=mapped, grows=grows)
            case _:
                yield Fate(
                    f"4/8 of all sectors, {'all' if grows else 'no'} names, seed {seed}",
                    density=4,
                    seed=seed,
                    names=grows,
                    mapped=mapped,
                )
