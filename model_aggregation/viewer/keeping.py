"""What a visitor has set on a page stands in its address, so that the address can be sent to a colleague."""

import json

from dash import Dash, Input


def keep_in_address(app: Dash, **values: Input) -> None:
    """Write the values of components into the query of the address whenever they change, without loading the page anew.

    Names are those of ``address.query``; empty values leave the address. The page reads them in its ``layout``.
    """
    names = json.dumps(list(values))
    app.clientside_callback(f"(...values) => window.dash_clientside.magg.keep({names}, values)", *values.values())
