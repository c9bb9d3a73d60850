"""Files whose tags are hard to keep, made byte by byte: what programs wrote over thirty years, and damage."""

from __future__ import annotations

import struct
import zlib
from collections.abc import Callable, Iterator

# A function that makes the file from a plain one of a form of `helpers.tagged_files`.
Recipe = tuple[str, Callable[[bytes], bytes]]

IMAGE = b"\x89PNG\r\n\x1a\n\xff\xe0\xff\x00\xff" + bytes(range(256)) * 4
LATIN1 = "Björk".encode("latin-1")


def seven(value: int, size: int = 4) -> bytes:
    return bytes(value >> 7 * place & 127 for place in reversed(range(size)))


def frame(name: bytes, data: bytes, *, version: int = 3, flags: int = 0) -> bytes:
    if version == 2:
        return name + len(data).to_bytes(3, "big") + data
    size = len(data).to_bytes(4, "big") if version == 3 else seven(len(data))
    return name + size + flags.to_bytes(2, "big") + data


def id3(version: int, *parts: bytes, flags: int = 0, padding: int = 0, footer: bool = False) -> bytes:
    body = b"".join(parts) + bytes(padding)
    if version < 4 and flags & 0x80:
        body = unsynchronized(body)
    head = bytes([version, 0, flags | (0x10 if footer else 0)]) + seven(len(body))
    return b"ID3" + head + body + (b"3DI" + head if footer else b"")


def unsynchronized(data: bytes) -> bytes:
    result = bytearray()
    for place, byte in enumerate(data):
        result.append(byte)
        following = data[place + 1 : place + 2]
        if byte == 255 and (not following or following == b"\0" or following >= b"\xe0"):
            result.append(0)
    return bytes(result)


TEXTS = (("TIT2", b"\0Title"), ("TALB", b"\1\xff\xfeA\0l\0"), ("TPE1", b"\x09Artist"), ("TPE2", b""))
OLD_FRAMES = b"".join(
    frame(name, b"\0" + text)
    for name, text in (
        (b"TYER", b"1999"), (b"TDAT", b"3112"), (b"TIME", b"2359"), (b"TRDA", b"4 May"), (b"TORY", b"1970"),
        (b"TSIZ", b"12345"), (b"RVAD", b"\x10\0\1\0\2"), (b"EQUA", b"\x10\x80\0\1\2"), (b"IPLS", b"a\0b\0"),
    )
)  # fmt: skip
TWINS = b"".join(
    frame(name, data + number)
    for name, data in (
        (b"USLT", b"\0eng\0verse "), (b"COMM", b"\0eng\0text "), (b"TXXX", b"\0key\0value "),
        (b"APIC", b"\0image/png\0\3\0" + IMAGE), (b"UFID", b"owner\0"), (b"POPM", b"a@b\0\x80"),
        (b"TIT2", b"\0"),
        (b"WCOM", b"http://"), (b"PRIV", b"owner\0"), (b"GEOB", b"\0a/b\0name\0desc\0"),
        (b"W000", b"http://"),
    )
    for number in (b"1", b"2", b"2")
)  # fmt: skip
ODD = (
    b"".join(frame(name.encode(), data) for name, data in TEXTS)
    + frame(b"XYZW", b"unknown")
    + frame(b"PIC\0", b"a frame of 2.2 in 2.3")
    + frame(b"TCOM", struct.pack(">I", 9) + zlib.compress(b"\0Composer"), flags=0x80)
    + frame(b"TEXT", b"\x41" + b"encrypted", flags=0x40)
    + frame(b"TPE3", b"\7\0grouped", flags=0x20)
    + frame(b"TLAN", b"\0eng", flags=0xFFFF)
    + frame(b"a!b\xff", b"no name")
)
IN_24 = b"".join(
    frame(name, data, version=4, flags=flags)
    for name, data, flags in (
        (b"TIT2", b"\3Title", 0), (b"TIT2", b"\3Other", 0), (b"TDRC", b"\0" + b"1999-12-31", 0),
        (b"RVA2", b"id\0\1\0\1\x10\0\1", 0), (b"TSIZ", b"\0" + b"99", 0), (b"TDAT", b"\0" + b"3112", 0),
        (b"APIC", unsynchronized(b"\0image/png\0\3\0" + IMAGE), 2), (b"USLT", b"\3eng\0one", 0),
        (b"USLT", b"\3eng\0two", 0), (b"TPE1", seven(9) + zlib.compress(b"\3Somebody"), 0x09),
        (b"SEEK", b"\0\0\1\0", 0), (b"ASPI", b"\0\0\0\1\0\0\1\0\0\1\x10\0\0", 0),
        (b"EQU2", b"\0id\0\1\0\1\0", 0),
    )
)  # fmt: skip
IN_22 = b"".join(
    frame(name, data, version=2)
    for name, data in (
        (b"TT2", b"\0Title"), (b"TP1", LATIN1), (b"ULT", b"\0eng\0one"), (b"ULT", b"\0eng\0two"),
        (b"XYZ", b"?"),
        (b"PIC", b"\0PNG\3\0" + IMAGE), (b"RVA", b"\3\x10\0\1\0\2"), (b"TSI", b"\0" + b"77"),
        (b"TDA", b"\0" + b"3112"), (b"TIM", b"\0" + b"2359"), (b"CRM", b"owner\0text\0data"),
        (b"COM", b"\0eng\0a"),
    )
)  # fmt: skip
GENRE = frame(b"TCON", b"\0(17)")


