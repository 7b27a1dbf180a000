"""Writes the golden payloads of this version: what `make golden` runs. See golden.py."""

from __future__ import annotations

import golden  # not run itself: the classes of its values have to be of a module with this name

golden.write()
