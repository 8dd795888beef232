// The tables of models: numbers with their intervals, links to runs, columns to choose, models to compare.
(() => {
  const follow = (href) => window.dash_clientside.set_props("address", { href });
  const plain = (event) => !(event.ctrlKey || event.metaKey || event.shiftKey || event.altKey);

  // Functions that columns and events of a table name.
  window.dashAgGridFunctions = Object.assign({}, window.dashAgGridFunctions, {
    // A row without a rank stands below those with one, whichever way the ranks are sorted.
    maggRankOrder: (first, second, _first, _second, descending) => {
      if (first == null || second == null) {
        return first == null && second == null ? 0 : (first == null) === !descending ? 1 : -1;
      }
      return first - second;
    },
    maggText: (params) => params.data?.[`${params.colDef.field}_text`] ?? (params.value == null ? "–" : String(params.value)),
    // Where columns that stay in place would leave no room for the others (a phone), none stays.
    maggUnpinned: (params) => params.api.getAllDisplayedColumns().filter((column) => column.isPinned()),
    maggOpenOnEnter(params) {
      if (params.event?.key === "Enter" && plain(params.event) && params.data?.href) follow(params.data.href);
    },
    maggOpenOnClick(params) {
      const event = params.event;
      if (!params.data?.href || event.defaultPrevented || !plain(event) || window.getSelection().toString()) return;
      if (event.target.closest("a, input, button, .ag-checkbox, .ag-selection-checkbox")) return;
      follow(params.data.href);
    },
  });

  // Parts of table cells; every text is a text, never markup.
  window.dashAgGridComponentFunctions = Object.assign({}, window.dashAgGridComponentFunctions, {
    MaggRunLink(props) {
      if (!props.data?.href) return props.value ?? "";
      const open = (event) => {
        if (!plain(event) || event.button) return;
        event.preventDefault();
        follow(props.data.href);
      };
      const link = React.createElement(
        "a", { href: props.data.href, onClick: open, className: "run-link", tabIndex: -1 }, props.value ?? "",
      );
      if (!props.data.repeats) return link;
      return React.createElement(React.Fragment, null, link, React.createElement("span", { className: "repeats" }, props.data.repeats));
    },
  });

  window.dash_clientside = Object.assign({}, window.dash_clientside, {
    magg_group: {
      chosen: (rows) => (Array.isArray(rows) ? rows : (rows?.ids ?? []).map((run) => ({ run }))).map((row) => row.run),
      columns(shown, [fields, usual]) {
        const changed = JSON.stringify([...shown].sort()) !== JSON.stringify([...usual].sort());
        window.dash_ag_grid.getApiAsync("group-table").then((api) => {
          api.setColumnsVisible(fields.filter((field) => shown.includes(field)), true);
          api.setColumnsVisible(fields.filter((field) => !shown.includes(field)), false);
        });
        return changed ? shown.join(",") || "-" : null;
      },
      find(text) {
        window.dash_ag_grid.getApiAsync("group-table").then((api) => api.setGridOption("quickFilterText", text ?? ""));
        return window.dash_clientside.no_update;
      },
      // Resolves when the rows of the table are drawn, or after three seconds without a table.
      drawn: (group) =>
        Promise.race([
          window.dash_ag_grid.getApiAsync("group-table").then(
            (api) =>
              new Promise((resolve) => {
                if (api.getRenderedNodes().length) resolve();
                else api.addEventListener("firstDataRendered", resolve);
              }),
          ),
          new Promise((resolve) => setTimeout(resolve, 3000)),
        ]).then(() => new Promise((resolve) => requestAnimationFrame(() => setTimeout(resolve, 0, group)))),
      comparable: (chosen) => (chosen ?? []).length < 2,
      compare(clicks, chosen, path) {
        if (clicks) follow(`${path}?${new URLSearchParams({ runs: chosen.join(",") })}`);
        return window.dash_clientside.no_update;
      },
    },
  });
})();
