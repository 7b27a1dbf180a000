"""Writes the tables of docs/values.md anew: what `make compared` runs. See compared.py."""

from __future__ import annotations

import logging

import compared  # not run itself: its classes have to be of a module with this name

logging.disable(logging.WARNING)  # each row is pushed and pulled
compared.write()
