// The images page in the browser: choices and address, zoom, keys, stars on marked images, cells of tables.
(() => {
  const dash = () => window.dash_clientside;
  const set = (id, props) => dash().set_props(id, props);
  const grid = () => (document.getElementById("images-grid") ? window.dash_ag_grid?.getApi("images-grid") : null);
  const same = (one, other) => JSON.stringify(one) === JSON.stringify(other);
  const EMPTY = [null, undefined, "", false];
  let before = null; // what the table was asked for last
  let openImage = null;
  let placeBefore = null;
  let pushed = false; // the open image has an entry of its own in the history
  let swallowed = false;

  // --- choices and address -----------------------------------------------------------------------------------

  function collect(names, values) {
    const old = values[values.length - 1] ?? {};
    const given = Object.fromEntries(names.map((name, k) => [name, values[k]]));
    const words = dash().callback_context.inputs_list.find(Array.isArray) ?? [];
    const found = { view: given.view, page: String(given.page ?? 1), list: given.list, runs: old.runs };
    for (const name of ["wrong", "disagree", "marked"]) found[name] = given[name] ? "1" : null;
    for (const name of ["actual", "predicted", "text", "from", "to", "models_wrong"]) found[name] = given[name];
    if (!EMPTY.includes(given.from) || !EMPTY.includes(given.to)) found.of = given.of === "confidence" ? null : given.of;
    if (given.sort) found.sort = (given.descending ? "-" : "") + given.sort;
    for (const word of words) found[word.id.key] = word.value;
    const chosen = {};
    for (const [name, value] of Object.entries(found)) if (!EMPTY.includes(value)) chosen[name] = String(value);
    const content = (choices) => ({ ...choices, page: null, list: null, view: null });
    const filtered = !same(content(sortedKeys(chosen)), content(sortedKeys(old)));
    if (filtered) chosen.page = "1";
    if (chosen.page === "1") delete chosen.page;
    return [chosen, filtered ? 1 : dash().no_update];
  }

  const sortedKeys = (value) => Object.fromEntries(Object.entries(value).filter(([name]) => name !== "page").sort());

  function chosen(choices, image, place) {
    if (!same(place, placeBefore)) [placeBefore, before, openImage, pushed] = [place, null, null, false];
    const query = new URLSearchParams({ set: place[2], ...choices });
    if (choices.view === "gallery") query.delete("view");
    if (choices.list === "marked") query.delete("list");
    if (image !== null && image !== undefined) query.set("image", image);
    const address = `${window.location.pathname}?${query}`;
    const was = openImage;
    openImage = image ?? null;
    if (was !== null && openImage === null && pushed) {
      pushed = false;
      swallowed = true;
      window.history.back(); // closed here: its entry goes too
    } else if (address !== window.location.pathname + window.location.search) {
      pushed = pushed || (was === null && openImage !== null && before !== null); // "back" closes an image
      const keep = was === null && pushed ? "pushState" : "replaceState";
      window.history[keep](window.history.state, "", address);
    }
    document.getElementById("images-root").dataset.view = choices.view ?? "gallery";
    refreshGrid(choices);
    return dash().no_update;
  }

  window.addEventListener("popstate", (event) => { // before Dash, which would build the whole page anew
    if (swallowed || (pushed && openImage !== null)) event.stopImmediatePropagation();
    if (!swallowed && pushed && openImage !== null) {
      pushed = false;
      set("images-image", { data: null });
    }
    swallowed = false;
  });

  function refreshGrid(choices) {
    const { sort, page, view, ...filters } = choices;
    const changed = before !== null && !same(sortedKeys(filters), before);
    before = sortedKeys(filters);
    const api = grid();
    if (!api) return;
    const column = (sort ?? "").replace(/^-/, "");
    const now = api.getColumnState().find((state) => state.sort);
    const direction = (sort ?? "").startsWith("-") ? "desc" : "asc";
    if ((now?.colId ?? "") !== column || (now && now.sort !== direction)) {
      const state = column ? [{ colId: column, sort: direction }] : [];
      api.applyColumnState({ state, defaultState: { sort: null } });
    }
    if (changed) {
      api.purgeInfiniteCache();
      api.ensureIndexVisible(0);
    }
  }

  // The header of the table and the control above say the same.
  function sorted(request, sort, descending) {
    if (!request) return [dash().no_update, dash().no_update];
    const wanted = request.sortModel[0];
    const column = wanted?.colId ?? null;
    const down = wanted ? wanted.sort === "desc" : descending;
    return [column === (sort || null) ? dash().no_update : column, down === descending ? dash().no_update : down];
  }

  // --- one image ---------------------------------------------------------------------------------------------

  function look(image, opened) {
    const cause = dash().callback_context.triggered[0]?.prop_id ?? "";
    if (cause.startsWith("images-modal") && !opened) return [false, null];
    const first = cause === "" || cause === ".";
    return [image !== null && image !== undefined, first ? image : dash().no_update]; // what waits for it goes on
  }

  const steps = () => document.getElementById("images-steps")?.dataset;
  const open = (index) => set("images-image", { data: Number(index) });
  const toggle = (index) => set("images-toggle", { data: { index: Number(index), at: Date.now() } });

  function step(name) {
    const index = steps()?.[name];
    if (index) open(index);
  }

  const sheet = new CSSStyleSheet(); // a rule per marked image: right whenever cards and rows are drawn
  document.adoptedStyleSheets.push(sheet);

  function stars(marks) {
    const indices = Object.keys(marks?.comments ?? {}).filter((index) => /^\d+$/.test(index));
    const rules = indices.map((index) => `.images-star[data-mark="${index}"]`);
    sheet.replaceSync(rules.length ? `${rules.join(",")} { display: inline-block !important }` : "");
    return dash().no_update;
  }

  async function openHere(button) {
    const { openGroup, openRun, openSetName, openIndex, openWhat } = button.dataset;
    const wanted = { group: openGroup, run: openRun, set_name: openSetName, index: Number(openIndex), what: openWhat };
    const answer = await fetch("/open", {
      method: "POST", headers: { "Content-Type": "application/json" }, body: JSON.stringify(wanted),
    });
    const text = answer.ok ? "" : ((await answer.json().catch(() => null))?.detail ?? answer.statusText);
    set("images-open-answer", { children: text });
  }

  function reset() {
    const query = new URLSearchParams(window.location.search);
    const kept = ["set", "view", "list"].filter((name) => query.has(name)).map((name) => [name, query.get(name)]);
    window.location.assign(`${window.location.pathname}?${new URLSearchParams(kept)}`);
  }

  // --- zoom --------------------------------------------------------------------------------------------------

  const LARGEST = 40;
  let view = { scale: 1, x: 0, y: 0 };
  const fingers = new Map();
  const stage = () => document.getElementById("images-stage");
  const picture = () => stage()?.querySelector(".images-picture");

  function draw() {
    const image = picture();
    if (image) image.style.transform = `translate(${view.x}px, ${view.y}px) scale(${view.scale})`;
  }

  function fit() {
    view = { scale: 1, x: 0, y: 0 };
    draw();
  }

  // What lies under (x, y), measured from the middle of the stage, stays there.
  function zoom(factor, x = 0, y = 0) {
    const scale = Math.min(LARGEST, Math.max(1, view.scale * factor));
    const ratio = scale / view.scale;
    view = scale === 1 ? { scale, x: 0, y: 0 } : { scale, x: x - (x - view.x) * ratio, y: y - (y - view.y) * ratio };
    draw();
  }

  function fromMiddle(event) {
    const box = stage().getBoundingClientRect();
    return [event.clientX - box.left - box.width / 2, event.clientY - box.top - box.height / 2];
  }

  const onStage = (event) => event.target.closest?.("#images-stage") && picture();

  document.addEventListener("wheel", (event) => {
    if (!onStage(event)) return;
    event.preventDefault();
    zoom(Math.exp(-event.deltaY * (event.deltaMode ? 0.05 : 0.0015)), ...fromMiddle(event));
  }, { passive: false });

  document.addEventListener("pointerdown", (event) => {
    if (!onStage(event) || event.button) return;
    fingers.set(event.pointerId, [event.clientX, event.clientY]);
    stage().setPointerCapture(event.pointerId);
  });

  document.addEventListener("pointermove", (event) => {
    const last = fingers.get(event.pointerId);
    if (!last) return;
    const now = [event.clientX, event.clientY];
    const other = [...fingers].find(([id]) => id !== event.pointerId)?.[1];
    if (other) {
      const [was, is] = [last, now].map(([x, y]) => Math.hypot(x - other[0], y - other[1]));
      if (was > 0) zoom(is / was, ...fromMiddle({ clientX: (now[0] + other[0]) / 2, clientY: (now[1] + other[1]) / 2 }));
    } else if (view.scale > 1) {
      view = { ...view, x: view.x + now[0] - last[0], y: view.y + now[1] - last[1] };
      draw();
    }
    fingers.set(event.pointerId, now);
  });

  for (const name of ["pointerup", "pointercancel"]) {
    document.addEventListener(name, (event) => fingers.delete(event.pointerId));
  }

  document.addEventListener("dblclick", (event) => {
    if (!onStage(event)) return;
    if (view.scale > 1) fit();
    else zoom(4, ...fromMiddle(event));
  });

  // --- thumbnails: asked for when they come near the window -----------------------------------------------------

  const wanted = new WeakMap();
  const nearby = new IntersectionObserver((entries) => {
    for (const { target, isIntersecting } of entries) {
      if (!isIntersecting) continue;
      nearby.unobserve(target);
      target.src = target.dataset.source;
    }
  }, { rootMargin: "300px" });

  new MutationObserver(() => {
    for (const image of document.querySelectorAll("#images-gallery img[data-source]")) {
      if (wanted.get(image) === image.dataset.source) continue;
      wanted.set(image, image.dataset.source);
      image.removeAttribute("src"); // of the image that was here on the page before
      image.closest(".images-frame").classList.remove("images-frame-gone");
      nearby.observe(image);
    }
  }).observe(document.documentElement, { childList: true, subtree: true, attributeFilter: ["data-source"] });

  // --- pictures that come, and those that do not ---------------------------------------------------------------

  document.addEventListener("load", (event) => {
    const image = event.target;
    if (image.matches?.(".images-picture")) {
      image.classList.toggle("images-coarse", image.naturalWidth * 2 < stage().clientWidth);
      image.parentElement.querySelector(".images-problem").classList.remove("images-problem-shown");
      image.hidden = false;
      fit();
      const next = steps()?.next;
      if (next) new Image().src = image.src.replace(/\d+$/, next); // ready before it is asked for
    }
  }, true);

  document.addEventListener("error", async (event) => {
    const image = event.target;
    if (image.matches?.(".images-thumbnail")) image.closest(".images-frame")?.classList.add("images-frame-gone");
    if (!image.matches?.(".images-picture")) return;
    image.hidden = true;
    const problem = image.parentElement.querySelector(".images-problem");
    problem.classList.add("images-problem-shown");
    const answer = await fetch(image.src).catch(() => null);
    const reason = (await answer?.json().catch(() => null))?.detail;
    problem.querySelector(".images-reason").textContent = reason ?? "";
  }, true);

  // --- clicks and keys ---------------------------------------------------------------------------------------

  const BUTTONS = {
    "images-previous": () => step("previous"),
    "images-next": () => step("next"),
    "images-zoom-in": () => zoom(1.5),
    "images-zoom-out": () => zoom(1 / 1.5),
    "images-fit": fit,
    "images-reset": reset,
  };

  document.addEventListener("click", (event) => {
    const found = (selector) => event.target.closest?.(selector);
    const card = found("a[data-image]");
    if (card && !event.ctrlKey && !event.metaKey && !event.shiftKey) {
      event.preventDefault();
      open(card.dataset.image);
    }
    const toggled = found("[data-toggle]");
    if (toggled) toggle(toggled.dataset.toggle);
    const opener = found("[data-open-what]");
    if (opener) openHere(opener);
    BUTTONS[found("button")?.id]?.();
  });

  function focused(element) {
    const card = element.closest?.("a[data-image]");
    if (card) return Number(card.dataset.image);
    const row = element.closest?.("#images-grid .ag-row");
    return row ? grid()?.getDisplayedRowAtIndex(Number(row.getAttribute("row-index")))?.data?.index : undefined;
  }

  const KEYS = {
    ArrowLeft: () => step("previous"),
    ArrowRight: () => step("next"),
    "+": () => zoom(1.5),
    "=": () => zoom(1.5),
    "-": () => zoom(1 / 1.5),
    0: fit,
    m: () => steps() && toggle(steps().index),
  };

  // Cards are walked through with the arrow keys: the next one, or the one below.
  function walk(card, key) {
    const cards = [...document.querySelectorAll("#images-gallery .images-card")];
    const top = cards[0].offsetTop;
    const columns = cards.findIndex((other) => other.offsetTop > top);
    const by = { ArrowLeft: -1, ArrowRight: 1, ArrowUp: -columns, ArrowDown: columns }[key];
    const next = by ? cards[cards.indexOf(card) + by] : null;
    next?.focus();
    return Boolean(next);
  }

  document.addEventListener("keydown", (event) => {
    if (!document.getElementById("images-root") || event.ctrlKey || event.metaKey || event.altKey) return;
    const target = event.target;
    const inWindow = Boolean(target.closest?.(".mantine-Modal-content"));
    const writes = target.matches?.("input, textarea, select, [contenteditable]");
    if (writes) {
      if (event.key === "Escape" && inWindow) stage().focus(); // leaves the comment, which keeps it
      return;
    }
    const key = event.key.length === 1 ? event.key.toLowerCase() : event.key;
    if (openImage !== null) {
      if (KEYS[key] && !target.closest?.(".images-scroll, [role=combobox]")) {
        KEYS[key]();
        event.preventDefault();
      }
      return;
    }
    if (key === "Delete") target.closest?.("#images-marks-grid .ag-row")?.querySelector(".images-unmark")?.click();
    const index = focused(target);
    if (index === undefined) return;
    if (key === "m") toggle(index);
    else if (key === "Enter" && target.closest(".ag-row")) open(index);
    else if (target.matches(".images-card") && walk(target, key)) event.preventDefault();
  }, true);

  document.addEventListener("focusin", ({ target }) => { // Escape in the comment does not close the window
    if (target.closest?.(".images-mark-panel")) target.dataset.mantineStopPropagation = target.matches("textarea");
  });

  // --- cells of tables ---------------------------------------------------------------------------------------

  const element = (...given) => window.React.createElement(...given);
  const cells = (window.dashAgGridComponentFunctions = window.dashAgGridComponentFunctions ?? {});

  cells.MaggImage = ({ data }) => data ? element("a", { href: data.href, "data-image": data.index, className: "images-cell", tabIndex: -1 },
    element("span", { className: "images-frame" },
      element("img", { src: data.thumbnail, alt: "", loading: "lazy", className: "images-thumbnail", key: data.thumbnail })),
    element("span", { className: "images-star", "data-mark": data.index }, "★"),
    element("span", { className: "images-name" }, data.id)) : "…";

  cells.MaggSign = ({ data, value }) => data ? element("span", {
    className: `images-sign images-sign-${value ? "right" : "wrong"}`, role: "img", title: data.word, "aria-label": data.word,
  }, value ? "✓" : "✕") : "";

  // A mark can be taken away here also when its image, or its run, is gone.
  cells.MaggUnmark = ({ data, value }) => element("button", {
    type: "button", className: "images-unmark", title: value, "aria-label": value,
    onClick: () => set("images-unmark", { data: { group: data.group, run: data.run, set: data.set, id: data.id, at: Date.now() } }),
  }, "✕");

  cells.MaggLink = ({ data }) => data.path ? element("a", { href: data.href }, data.id) : data.id;

  window.dash_clientside = Object.assign({}, window.dash_clientside, {
    magg_images: { collect, chosen, sorted, look, stars },
  });
})();
