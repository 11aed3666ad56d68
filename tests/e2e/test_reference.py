"""The reference at `/docs` in a browser: shown and opened with nothing asked of another host."""

from __future__ import annotations

from playwright.sync_api import expect

from tests.e2e.visit import SHOTS, Visit


def test_the_reference_shows_and_opens_operations_from_our_own_files_alone(visit: Visit) -> None:
    page = visit.go("/docs/")
    expect(page.get_by_role("heading", name="Alacarte").first).to_contain_text("Alacarte")
    preview = page.locator("#operations-quotes-PreviewQuote")
    expect(preview).to_be_visible()
    preview.get_by_role("button").first.click()
    expect(preview.get_by_role("heading", name="Responses")).to_be_visible()
    SHOTS.mkdir(parents=True, exist_ok=True)
    page.screenshot(path=SHOTS / "reference.png")
    asked = page.evaluate("performance.getEntriesByType('resource').map(each => each.name)")
    assert {each.removeprefix(visit.address) for each in asked} >= {
        "/docs/swagger-ui-bundle.js",
        "/openapi/openapi.json",
    }
    assert [each for each in asked if not each.startswith((visit.address, "data:"))] == []
    assert visit.elsewhere == []
