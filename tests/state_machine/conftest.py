"""Show the values that a failed comparison of the machine compared."""

import pytest

pytest.register_assert_rewrite("tests.state_machine.machine")
