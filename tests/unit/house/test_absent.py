"""What a machine lacks skips a test, and never in CI."""

from __future__ import annotations

import pytest

from tests.absent import absent


def test_ci_fails_where_another_machine_skips(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("CI", "true")
    with pytest.raises(pytest.fail.Exception, match="no browser"):
        absent("no browser")
    monkeypatch.delenv("CI")
    with pytest.raises(pytest.skip.Exception, match="no browser"):
        absent("no browser")
