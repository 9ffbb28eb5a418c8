"use strict";
// Draws each plot when it comes into view; plots over steps zoom together.
(() => {
  const specs = enface.data("plots") || {};
  const places = [...document.querySelectorAll("[data-plot]")].filter((place) => specs[place.dataset.plot]);
  if (!places.length) return;
  const dashes = { first: "solid", second: "dash", third: "dot", fourth: "dashdot" };
  const coarse = matchMedia("(pointer: coarse)").matches;
  const drawn = new Set();
  let range = null;
  const from = document.getElementById("step-from"), to = document.getElementById("step-to");
  const all = [0, Math.max(Number(to?.max) || 0, 1)];

  // Plotly interprets some tags in texts; names must be shown verbatim.
  const shown = (text) => String(text).replaceAll("&", "&amp;").replaceAll("<", "&lt;").replaceAll(">", "&gt;");

  function traces(spec) {
    return spec.panels.flatMap((panel, row) => panel.traces.map((trace) => {
      const color = enface.color(`--${trace.role}`);
      const few = trace.x.length < 24, none = (index) => (trace.y[index] ?? null) === null;
      // A line through one point is invisible.
      const alone = trace.y.map((_, index) => !none(index) && none(index - 1) && none(index + 1));
      return {
        type: "scatter", mode: few || alone.includes(true) ? "lines+markers" : "lines", name: shown(trace.name), x: trace.x, y: trace.y,
        yaxis: row ? `y${row + 1}` : "y", connectgaps: false,
        line: { color, width: 1.6, dash: trace.dashes || dashes[trace.role] }, marker: { color, size: few ? 5 : alone.map((one) => (one ? 5 : 0)) },
        hovertemplate: `%{y:.5g}<extra>${shown(trace.name)}</extra>`,
      };
    }));
  }

  function layout(spec) {
    const muted = enface.color("--muted"), rule = enface.color("--rule"), count = spec.panels.length;
    const axis = { color: muted, gridcolor: rule, zeroline: false, linecolor: rule, automargin: true };
    const settings = {
      height: 130 + 110 * count, margin: { l: 8, r: 12, t: 20, b: 8 }, paper_bgcolor: "transparent",
      plot_bgcolor: "transparent", hovermode: "x unified", dragmode: coarse ? false : "zoom",
      font: { family: "system-ui, sans-serif", size: 12, color: muted },
      showlegend: spec.panels.some((panel) => panel.traces.length > 1 || panel.traces.some((trace) => trace.dashes)),
      legend: { orientation: "h", x: 0, y: -0.28, font: { color: enface.color("--ink") } },
      hoverlabel: { bgcolor: enface.color("--raised"), font: { color: enface.color("--ink") } },
      xaxis: { ...axis, title: { text: shown(spec.x), standoff: 6 }, showgrid: false, ticks: "outside", tickcolor: rule,
        nticks: 6, anchor: count > 1 ? `y${count}` : "y", ...(spec.linked ? { range: [...(range || all)] } : { autorange: true }) },
      shapes: spec.marks.filter(([x]) => x > 0).map(([x]) => ({
        type: "line", xref: "x", yref: "paper", x0: x, x1: x, y0: 0, y1: 1, line: { color: muted, width: 1, dash: "dot" } })),
      annotations: spec.marks.map(([x, text]) => ({
        xref: "x", yref: "paper", x, y: 1, xanchor: "left", yanchor: "bottom", showarrow: false,
        text: shown(text.length > 18 ? `${text.slice(0, 17)}…` : text), font: { size: 10, color: muted } })),
    };
    spec.panels.forEach((panel, row) => {
      const height = (1 - 0.12 * (count - 1)) / count, top = 1 - row * (height + 0.12);
      settings[row ? `yaxis${row + 1}` : "yaxis"] = {
        ...axis, domain: [Math.max(top - height, 0), top], nticks: 5, fixedrange: spec.linked,
        type: panel.log ? "log" : "linear", rangemode: panel.zero ? "tozero" : "normal",
        title: { text: shown(panel.label), standoff: 4 }, tickformat: "~g",
      };
    });
    return settings;
  }

  function draw(place) {
    const spec = specs[place.dataset.plot];
    const settings = { responsive: true, displaylogo: false, displayModeBar: false };
    Plotly.react(place, traces(spec), layout(spec), settings);
    if (drawn.has(place)) return;
    drawn.add(place);
    if (spec.linked) place.on("plotly_relayout", (change) => {
      if ("xaxis.range[0]" in change) zoom([change["xaxis.range[0]"], change["xaxis.range[1]"]]);
      else if (change["xaxis.range"]) zoom(change["xaxis.range"]);
      else if (change["xaxis.autorange"]) zoom(null, true);
    });
  }

  function zoom(wanted, redraw = false) {
    if (wanted && wanted[0] <= all[0] && wanted[1] >= all[1]) wanted = null;
    const same = wanted === range || (wanted && range && wanted[0] === range[0] && wanted[1] === range[1]);
    if (same && !redraw) return;
    range = wanted && [...wanted];
    drawn.forEach((place) => {
      if (!specs[place.dataset.plot].linked) return;
      const now = place.layout.xaxis;
      const [low, high] = range || all;
      if (now.range[0] !== low || now.range[1] !== high) Plotly.relayout(place, { "xaxis.range": [low, high] });
    });
    if (from) {
      from.value = range ? Math.round(range[0]) : "";
      to.value = range ? Math.round(range[1]) : "";
      document.getElementById("all-steps").disabled = !range;
    }
  }
  if (from) {
    const typed = () => {
      const wanted = [from.value === "" ? 0 : Number(from.value), to.value === "" ? all[1] : Number(to.value)];
      if (wanted[0] < wanted[1]) zoom(wanted);
    };
    from.addEventListener("change", typed);
    to.addEventListener("change", typed);
    document.getElementById("all-steps").addEventListener("click", () => zoom(null));
  }

  // The library is large: it is loaded when the first plot is about to come into view.
  let library = null;
  function load() {
    library ??= new Promise((done, failed) => {
      // Called by the file, which holds the library compressed.
      enface.unpack = (text) => unpacked(text).then((url) => run(url).then(done, failed), failed);
      run(document.body.dataset.plotly).catch(failed);
    });
    return library;
  }
  function run(src) {
    return new Promise((done, failed) => {
      const script = enface.make("script", { src });
      script.addEventListener("load", done);
      script.addEventListener("error", failed);
      document.head.append(script);
    });
  }
  async function unpacked(text) {
    const bytes = Uint8Array.from(atob(text), (sign) => sign.charCodeAt(0));
    const stream = new Blob([bytes]).stream().pipeThrough(new DecompressionStream("gzip"));
    return URL.createObjectURL(await new Response(stream).blob());
  }
  function missing() {
    document.querySelectorAll("[data-no-plots]").forEach((item) => { item.hidden = false; });
    places.forEach((place) => { place.hidden = true; });
  }
  const seen = new IntersectionObserver((entries) => entries.forEach((entry) => {
    if (entry.isIntersecting && !drawn.has(entry.target)) load().then(() => draw(entry.target), missing);
  }), { rootMargin: "600px" });
  places.forEach((place) => seen.observe(place));
  document.addEventListener("theme", () => drawn.forEach(draw));
})();
