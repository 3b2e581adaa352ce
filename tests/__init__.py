"""The tests of lamson-sqlite-state. `contract` is what any state storage can be run through."""

import pytest

# Helpers whose asserts are to explain themselves as those in the test modules do.
pytest.register_assert_rewrite("tests.contract", "tests.contract_extras", "tests.contract_sharing")
