// The viewer's own functions in the browser: preferences, addresses, downloads. Nothing is sent elsewhere.
(() => {
  const YEAR = 365 * 24 * 3600;
  const cookie = (name) => document.cookie.split("; ").find((part) => part.startsWith(name + "="))?.split("=")[1];
  const keepCookie = (name, value) => {
    document.cookie = `${name}=${value}; path=/; max-age=${YEAR}; samesite=strict`;
  };

  // Before the application asks for its layout: the first choice between light and dark is the system's.
  if (!cookie("magg_scheme")) {
    const scheme = window.matchMedia("(prefers-color-scheme: dark)").matches ? "dark" : "light";
    keepCookie("magg_scheme", scheme);
    document.documentElement.dataset.mantineColorScheme = scheme;
  }

  const nothing = () => window.dash_clientside.no_update;

  function saved(name, type, content) {
    const link = document.createElement("a");
    link.href = URL.createObjectURL(new Blob([content], { type }));
    link.download = name;
    link.click();
    setTimeout(() => URL.revokeObjectURL(link.href), 10000);
  }

  const csvCell = (value) => {
    const text = value === null || value === undefined ? "" : String(value);
    return /[",\n\r]/.test(text) ? `"${text.replaceAll('"', '""')}"` : text;
  };

  // One row per point that is drawn: the numbers of the figure, no more and no less.
  function figureRows(traces) {
    const rows = [["series", "x", "y", "z", "low", "high", "text"]];
    const at = (values, k) => (values && typeof values === "object" ? values[k] : undefined);
    for (const trace of traces) {
      if (trace.z && trace.z.length && at(trace.z, 0)?.length !== undefined) {
        for (let i = 0; i < trace.z.length; i++) {
          for (let j = 0; j < trace.z[i].length; j++) {
            rows.push([trace.name, at(trace.x, j) ?? j, at(trace.y, i) ?? i, trace.z[i][j], "", "", at(at(trace.text, i), j)]);
          }
        }
        continue;
      }
      const error = [trace.error_x, trace.error_y].find((bars) => bars?.visible && bars.array);
      const along = error === trace.error_x ? trace.x : trace.y;
      for (let k = 0; k < Math.max(trace.x?.length ?? 0, trace.y?.length ?? 0); k++) {
        const low = error && along[k] - (error.arrayminus ?? error.array)[k];
        const high = error && along[k] + error.array[k];
        rows.push([trace.name, at(trace.x, k), at(trace.y, k), "", low, high, at(trace.text, k)]);
      }
    }
    return rows;
  }

  document.addEventListener("click", (event) => {
    const button = event.target.closest?.("[data-file]");
    if (!button || !button.closest(".figure-card")) return;
    const graph = button.closest(".figure-card").querySelector(".js-plotly-plot");
    const form = JSON.parse(button.id).form;
    if (!graph) return;
    if (form === "csv") {
      const text = figureRows(graph._fullData).map((row) => row.map(csvCell).join(",")).join("\n") + "\n";
      saved(`${button.dataset.file}.csv`, "text/csv", "\ufeff" + text); // the mark lets Excel read UTF-8
    } else {
      const scale = form === "png" ? 3 : 1;
      window.Plotly.downloadImage(graph, { format: form, filename: button.dataset.file, scale });
    }
  });

  window.dash_clientside = Object.assign({}, window.dash_clientside, {
    magg: {
      title(title) {
        if (title) document.title = title;
        window.scrollTo(0, 0);
        return nothing();
      },
      language(language) {
        if (language && language !== document.documentElement.lang) {
          keepCookie("magg_language", language);
          window.location.reload();
        }
        return nothing();
      },
      scheme() {
        const dark = document.documentElement.dataset.mantineColorScheme === "dark";
        keepCookie("magg_scheme", dark ? "light" : "dark");
        window.location.reload();
        return nothing();
      },
      keep(names, values) {
        const query = new URLSearchParams(window.location.search);
        names.forEach((name, k) => {
          const value = values[k];
          if (value === null || value === undefined || value === "" || value === false) query.delete(name);
          else query.set(name, Array.isArray(value) ? value.join(",") : value);
        });
        const text = query.toString();
        window.history.replaceState(window.history.state, "", window.location.pathname + (text ? `?${text}` : ""));
        return nothing();
      },
    },
  });
})();