def _extended_23(frames: bytes, padding: int) -> bytes:
    return struct.pack(">IHII", 10, 0x8000, padding, zlib.crc32(frames))


def _extended_24(rest: bytes) -> bytes:
    return seven(14 + 1) + b"\1\x70\0" + b"\5" + seven(zlib.crc32(rest), 5) + b"\1\0"


TAGS: dict[str, bytes] = {
    "2.2": id3(2, IN_22),
    "2.2 with a genre and padding": id3(2, frame(b"TCO", b"\0(17)", version=2), IN_22, padding=300),
    "2.2 unsynchronized": id3(2, IN_22, flags=0x80),
    "2.3 twins": id3(3, TWINS),
    "2.3 old frames": id3(3, OLD_FRAMES, padding=20),
    "2.3 odd frames": id3(3, ODD, GENRE, padding=200),
    "2.3 all unsynchronized": id3(3, TWINS, GENRE, ODD, OLD_FRAMES, flags=0x80, padding=10),
    "2.3 ends with FF, unsynchronized": id3(3, GENRE, frame(b"PRIV", b"a\0\xff"), flags=0x80),
    "2.3 extended header": id3(3, _extended_23(TWINS, 50), TWINS, flags=0x40, padding=50),
    "2.3 flag of an extended header only": id3(3, TWINS, flags=0x40, padding=50),
    "2.3 something after the padding": id3(3, TWINS, GENRE, bytes(50), b"something"),
    "2.3 cut off frame": id3(3, TWINS, GENRE, b"TPE1\0\0\1\0\0\0\0Artist"),
    "2.3 several genres": id3(3, GENRE, TWINS, frame(b"TCON", b"\0Other"), ODD, frame(b"TCO\0", b"\0Old")),
    "2.3 broken genre": id3(3, frame(b"TCON", b"\x09?"), ODD),
    "2.4": id3(4, IN_24),
    "2.4 with padding": id3(4, IN_24, GENRE, padding=400),
    "2.4 unsynchronized": id3(4, IN_24, flags=0x80),
    "2.4 footer": id3(4, IN_24, footer=True),
    "2.4 extended header": id3(4, _extended_24(IN_24 + bytes(30)), IN_24, flags=0x40, padding=30),
    "2.4 plain sizes": id3(4, TWINS, GENRE, frame(b"APIC", b"\0image/png\0\3\0" + IMAGE), padding=30),
    "experimental": id3(4, IN_24, flags=0x20),
    "no frames": id3(3, padding=100),
}

