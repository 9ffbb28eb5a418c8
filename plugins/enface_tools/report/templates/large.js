"use strict";
// The dialog of one image: two of its pictures under a slider, all of them side by side, and its numbers.
(() => {
  const gallery = enface.gallery, dialog = document.getElementById("large");
  if (!gallery || !dialog) return;
  const { data, tile } = gallery, part = (name) => dialog.querySelector(`[data-part="${name}"]`);
  const slider = part("slider"), stage = part("stage"), title = part("title");
  let item = 0, pair = 0;

  function labelled(name, value) {
    return [enface.make("dt", {}, name), enface.make("dd", {}, value || "–")];
  }

  function fill() {
    const place = gallery.order.indexOf(item);
    title.textContent = data.keys[item];
    part("place").textContent = place < 0 ? "" : `${place + 1} of ${gallery.order.length}`;
    part("before").disabled = place <= 0;
    part("next").disabled = place < 0 || place >= gallery.order.length - 1;
    const about = [["identity", data.identities[item]], ["target", data.targets[item]]].filter(([, value]) => value !== undefined);
    part("labels").replaceChildren(...about.flatMap((one) => labelled(...one)),
      ...data.labels.flatMap((label) => labelled(label.name, label.values[item])));
    part("strip").replaceChildren(...data.tiles.map((one) => enface.make("figure", {},
      pictured(one), enface.make("figcaption", {}, one.name))));
    numbers();
    compare();
  }

  function pictured(one) {
    const picture = tile(one, item, true);
    picture.setAttribute("role", "img");
    picture.setAttribute("aria-label", `${one.name} of ${data.keys[item]}`);
    return picture;
  }

  function numbers() {
    const others = [...new Set(data.metrics.flatMap((metric) => Object.keys(metric.others)))];
    const head = ["Metric", data.numbers || "Output", ...others.map((name) => data.numbers ? name : name[0].toUpperCase() + name.slice(1))];
    const row = (metric) => enface.make("tr", {},
      enface.make("th", { scope: "row" }, `${metric.name} ${metric.arrow}`),
      enface.make("td", { class: "value" }, enface.number(metric.values[item], metric.places)),
      ...others.map((name) => enface.make("td", {}, enface.number(metric.others[name]?.[item], metric.places))));
    part("numbers").replaceChildren(
      enface.make("thead", {}, enface.make("tr", {}, ...head.map((text) => enface.make("th", { scope: "col" }, text)))),
      enface.make("tbody", {}, ...data.metrics.filter((metric) => metric.values[item] !== null).map(row)));
  }

  function compare() {
    const two = data.pairs[pair];
    part("compare").hidden = !two;
    if (!two) return;
    const [left, right] = two.map((place) => data.tiles[place]);
    stage.replaceChildren(pictured(right), pictured(left), enface.make("span", { class: "edge" }));
    stage.children[1].classList.add("over");
    part("left").textContent = left.name;
    part("right").textContent = right.name;
    slider.setAttribute("aria-label", `Boundary between ${left.name} and ${right.name}`);
    part("pairs").querySelectorAll("button").forEach((button, place) => button.setAttribute("aria-pressed", String(place === pair)));
    slide();
  }

  function slide() {
    stage.style.setProperty("--at", `${slider.value}%`);
    slider.setAttribute("aria-valuetext", `${slider.value} % ${part("left").textContent}`);
  }

  function move(by) {
    const next = gallery.order[gallery.order.indexOf(item) + by];
    if (next === undefined) return;
    item = next;
    fill();
  }

  data.pairs.forEach((two, place) => {
    const button = enface.make("button", { type: "button" }, two.map((one) => data.tiles[one].name).join(" | "));
    button.addEventListener("click", () => { pair = place; compare(); });
    part("pairs").append(button);
  });
  slider.addEventListener("input", slide);
  part("before").addEventListener("click", () => move(-1));
  part("next").addEventListener("click", () => move(1));
  part("close").addEventListener("click", () => dialog.close());
  dialog.addEventListener("click", (event) => { if (event.target === dialog) dialog.close(); });
  dialog.addEventListener("keydown", (event) => {
    if (event.target.matches("input, select") || event.altKey || event.ctrlKey || event.metaKey) return;
    if (event.key === "ArrowLeft") move(-1);
    else if (event.key === "ArrowRight") move(1);
    else return;
    event.preventDefault();
  });
  // Focus the image that was shown last.
  dialog.addEventListener("close", () => gallery.card(item)?.focus());
  let dragged = false;
  const at = (event) => {
    const box = stage.getBoundingClientRect();
    slider.value = String(Math.round((100 * (event.clientX - box.left)) / box.width));
    slide();
  };
  stage.addEventListener("pointerdown", (event) => { dragged = true; stage.setPointerCapture(event.pointerId); at(event); });
  stage.addEventListener("pointermove", (event) => { if (dragged) at(event); });
  ["pointerup", "pointercancel"].forEach((name) => stage.addEventListener(name, () => { dragged = false; }));

  gallery.open = (wanted) => {
    item = wanted;
    fill();
    dialog.showModal();
    title.focus();
  };
  document.querySelectorAll("[data-open]").forEach((button) => button.addEventListener("click", () => gallery.open(Number(button.dataset.open))));
})();
