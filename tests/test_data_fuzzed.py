"""A folder of broken, hostile and strangely named files never crashes the examination; each is read or explained."""

import io
import os
import random
import struct
import subprocess
import sys
import tempfile
import zlib
from pathlib import Path

import numpy as np
import pytest
from command_line import magg  # noqa: F401  (fixture)
from PIL import Image

from model_aggregation.data.doctor.examination import examine
from model_aggregation.data.doctor.page import finding_lines
from model_aggregation.data.doctor.rule import CheckRule
from model_aggregation.data.inspection import inspect
from model_aggregation.data.scan import scan

FORMATS = {"png": "PNG", "jpg": "JPEG", "gif": "GIF", "tif": "TIFF", "webp": "WEBP", "bmp": "BMP", "jp2": "JPEG2000"}


def encoded(name: str) -> bytes:
    pixels = np.random.default_rng(5).integers(0, 256, (24, 24, 3), dtype=np.uint8)
    buffer = io.BytesIO()
    Image.fromarray(pixels).save(buffer, name)
    return buffer.getvalue()


def chunk(kind: bytes, data: bytes) -> bytes:
    return struct.pack(">I", len(data)) + kind + data + struct.pack(">I", zlib.crc32(kind + data))


def bombs() -> dict[str, bytes]:
    header = struct.pack(">IIBBBBB", 60_000, 60_000, 8, 0, 0, 0, 0)
    text = chunk(b"zTXt", b"k\0\0" + zlib.compress(b"a" * 200_000_000, 9))
    plain = encoded("PNG")
    gif = b"GIF87a" + struct.pack("<HH", 65535, 65535) + b"\x80\0\0" + b"\0" * 6
    return {
        "wide.png": b"\x89PNG\r\n\x1a\n" + chunk(b"IHDR", header) + chunk(b"IDAT", zlib.compress(bytes(1000))),
        "text.png": plain[:33] + text + plain[33:],
        "wide.gif": gif + b"," + struct.pack("<HHHH", 0, 0, 65535, 65535) + b"\0\x02\x02\x44\x01\0;",
    }


def fuzzed(folder: Path, each: int = 10) -> int:
    """Write truncations and bit flips of every format, and bombs; return how many files."""
    chance = random.Random(0)
    folder.mkdir(parents=True, exist_ok=True)
    written = 0
    for suffix, name in FORMATS.items():
        whole = encoded(name)
        for number in range(each):
            data = bytearray(whole)
            if number % 2:
                data = data[: chance.randrange(len(data))]
            else:
                for _ in range(chance.choice((1, 4, 30))):
                    data[chance.randrange(min(len(data), 400))] ^= 1 << chance.randrange(8)
            (folder / f"{suffix}{number}.{suffix}").write_bytes(data)
            written += 1
    for name, data in bombs().items():
        (folder / name).write_bytes(data)
        written += 1
    return written


def odd_names(folder: Path) -> int:
    names = ["line\nbreak.png", "タブ\t.png", "😀🏳️‍🌈.png", "a" * 251 + ".png", 'semi; colon, "quote".png', "[red].png"]
    if sys.platform == "win32":
        names = [name for name in names if not set(name) & set('\n\t"')]
    folder.mkdir(parents=True, exist_ok=True)
    for number, name in enumerate(names):
        pixels = np.random.default_rng(number).integers(0, 256, (24, 24), dtype=np.uint8)
        Image.fromarray(pixels).save(folder / name)
    return len(names)


