"""Contracts that codecs and stores have to keep, for the tests of an owner's own ones."""

import pytest

# So that a failed assertion in them shows its values, as in a test module.
pytest.register_assert_rewrite(f"{__name__}.codec_contract", f"{__name__}.store_contract")
