"""A visitor at the console: walks, looks, and notices what should not happen."""

from __future__ import annotations

from pathlib import Path
from typing import Any
from urllib.parse import urlsplit

from axe_playwright_python.sync_playwright import Axe
from playwright.sync_api import Browser, BrowserContext, ConsoleMessage, Page, Request

SHOTS = Path(__file__).parents[2] / "out" / "e2e"
_AXE = Axe()


class Visit:
    """One browser context with its page."""

    def __init__(self, browser: Browser, address: str, passwords: dict[str, str]) -> None:
        self._browser = browser
        self.address = address
        self._passwords = passwords
        self.elsewhere: list[str] = []
        self.complaints: list[str] = []
        self._contexts: list[BrowserContext] = []
        self.page: Page = self.open()

    def open(self, **context: Any) -> Page:
        """Come with another browser: phone width, dark, Korean, or as another person."""
        opened = self._browser.new_context(
            **{"viewport": {"width": 1280, "height": 900}, "locale": "en-US", "color_scheme": "light", **context}
        )
        self._contexts.append(opened)
        self.page = opened.new_page()
        self.page.set_default_timeout(30_000)
        self.page.on("request", self._asked)
        self.page.on("console", self._said)
        self.page.on("pageerror", lambda error: self.complaints.append(str(error)))
        return self.page

    def _asked(self, request: Request) -> None:
        if urlsplit(request.url).netloc != urlsplit(self.address).netloc:
            self.elsewhere.append(request.url)

    def _said(self, message: ConsoleMessage) -> None:
        if message.type in {"error", "warning"}:
            self.complaints.append(message.text)

    def go(self, path: str) -> Page:
        answer = self.page.goto(self.address + path)
        assert answer is not None
        assert answer.ok, (path, answer.status)
        return self.page

    def sign_in(self, name: str, password: str | None = None) -> Page:
        self.page.goto(self.address + "/console")
        self.page.get_by_label("Name").or_(self.page.get_by_label("이름")).fill(name)
        self.page.locator("input[type=password]").fill(password or self._passwords[name])
        self.page.locator("main button").click()
        return self.page

    def see(self, name: str) -> None:
        """Keep a picture, and find no serious fault of accessibility, nor a page wider than the screen."""
        self.page.wait_for_load_state()
        SHOTS.mkdir(parents=True, exist_ok=True)
        self.page.screenshot(path=SHOTS / f"{name}.png", full_page=True)
        found = _AXE.run(self.page, options={"resultTypes": ["violations"]}).response["violations"]
        serious = [
            (each["id"], [node["target"] for node in each["nodes"]])
            for each in found
            if each["impact"] in {"serious", "critical"}
        ]
        assert serious == [], name
        widths: list[int] = self.page.evaluate("[document.documentElement.scrollWidth, window.innerWidth]")
        assert widths[0] <= widths[1], f"{name} is wider than the screen"

    def drawn_with(self, selector: str) -> set[str]:
        """Return the families that drew the text of an element, `ours` for those of the style sheet."""
        asking = self.page.context.new_cdp_session(self.page)
        asking.send("DOM.enable")
        asking.send("CSS.enable")
        root = asking.send("DOM.getDocument")["root"]["nodeId"]
        node = asking.send("DOM.querySelector", {"nodeId": root, "selector": selector})["nodeId"]
        drawn = asking.send("CSS.getPlatformFontsForNode", {"nodeId": node})["fonts"]
        return {"ours" if each["isCustomFont"] else each["familyName"] for each in drawn}

    def end(self) -> None:
        for context in self._contexts:
            context.close()
        assert self.elsewhere == []
        assert self.complaints == []
