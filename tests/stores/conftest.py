import pytest

pytest.register_assert_rewrite("keyguard.testing")
