"""pathlib.Path of an existing file: its content travels, and the consumer gets a private local copy."""

from __future__ import annotations

import mimetypes
import stat
from pathlib import Path, PurePath
from typing import Any

from ..errors import UnsupportedValue
from . import Content, Options, OurCodec, Payload
from .common import readable


class FileCodec(OurCodec):
    """Streams a file, in constant memory both ways. Keeps content and name, not mode, times or folder.

    The consumer's copy is removed when its task ends.
    """

    name = "file"

    def encode(self, value: PurePath, options: Options) -> Payload:
        """The file that the path, or the link at its end, leads to.

        Raises:
            UnsupportedValue: there is no regular file that can be read.
        """
        path = Path(value)
        try:
            if type(value) is not type(path):
                raise UnsupportedValue(
                    f"A {type(value).__name__} is not of a file here", "Return pathlib.Path(value)."
                )
            mode = path.stat().st_mode
            if stat.S_ISDIR(mode):
                raise UnsupportedValue(
                    f"{path} is a folder, and only a file travels",
                    "Pack it with shutil.make_archive(...) and return the archive's Path.",
                )
            if not stat.S_ISREG(mode):
                raise UnsupportedValue(
                    f"{path} is not a regular file", "Write its content to a file and return that."
                )
            path.open("rb").close()
        except (OSError, ValueError) as error:
            raise UnsupportedValue(
                f"The file {path} can't be read ({error})",
                "A Path hands over the file's content: write the file first. For the name, return str(path).",
            ) from error
        return Payload(
            codec=self.name,
            kind="file",
            media_type=mimetypes.guess_type(path.name)[0] or "application/octet-stream",
            suffix=path.suffix,
            body=path,
            summary=path.name,
            meta={"name": path.name},
            filename=path.name,
        )

    def decode(self, content: Content, meta: dict[str, Any], options: Options) -> Path:
        """A private copy under the name that was pushed, of which only a harmless last component is used."""
        with readable("file"):
            return content.file(str(meta["name"]))


CODEC = FileCodec()
