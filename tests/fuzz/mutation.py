"""Changes as damage makes them: flipped bits, holes, cuts, repeats, foreign bytes, absurd numbers."""

from __future__ import annotations

from random import Random

_EXTREMES = (0, 1, 2, 0x7F, 0x80, 0xFF, 0x7FFF, 0x8000, 0xFFFF, 0x7FFFFFFF, 0x80000000, 0xFFFFFFFF)
_LENGTHS = (1, 2, 4, 8, 64, 512, 4096, 65_536)


def mutate(content: bytes, other: bytes, random: Random) -> bytes:
    """Return a damaged copy.

    Parameters
    ----------
    content : bytes
        The file.
    other : bytes
        Another file, for foreign bytes.
    random : Random
    """
    data = bytearray(content)
    for _ in range(random.choice((1, 1, 2, 3, 5, 8))):
        # Headers are small, and most of what can go wrong goes wrong there.
        limit = min(len(data), random.choice((64, 300, 4000, len(data), len(data))))
        place = random.randrange(limit) if limit else 0
        random.choice(_CHANGES)(data, place, other, random)
    return bytes(data)


def _flip_bit(data: bytearray, place: int, other: bytes, random: Random) -> None:
    if data:
        data[place] ^= 1 << random.randrange(8)


def _set_number(data: bytearray, place: int, other: bytes, random: Random) -> None:
    width = random.choice((1, 2, 4, 8))
    value = random.choice(_EXTREMES) if random.random() < 0.7 else random.randrange(256**width)
    order = random.choice(("little", "big"))
    data[place : place + width] = (value % 256**width).to_bytes(width, order)


def _delete(data: bytearray, place: int, other: bytes, random: Random) -> None:
    del data[place : place + random.choice(_LENGTHS)]


def _insert(data: bytearray, place: int, other: bytes, random: Random) -> None:
    data[place:place] = random.randbytes(random.choice(_LENGTHS))


def _overwrite(data: bytearray, place: int, other: bytes, random: Random) -> None:
    length = min(random.choice(_LENGTHS), len(data) - place)
    data[place : place + length] = random.randbytes(length)


def _make_hole(data: bytearray, place: int, other: bytes, random: Random) -> None:
    length = min(random.choice((*_LENGTHS, len(data) // 2)), len(data) - place)
    data[place : place + length] = bytes(length)


def _repeat(data: bytearray, place: int, other: bytes, random: Random) -> None:
    length = random.choice((*_LENGTHS, len(data) // 2))
    data[place:place] = data[place : place + length]


def _move(data: bytearray, place: int, other: bytes, random: Random) -> None:
    length = random.choice(_LENGTHS)
    part = data[place : place + length]
    del data[place : place + length]
    target = random.randrange(len(data) + 1)
    data[target:target] = part


def _splice(data: bytearray, place: int, other: bytes, random: Random) -> None:
    length = random.choice((*_LENGTHS, len(other)))
    start = random.randrange(max(1, len(other) - length + 1))
    data[place : place + length] = other[start : start + length]


def _cut(data: bytearray, place: int, other: bytes, random: Random) -> None:
    del data[random.randrange(len(data) + 1) :]


def _append(data: bytearray, place: int, other: bytes, random: Random) -> None:
    data += random.choice((bytes(data), other, other[len(other) // 2 :], bytes(10_000)))


_CHANGES = (
    _flip_bit,
    _flip_bit,
    _set_number,
    _set_number,
    _set_number,
    _delete,
    _insert,
    _overwrite,
    _make_hole,
    _repeat,
    _move,
    _splice,
    _cut,
    _append,
)
