"""A browser without a screen: keeps cookies, follows forms, sends their token."""

from __future__ import annotations

import re
from typing import Any

from tests.integration.api.door import Door

PASSWORD = "correct horse battery"  # noqa: S105
_TOKEN = re.compile(r'name="_csrf_token" value="([0-9a-f]+)"')


class Browsing:
    """One visitor."""

    def __init__(self, door: Door) -> None:
        self.door = door
        self.client = door.client
        self.client.cookies.clear()

    def get(self, path: str) -> Any:
        return self.client.get(path, follow_redirects=False)

    def post(self, path: str, fields: dict[str, str] | None = None, *, token: str | None = None) -> Any:
        if token is None:
            token = _TOKEN.findall(self.client.get("/console/sign-in").text)[0]
        body = {**(fields or {}), "_csrf_token": token}
        return self.client.post(path, data=body, follow_redirects=False)

    def sign_in(self, name: str, password: str = PASSWORD) -> Any:
        return self.post("/console/sign-in", {"name": name, "password": password, "next": "/console"})
