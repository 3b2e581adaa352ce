"""The tests of lamson-sqlite-state. `contract` is what any state storage can be run through."""

import pytest

# Helpers whose asserts are to explain themselves as those in the test modules do.
pytest.register_assert_rewrite(
    "tests.helpers.contract", "tests.helpers.contract_extras", "tests.helpers.contract_sharing"
)
