// The cutoff slider of a run: numbers from the counts at each cutoff, and the point on the curves.
(() => {
  const ROC = "run-roc";
  const PRECISION_RECALL = "run-precision-recall";
  const graph = (name) => document.getElementById(JSON.stringify({ figure: name, part: "figure" }))?.querySelector(".js-plotly-plot");

  // A figure is drawn a moment after the page, and at most once per frame: the latest wish counts.
  const wishes = new Map();
  function drawn(name, wish, act) {
    const key = `${name} ${wish}`;
    const waits = wishes.has(key);
    wishes.set(key, act);
    const attempt = (left) => {
      const found = graph(name);
      if (!found?._fullLayout && left) {
        setTimeout(attempt, 50, left - 1);
        return;
      }
      const latest = wishes.get(key);
      wishes.delete(key);
      if (found?._fullLayout) latest(found);
    };
    if (!waits) requestAnimationFrame(() => attempt(200));
  }

  // Plotly draws a whole figure anew for one point: while it moves only its mark is moved, then the figure follows.
  const settling = new Map();
  const movePoint = (name, x, y) =>
    drawn(name, "point", (found) => {
      const shown = Number.isFinite(x) && Number.isFinite(y);
      const settle = () => found.isConnected && window.Plotly.restyle(found, { x: [shown ? [x] : []], y: [shown ? [y] : []] }, [found.data.length - 1]);
      const mark = [...found.querySelectorAll(".scatterlayer .trace")].pop()?.querySelector(".point");
      clearTimeout(settling.get(name));
      if (!shown || !mark) {
        settle();
        return;
      }
      const { xaxis, yaxis } = found._fullLayout;
      mark.setAttribute("transform", `translate(${xaxis.c2p(x)},${yaxis.c2p(y)})`);
      settling.set(name, setTimeout(settle, 150));
    });

  // The slider's steps are rounded decimals, the stored cutoff lies between them: the nearest is the one that is meant.
  function placeOf(cutoffs, value) {
    let best = 0;
    cutoffs.forEach((cutoff, k) => {
      if (Math.abs(cutoff - value) < Math.abs(cutoffs[best] - value)) best = k;
    });
    return best;
  }

  function measures(table, k, prevalence) {
    const { positives, negatives } = table;
    const tp = table.tp[k], fp = table.fp[k];
    const fn = positives - tp, tn = negatives - fp;
    const ratio = (part, whole) => (whole > 0 ? part / whole : NaN);
    const sensitivity = ratio(tp, positives), specificity = ratio(tn, negatives);
    let precision = ratio(tp, tp + fp), npv = ratio(tn, fn + tn);
    if (prevalence !== null) {
      const p = prevalence / 100;
      precision = ratio(sensitivity * p, sensitivity * p + (1 - specificity) * (1 - p));
      npv = ratio(specificity * (1 - p), specificity * (1 - p) + (1 - sensitivity) * p);
    }
    const accuracy = ratio(tp + tn, positives + negatives);
    return { tp, fn, fp, tn, sensitivity, specificity, precision, npv, accuracy, balanced_accuracy: (sensitivity + specificity) / 2 };
  }

  const text = (value) => (Number.isFinite(value) ? value.toFixed(3) : "–");

  let waiting = null;
  function keepLater(cutoff, prevalence) {
    clearTimeout(waiting); // browsers refuse many changes of the address at a time
    const path = window.location.pathname;
    waiting = setTimeout(() => {
      if (window.location.pathname === path) window.dash_clientside.magg.keep(["cutoff", "prevalence"], [cutoff, prevalence]);
    }, 250);
  }

  document.addEventListener("click", (event) => {
    const button = event.target.closest?.("[data-copies]");
    const source = button && document.getElementById(button.dataset.copies);
    if (!source) return;
    const range = document.createRange();
    range.selectNodeContents(source);
    window.getSelection().removeAllRanges();
    window.getSelection().addRange(range);
    const done = () => button.setAttribute("data-copied", "true");
    // Without HTTPS and beyond this machine a browser has no clipboard to write into but the selection's.
    if (navigator.clipboard) navigator.clipboard.writeText(source.textContent).then(done, () => document.execCommand("copy") && done());
    else if (document.execCommand("copy")) done();
  });

  window.dash_clientside = Object.assign({}, window.dash_clientside, {
    magg_run: {
      cutoff(value, given, table) {
        const k = placeOf(table.cutoffs, value);
        const cutoff = table.cutoffs[k];
        const prevalence = typeof given === "number" && Number.isFinite(given) ? given : null;
        const found = measures(table, k, prevalence);
        const { tp, fn, fp, tn } = found;
        movePoint(ROC, fp / table.negatives, tp / table.positives);
        movePoint(PRECISION_RECALL, tp / table.positives, tp / (tp + fp));
        const atStored = table.stored !== null && cutoff === table.stored;
        keepLater(atStored ? null : cutoff, prevalence);
        const undefinedWords = [tp + fp ? "" : table.words.none, fn + tn ? "" : table.words.noneNegative].filter(Boolean);
        const kind = [atStored ? table.words.stored : table.words.other, ...undefinedWords].join(" · ");
        const names = ["sensitivity", "specificity", "precision", "npv", "accuracy", "balanced_accuracy"];
        return [
          cutoff.toFixed(3), kind, `run-kind ${atStored ? "run-kind-stored" : "run-kind-other"}`,
          ...names.map((name) => text(found[name])), tp, fn, fp, tn, { cutoff: atStored ? null : cutoff, prevalence },
        ];
      },
      back: (_, table) => table.stored,
      band(band) {
        if (band?.x?.length) {
          drawn(ROC, "band", (found) => window.Plotly.restyle(found, { x: [band.x, band.x], y: [band.low, band.high] }, [0, 1]));
        }
        return window.dash_clientside.no_update;
      },
    },
  });
})();