def test_the_whole_examination_survives(tmp_path: Path, magg) -> None:  # noqa: F811
    root = tmp_path / "images"
    broken = fuzzed(root / "cat")
    named = odd_names(root / "dog")
    if sys.platform != "win32":
        (root / "dog" / "loop").symlink_to(root, target_is_directory=True)
        (root / "dog" / "self.png").symlink_to(root / "dog" / "self.png")
        broken += 1
    words = ("check", root, "--cache-folder", tmp_path / "cache", "--out", tmp_path / "out")
    first = magg(*words, expect=1)
    assert "images cannot be read" in first
    assert "dog/loop: a link to a folder" in first or sys.platform == "win32"
    assert magg(*words, expect=1) == first
    assert f"{broken + named} images in 2 classes" in first
    table = inspect(scan(root)).frame
    assert table.loc[table["label"] == "dog", "readable"].sum() == named
    assert (table.loc[~table["readable"], "error"] != "").all()
    bombs_read = table.set_index("id").loc[[f"cat/{name}" for name in bombs()]]
    assert not bombs_read["readable"].any()


def test_names_and_remarks_stay_on_their_lines(tmp_path: Path, recwarn: pytest.WarningsRecorder) -> None:
    odd_names(tmp_path / "images" / "dog")
    folder = tmp_path / "images" / "cat"
    folder.mkdir()
    Image.new("L", (24, 24), 9).save(folder / "tag\x1b[31m.tif" if sys.platform != "win32" else folder / "tag.tif")
    (path,) = folder.iterdir()
    data = bytearray(path.read_bytes())
    entry = data.index(struct.pack("<HH", 259, 3))
    data[entry + 4 : entry + 8] = struct.pack("<I", 2**20)  # more values than the file can hold
    path.write_bytes(data)
    found = examine(tmp_path / "images", CheckRule(cache_folder=tmp_path / "cache"))
    found.write(tmp_path / "out")
    assert not recwarn.list
    shown = "\n".join(finding_lines(found.findings))
    assert not set(shown) & {"\x1b", "\t"}
    if sys.platform != "win32":
        assert "dog/line\\nbreak.png" in shown
    (remark,) = (finding for finding in found.findings if finding.kind == "remark")
    assert "Tag data larger than file" in remark.details[0]


def test_in_processes_as_in_one(tmp_path: Path) -> None:
    fuzzed(tmp_path / "cat", each=30)
    table = scan(tmp_path)
    assert len(table.frame) > 200
    assert inspect(table, workers=2).frame.equals(inspect(table, workers=1).frame)


LOCKED_AND_LISTED = """
import os, sys
from pathlib import Path
from model_aggregation.data.description import describe_file
from model_aggregation.data.inspection import inspect
from model_aggregation.data.scan import scan
from model_aggregation.errors import DataError

root = Path(sys.argv[1])
if os.geteuid() == 0:
    # imports everything that is needed here and to start a process: Python itself may lie where only root reads
    for path in inspect(scan(root)).frame["path"]:
        describe_file(path)
    os.setgroups([])
    os.setgid(65534)
    os.setuid(65534)
frame = inspect(scan(root)).frame.set_index("id")
print(frame["readable"].sum(), frame.loc["dog/[red].png", "error"])
(root / "dog").chmod(0)
try:
    scan(root)
except DataError as error:
    print(error)
finally:
    (root / "dog").chmod(0o700)
"""


@pytest.mark.skipif(not hasattr(os, "geteuid"), reason="Windows has other permissions")
def test_files_and_folders_that_may_not_be_read() -> None:
    """In a process without rights of its own: root may read everything."""
    with tempfile.TemporaryDirectory() as folder:  # pytest's folders are closed to others
        root = Path(folder)
        named = odd_names(root / "dog")
        (root / "dog" / "[red].png").chmod(0)
        if os.geteuid() == 0:
            for path in (root, root / "dog", *(root / "dog").iterdir()):
                os.chown(path, 65534, 65534)
        words = [sys.executable, "-X", "utf8", "-c", LOCKED_AND_LISTED, folder]
        done = subprocess.run(words, capture_output=True, text=True, encoding="utf-8", check=False)
    assert done.returncode == 0, done.stderr
    first, rest = done.stdout.split("\n", 1)
    assert first == f"{named - 1} cannot be read: Permission denied"
    assert "cannot be listed" in rest