APE_ITEMS = struct.pack("<II", 5, 2) + b"Cover\0\1\2\3\4\5" + struct.pack("<II", 4, 0) + b"Genre\0Rock"
APE = (
    b"APETAGEX" + struct.pack("<IIII8x", 2000, len(APE_ITEMS) + 32, 2, 0xA0000000) + APE_ITEMS
    + b"APETAGEX" + struct.pack("<IIII8x", 2000, len(APE_ITEMS) + 32, 2, 0x80000000)
)  # fmt: skip
LYRICS = b"LYRICSBEGININD0000210LYR00005verse000029LYRICS200"
ID3V1 = b"TAG" + LATIN1.ljust(60, b"\0") + b"Artist".ljust(62, b"x") + b"\0\7\x11"
ENHANCED = b"TAG+" + b"Title".ljust(223, b"\0")


def _without_tag(content: bytes) -> bytes:
    while content[:3] == b"ID3":
        size = sum(byte << 7 * place for place, byte in enumerate(reversed(content[6:10])))
        content = content[10 + size :]
    return content[:-128] if content[-128:-125] == b"TAG" else content


def _comments(*comments: bytes, vendor: bytes = b"Xiph \xff\xfe", after: bytes = b"") -> bytes:
    listed = b"".join(struct.pack("<I", len(comment)) + comment for comment in comments)
    return struct.pack("<I", len(vendor)) + vendor + struct.pack("<I", len(comments)) + listed + after


COMMENTS = (
    b"ARTIST=" + LATIN1, b"NO EQUALS SIGN HERE", b"", b"=no name", b"TITLE=one", b"title=two", b"TITLE=one",
    b"Genre=Old", b"N\xe4me=value", b"na\nme=x", b"GENRE", b"LYRICS=\0\1\2", b"genre=" + LATIN1,
)  # fmt: skip


def blocks(flac: bytes) -> tuple[list[tuple[int, bytes]], bytes]:
    """Return the metadata blocks of a FLAC file, and its sound."""
    place, found, last = 4, [], False
    while not last:
        last, kind = bool(flac[place] & 128), flac[place] & 127
        size = int.from_bytes(flac[place + 1 : place + 4], "big")
        found.append((kind, flac[place + 4 : place + 4 + size]))
        place += 4 + size
    return found, flac[place:]


def flac(source: bytes, *more: tuple[int, bytes]) -> bytes:
    """Return a FLAC file with other metadata blocks after the first one."""
    found, sound = blocks(source)
    wanted = [found[0], *more]
    listed = (
        bytes([kind | (128 if number == len(wanted) - 1 else 0)]) + len(data).to_bytes(3, "big") + data
        for number, (kind, data) in enumerate(wanted)
    )
    return b"fLaC" + b"".join(listed) + sound


CUE = (
    b"1234567890".ljust(128, b"\0")
    + bytes(8)
    + b"\0".ljust(259, b"\0")
    + b"\1"
    + bytes(8)
    + b"\xaa"
    + bytes(26)
    + b"\0"
)
PICTURE = (
    struct.pack(">II", 3, 9) + b"image/png" + struct.pack(">I4sIIIII", 4, b"desc", 1, 1, 24, 0, 4) + b"data"
)


def ogg_pages(content: bytes) -> Iterator[tuple[bytes, bytes, bytes]]:
    """Yield head, laces and body of each page."""
    place = 0
    while content[place : place + 4] == b"OggS":
        laces = content[place + 27 : place + 27 + content[place + 26]]
        body = place + 27 + len(laces)
        yield content[place : place + 27], laces, content[body : body + sum(laces)]
        place = body + sum(laces)


