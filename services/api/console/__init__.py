"""The console: pages that the api serves to people, beside what it serves to programs under `/v1`.

A page is a router in a module of its own (`*_page.py`, `APIRouter(include_in_schema=False)`), listed in
`console.app.ROUTERS`. It depends on who looks, reads through the api's own query functions and renders a template:

    Reader = Annotated[Viewer, Depends(session.reader)]

    @router.get("/portfolio")
    async def get_portfolio(request: Request, viewer: Reader) -> Response:
        async with Connection(request) as connection:
            found = await portfolio_queries...(connection, ...)
        return render(request, "portfolio.html", found=found)

- `session.reader` needs the scope `read`, `session.operator` `operate`, `session.administrator` `admin`; nobody signed in
  goes to the sign-in page. In templates, acts are absent unless `viewer.allows("operate")`; `parts.lacks("operate")`
  then says which scope is missing.
- A post calls `form = await forms.posted(request, viewer.form_secret)` before anything else: that checks where it comes
  from. Its form holds `{{ form.proof() }}` (`{% import "macros/form.html" as form with context %}`). It answers with a
  303 to a page, or with a fragment where `render.is_fragment(request)`: everything works with scripts off.
- Templates extend `base.html` with the blocks `title`, `styles`, `main`, `scripts`, `end`; `render` tells what they are
  given, `macros/parts.html` (there as `parts`) has severity, bands, empty and failed panels, the pager. Nothing inline:
  no `style=`, no `<script>` with text, no `hx-on`, no `js:` (a test holds that, and the content policy would).
- A `Problem` that is raised becomes a page with a way back, or a notice on the page for a script's request.
- Static files lie in `static/`; `static("account.css")` is their URL with a hash. `vendor` brings what is not ours.
"""
