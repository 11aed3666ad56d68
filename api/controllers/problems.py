"""The pages that the `type` of a problem leads to: what a code means and what to do. Nothing of them is elsewhere."""

from __future__ import annotations

from litestar import Controller, MediaType, Response, get
from litestar.exceptions import NotFoundException
from litestar.params import FromPath
from markupsafe import Markup

from api.problem_codes import ProblemCode, problem_codes

_PAGE = Markup(
    '<!doctype html><html lang="en"><head><meta charset="utf-8"><meta name="color-scheme" content="light dark">'
    '<meta name="viewport" content="width=device-width"><title>{title}</title></head><body><main>{content}</main>'
    "</body></html>"
)
_HEADERS = {"Content-Security-Policy": "default-src 'none'", "Cache-Control": "max-age=3600"}


class ProblemController(Controller):
    """Open to everyone, like the reference."""

    path = "/problems"
    include_in_schema = False

    @get("/", sync_to_thread=True)
    def list(self) -> Response[str]:
        """Return all codes with what they mean."""
        rows = Markup("").join(
            Markup('<dt><a href="/problems/{}">{}</a></dt><dd>{}</dd>').format(each.code, each.code, each.meaning)
            for each in problem_codes().values()
        )
        return _page("Problems", Markup("<h1>Problems</h1><dl>{}</dl>").format(rows))

    @get("/{code:str}", sync_to_thread=True)
    def read(self, code: FromPath[str]) -> Response[str]:
        """Return what one code means and what to do."""
        found = problem_codes().get(code)
        if found is None:
            raise NotFoundException("there is no such problem code")
        return _page(found.title, _described(found))


def _described(found: ProblemCode) -> Markup:
    text = Markup("<h1>{}</h1><p><code>{}</code></p><h2>Meaning</h2><p>{}</p>").format(
        found.title, found.code, found.meaning
    )
    if found.rules:
        rules = Markup("").join(Markup("<li>{}</li>").format(rule) for rule in found.rules)
        text += Markup("<h2>Stated as</h2><ul>{}</ul>").format(rules)
    return text + Markup('<h2>What to do</h2><p>{}</p><p><a href="/problems">All problems</a></p>').format(found.remedy)


def _page(title: str, content: Markup) -> Response[str]:
    return Response(_PAGE.format(title=title, content=content), media_type=MediaType.HTML, headers=_HEADERS)
