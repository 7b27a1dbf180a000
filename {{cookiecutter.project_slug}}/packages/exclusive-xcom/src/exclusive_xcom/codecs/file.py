"""pathlib.Path of an existing file: its content travels, and the consumer gets a private local copy."""

from __future__ import annotations

import mimetypes
import stat
from pathlib import Path, PurePath
from typing import Any

from .. import scratch
from ..errors import UnsupportedValue
from . import Content, Options, OurCodec, Payload
from ._tagged import tag, untag
from .common import readable


class FileCodec(OurCodec):
    """Streams the file that a path, or the link at its end, leads to, in constant memory both ways. Keeps
    content and name, not mode, times or folder. The consumer's copy is removed when its task ends.
    """

    name = "file"

    def encode(self, value: PurePath, options: Options) -> Payload:
        path = Path(value)
        if type(value) is not type(path):
            what = f"A {type(value).__name__} is not of a file here"
            raise UnsupportedValue(what, "Return pathlib.Path(value).")
        try:
            mode = path.stat().st_mode
            if stat.S_ISREG(mode):
                path.open("rb").close()
        except (OSError, ValueError) as error:
            raise UnsupportedValue(
                f"The file {path} can't be read ({error})",
                "A Path hands over the file's content: write the file first. For the name, return str(path).",
            ) from error
        if stat.S_ISDIR(mode):
            advice = "Pack it with shutil.make_archive(...) and return the archive's Path."
            raise UnsupportedValue(f"{path} is a folder, and only a file travels", advice)
        if not stat.S_ISREG(mode):
            advice = "Write its content to a file and return that."
            raise UnsupportedValue(f"{path} is not a regular file", advice)
        name = path.name
        if scratch.safe_name(name) != name:
            what = f"The file name {name!r} has a backslash or a control character"
            raise UnsupportedValue(what, "Rename the file, as by path.rename(...), and return its new Path.")
        media_type = mimetypes.guess_type(name)[0] or "application/octet-stream"
        meta = {"name": tag(name, options)}  # which may be no Unicode, unlike what others are told
        told = Path(name.encode(errors="replace").decode())
        return Payload(self.name, "file", media_type, told.suffix, path, told.name, meta, filename=told.name)

    def decode(self, content: Content, meta: dict[str, Any], options: Options) -> Path:
        with readable("file"):  # of the name only a harmless last component is used
            return content.file(str(untag(meta["name"], options)))


CODEC = FileCodec()