def ogg(source: bytes, prefix: bytes, comments: bytes, *, tail: bytes = b"", per_page: int = 255) -> bytes:
    """Return an Ogg file with another comment packet, and the setup packet of Vorbis after it."""
    from helpers.raw_tags import _ogg_crc

    pages = list(ogg_pages(source))
    count = 1
    packets: list[bytes] = [b""]
    wanted = 2 if prefix[1:] == b"vorbis" else 1
    while len(packets) <= wanted:
        _, laces, body = pages[count]
        for lace in laces:
            packets[-1] += body[:lace]
            body = body[lace:]
            if lace < 255:
                packets.append(b"")
        count += 1
    new = [prefix + comments + tail, *packets[1:wanted]]
    laces = b"".join(b"\xff" * (len(packet) // 255) + bytes([len(packet) % 255]) for packet in new)
    data = b"".join(new)
    made: list[tuple[bytes, bytes, bytes]] = [pages[0]]
    while laces:
        mine, laces = laces[:per_page], laces[per_page:]
        head = bytearray(pages[1][0])
        head[5] = 1 if len(made) > 1 and made[-1][1][-1] == 255 else 0
        head[6:14] = bytes(8) if any(lace < 255 for lace in mine) else b"\xff" * 8
        made.append((bytes(head), mine, data[: sum(mine)]))
        data = data[sum(mine) :]
    made += pages[count:]
    result = b""
    for number, (head, mine, body) in enumerate(made):
        page = head[:18] + struct.pack("<II", number, 0) + bytes([len(mine)]) + mine + body
        result += page[:22] + struct.pack("<I", _ogg_crc(page)) + page[26:]
    return result


LARGE = b"METADATA_BLOCK_PICTURE=" + b"Rk9P" * 50_000


def atom(name: bytes, *content: bytes) -> bytes:
    data = b"".join(content)
    return struct.pack(">I4s", 8 + len(data), name) + data


def data(value: bytes, kind: int = 1, version: int = 0) -> bytes:
    return atom(b"data", bytes([version]) + kind.to_bytes(3, "big") + bytes(4) + value)


def freeform(name: bytes, *values: bytes, mean: bytes = b"com.apple.iTunes") -> bytes:
    return atom(b"----", atom(b"mean", bytes(4) + mean), atom(b"name", bytes(4) + name), *values)


ITEMS = (
    atom(b"\xa9nam", data(b"Title")), atom(b"\xa9nam", data(b"Other")), atom(b"disk", data(b"\0\0\0\1", 0)),
    atom(b"trkn", data(b"\0\0", 0)), atom(b"tmpo", data(b"\1\2\3\4\5\6\7", 21)), atom(b"cpil", data(b"", 21)),
    atom(b"\xa9ART", data(LATIN1)), atom(b"\xa9ART", data(b"\0B", 2)),
    atom(b"\xa9alb", data(b"a"), data(b"b")),
    freeform(b"LABEL", data(b"one", 1), data(b"\0\1", 0, 1)), freeform(b"LABEL", data(b"two", 21)),
    freeform(b"GENRE", data(b"x"), mean=b"org.other"), freeform(b"genre", data(b"lower")), atom(b"----"),
    atom(b"covr", data(IMAGE, 14), atom(b"name", b"\0\0\0\0a.png"), data(b"", 13)),
    atom(b"xxxx", b"whatever"),
    atom(b"yyyy"), atom(b"\xa9too", data(b"Lavf")), atom(b"gnre", data(b"\0\x12", 0)),
    atom(b"rtng", b"\0\0\0\1"),
)  # fmt: skip
HANDLER = atom(b"hdlr", bytes(8), b"mdirappl", bytes(9))


def mp4(source: bytes, *user_data: bytes, free: int = 0) -> bytes:
    """Return an MP4 file with other user data; its sound does not move: its offsets fit."""
    parts = {content[4:8]: content for content in _top(source)}
    inner = b"".join(part for part in _top(parts[b"moov"][8:]) if part[4:8] != b"udta")
    moov = atom(b"moov", inner, *user_data) + (atom(b"free", bytes(free - 8)) if free else b"")
    order = [content[4:8] for content in _top(source)]
    if order.index(b"moov") > order.index(b"mdat"):
        return b"".join(moov if name == b"moov" else parts[name] for name in order)
    before = len(b"".join(parts[name] for name in order[: order.index(b"mdat")]))
    result = parts[b"ftyp"] + moov + parts[b"mdat"]
    return _moved(result, len(parts[b"ftyp"] + moov) - before)


def _moved(content: bytes, shift: int) -> bytes:
    place = content.index(b"stco")
    count = int.from_bytes(content[place + 8 : place + 12], "big")
    offsets = struct.unpack(f">{count}I", content[place + 12 : place + 12 + 4 * count])
    moved = struct.pack(f">{count}I", *(offset + shift for offset in offsets))
    return content[: place + 12] + moved + content[place + 12 + 4 * count :]


def _top(content: bytes) -> Iterator[bytes]:
    place = 0
    while place + 8 <= len(content):
        size = int.from_bytes(content[place : place + 4], "big")
        assert size >= 8
        yield content[place : place + size]
        place += size


def meta(*parts: bytes, quicktime: bool = False) -> bytes:
    return atom(b"meta", b"" if quicktime else bytes(4), *parts)


def chunked(
    source: bytes, *more: tuple[bytes, bytes], last_pad: bool = True, stated: int = 0, after: bytes = b""
) -> bytes:
    """Return a WAV or AIFF file with more chunks before its last one and after it."""
    order = "<" if source[:4] == b"RIFF" else ">"
    result = source[8:]
    for name, content in more:
        result += name + struct.pack(order + "I", len(content)) + content + bytes(len(content) % 2)
    if not last_pad and len(more[-1][1]) % 2:
        result = result[:-1]
    return source[:4] + struct.pack(order + "I", len(result) + stated) + result + after


INFO = b"INFO" + b"INAM\5\0\0\0" + LATIN1 + b"\0" + b"ISFT\4\0\0\0Lavf" + b"xxxx\1\0\0\0a\0"
MP3 = "mp3-bare"


def recipes() -> dict[str, Recipe]:
    """Return all files by name, each as a form to begin with and a function of its bytes."""
    found: dict[str, Recipe] = {}
    for name, tag in TAGS.items():
        found[f"mp3 {name}"] = MP3, lambda file, tag=tag: tag + file
        found[f"wav {name}"] = (
            "wav-bare",
            lambda file, tag=tag: chunked(
                file, (b"junk", b"odd"), (b"id3 ", tag), (b"LIST", INFO), (b"odd ", b"x"), last_pad=False
            ),
        )
        found[f"aiff {name}"] = (
            "aiff-bare",
            lambda file, tag=tag: chunked(
                file, (b"NAME", LATIN1), (b"ID3 ", tag + b"after"), (b"APPL", b"stocdata"), after=b"more"
            ),
        )
    tag = TAGS["2.3 twins"]
    found |= {
        "mp3 ape, lyrics, id3v1": (MP3, lambda file: tag + file + APE + LYRICS + ENHANCED + ID3V1),
        "mp3 ape alone": (MP3, lambda file: file + APE),
        "mp3 second tag": (MP3, lambda file: tag + TAGS["2.4"] + file),
        "wav with the size of the file": ("wav-bare", lambda file: chunked(file, (b"LIST", INFO), stated=8)),
        "wav ID3 in capitals": ("wav-bare", lambda file: chunked(file, (b"ID3 ", tag), (b"id3 ", tag))),
        "wav empty id3 chunk": ("wav-bare", lambda file: chunked(file, (b"id3 ", b""), (b"LIST", INFO))),
        "wav ends with an odd chunk": (
            "wav-bare",
            lambda file: chunked(file, (b"odd ", b"x"), last_pad=False),
        ),
        "wav with something after": ("wav-bare", lambda file: chunked(file, (b"LIST", INFO), after=ID3V1)),
    }
    for padding in (None, 0, 3, 12, 1000):
        found[f"flac all blocks, padding {padding}"] = "flac-bare", lambda file, padding=padding: flac(
            file, (3, bytes(18)), (2, b"ATCHdata"), (4, _comments(*COMMENTS, after=b"after")), (5, CUE),
            (6, PICTURE), (6, PICTURE), (100, b"reserved"),
            *([(1, bytes(padding))] if padding is not None else []),
        )  # fmt: skip
    found |= {
        "flac between tags": ("flac-bare", lambda file: tag + flac(file, (4, _comments(*COMMENTS))) + ID3V1),
        "flac broken blocks": ("flac-bare", lambda file: flac(
            file, (6, b"picture"), (5, b"cue"), (3, b"x"), (4, _comments(*COMMENTS)), (4, _comments(b"A=b")),
            (2, b""), (1, b"no zeros" * 9),
        )),
        "flac no comments": ("flac-bare", lambda file: flac(file)),
        "flac padding only": ("flac-bare", lambda file: flac(file, (1, bytes(100)))),
        "flac genres only": ("flac-bare", lambda file: flac(file, (4, _comments(b"GENRE=a", b"genre=b")))),
    }  # fmt: skip
    vorbis, opus = b"\x03vorbis", b"OpusTags"
    for form, prefix, end in (("ogg-bare", vorbis, b"\1"), ("opus-bare", opus, b"")):
        for name, comments in {
            "comments": COMMENTS,
            "large": (*COMMENTS, LARGE),
            "full page": (b"A=" + b"x" * (255 * 255 - 200),),
            "full pages": (b"A=" + b"x" * (255 * 255 * 2 - 240),),
            "none": (),
        }.items():
            for per_page in (255, 17):
                found[f"{form} {name}, {per_page} segments"] = (
                    form,
                    (
                        lambda file, c=comments, p=prefix, e=end, n=per_page: ogg(
                            file, p, _comments(*c, after=e), per_page=n
                        )
                    ),
                )
        found[f"{form} padding"] = (
            form,
            lambda file, p=prefix, e=end: ogg(
                file, p, _comments(*COMMENTS, after=e), tail=b"\1binary data" + bytes(200)
            ),
        )
        found[f"{form} chained"] = (
            form,
            lambda file, p=prefix, e=end: (
                ogg(file, p, _comments(b"A=" + b"x" * (255 * 255 - 200), after=e)) + file + b"after"
            ),
        )
    user = meta(HANDLER, atom(b"ilst", *ITEMS))
    for form in ("m4a-bare", "m4a-index-first"):
        found |= {
            f"{form} items": (form, lambda file: mp4(file, atom(b"udta", user))),
            f"{form} items, free": (
                form,
                lambda file: mp4(file, atom(b"udta", meta(HANDLER, atom(b"ilst", *ITEMS),
                    atom(b"free", bytes(400))))),
            ),
            f"{form} items, little free": (
                form,
                lambda file: mp4(file, atom(b"udta", meta(HANDLER, atom(b"ilst", *ITEMS),
                    atom(b"free", bytes(9))))),
            ),
            f"{form} free after the movie": (form, lambda file: mp4(file, atom(b"udta", user), free=2000)),
            f"{form} no user data": (form, lambda file: mp4(file)),
            f"{form} terminated user data": (
                form, lambda file: mp4(file, atom(b"udta", atom(b"chpl", b"broken"), bytes(4)))
            ),
            f"{form} terminated, with items": (form, lambda file: mp4(file, atom(b"udta", user, bytes(4)))),
            f"{form} meta without items": (form, lambda file: mp4(file, atom(b"udta", meta(HANDLER)))),
            f"{form} meta of QuickTime": (
                form, lambda file: mp4(file, atom(b"udta", meta(HANDLER,
                    atom(b"ilst", *ITEMS), quicktime=True)))
            ),
            f"{form} uuid and several genres": (
                form,
                lambda file: mp4(
                    file, atom(b"uuid", bytes(16) + b"x"),
                    atom(b"udta", meta(HANDLER, atom(
                        b"ilst", freeform(b"GENRE", data(b"a"), data(b"b")), *ITEMS,
                        atom(b"\xa9gen", data(b"a"), data(LATIN1)), atom(b"\xa9gen", data(b"\0c", 2)),
                    ))),
                ),
            ),
        }  # fmt: skip
    return found
