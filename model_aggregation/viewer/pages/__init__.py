"""The pages of the viewer, by the first word of their address.

A page is a module with two functions:

``layout(context, address) -> Component``
    What stands on the page; may raise (a note is shown instead). ``address`` is parsed already.
``register(app, context) -> None``
    Adds the page's callbacks to the Dash app with ``app.callback`` or ``app.clientside_callback``. Ids begin with
    the page's name, such as ``run-cutoff``.
"""

from types import ModuleType

from model_aggregation.viewer.pages import compare, data, group, home, images, run

PAGES: dict[str, ModuleType] = {
    "": home,
    "compare": compare,
    "data": data,
    "group": group,
    "images": images,
    "run": run,
}
