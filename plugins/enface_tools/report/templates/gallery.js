"use strict";
// The gallery: sorts, filters and searches all images, and shows a few at a time.
(() => {
  const data = enface.data("gallery"), list = document.getElementById("faces");
  if (!data || !list) return;
  const AT_ONCE = innerWidth < 640 ? 12 : 24;
  const sort = document.getElementById("sort"), first = document.getElementById("order"), search = document.getElementById("search");
  const chosen = document.getElementById("filters"), count = document.getElementById("count"), more = document.getElementById("more");
  const people = document.getElementById("people"), everyone = document.getElementById("everyone");
  const metrics = data.metrics;
  // The images of a person other than the one shown; the person whose images alone are shown.
  let order = [], shown = 0, others = new Map(), person = null;

  const row = (sheet, item) => data.rows[sheet] ? data.rows[sheet][item] : item;

  // A tile shows its part of a sprite, or a text if there is no picture.
  function tile(part, item, large = false) {
    const sheet = data.sheets[part.sheet], place = row(part.sheet, item);
    const whole = large ? sheet.large[place] : undefined;
    const number = place === null ? -1 : Math.floor(place / sheet.rows);
    const file = whole || sheet.files[part.tile][number];
    // A sprite has the tiles of one role below each other, a large picture the roles of one image side by side.
    const columns = whole ? sheet.files.length : 1;
    const lines = whole ? 1 : Math.min(sheet.rows, sheet.images - number * sheet.rows);
    if (!file) return enface.make("span", { class: "tile none" }, "no picture");
    const element = enface.make("span", { class: "tile" });
    const x = columns > 1 ? (100 * part.tile) / (columns - 1) : 0;
    const y = lines > 1 ? (100 * (place % sheet.rows)) / (lines - 1) : 0;
    element.style.backgroundImage = `url("${file}")`;
    element.style.backgroundSize = `${100 * columns}% ${100 * lines}%`;
    element.style.backgroundPosition = `${x}% ${whole ? 0 : y}%`;
    return element;
  }

  function card(item) {
    const metric = metrics[sort.value];
    const number = metric ? `${metric.name} ${enface.number(metric.values[item], metric.places)}` : "";
    const labels = data.labels.map((label) => `${label.name} ${label.values[item]}`).join(", ");
    const names = data.tiles.map((part) => part.name).join(", ");
    const about = [`Image ${data.keys[item]}`, names, labels, number].filter(Boolean).join("; ");
    const button = enface.make("button", { type: "button", class: "card", "aria-label": about },
      enface.make("span", { class: "tiles" }, ...data.tiles.map((part) => tile(part, item))),
      enface.make("span", { class: "key" }, data.keys[item]), enface.make("span", { class: "number" }, number));
    button.addEventListener("click", () => enface.gallery.open(item));
    const more = others.get(item);
    if (!more) return enface.make("li", {}, button);
    const who = data.identities[item];
    const rest = enface.make("button", { type: "button", class: "plain others" }, `${more.toLocaleString("en")} more of ${who}`);
    rest.addEventListener("click", () => {
      person = who;
      update();
      list.querySelector("button")?.focus();
    });
    return enface.make("li", {}, button, rest);
  }

  // The first image of every person; counts the others.
  function perPerson(items) {
    const firsts = new Map();
    others = new Map();
    for (const item of items) {
      const who = data.identities[item];
      if (firsts.has(who)) others.set(firsts.get(who), (others.get(firsts.get(who)) || 0) + 1);
      else firsts.set(who, item);
    }
    return [...firsts.values()];
  }

  function render() {
    // Doubles the number shown, so that a thousand images take a few clicks.
    const next = order.slice(shown, shown + Math.max(AT_ONCE, shown));
    list.append(...next.map(card));
    shown += next.length;
    more.hidden = shown >= order.length;
    more.textContent = `Show more (${(order.length - shown).toLocaleString("en")} left)`;
  }

  function update() {
    const text = search.value.trim().toLowerCase(), filters = [...chosen.querySelectorAll("select")];
    const wanted = filters.filter((filter) => filter.value !== "").map((filter) => [data.labels[filter.dataset.label], filter]);
    order = data.keys.map((_, item) => item).filter((item) => {
      const names = [data.keys[item], data.identities[item], data.targets[item]];
      return (person === null || data.identities[item] === person) && wanted.every(([label, filter]) => label.values[item] === label.choices[filter.value])
        && (!text || names.some((name) => name !== undefined && name.toLowerCase().includes(text)));
    });
    const metric = metrics[sort.value];
    if (metric) {
      const sign = first.value === "worst" ? 1 : -1;
      const scores = metric.values.map((value) => value === null ? null : sign * enface.score(metric, value));
      // Images without this number come last in both orders.
      order.sort((a, b) => (scores[a] === null) - (scores[b] === null) || scores[a] - scores[b] || a - b);
    }
    first.disabled = !metric;
    list.replaceChildren();
    shown = 0;
    const all = data.keys.length.toLocaleString("en");
    count.textContent = order.length === data.keys.length ? `${all} images` : `${order.length.toLocaleString("en")} of ${all} images`;
    // A ranking would show the images of the worst person only.
    others = new Map();
    if (metric && grouped && person === null && people.value === "one") {
      order = perPerson(order);
      count.textContent += ` · the ${first.value} of each of ${order.length.toLocaleString("en")} people`;
    }
    if (person !== null) count.textContent += ` · ${person}`;
    everyone.hidden = person === null;
    render();
  }

  data.labels.forEach((label, place) => {
    if (!label.choices.length) return;
    const options = label.choices.map((value, number) => enface.make("option", { value: number }, value || "(none)"));
    chosen.append(enface.make("label", {}, label.name,
      enface.make("select", { "data-label": place }, enface.make("option", { value: "" }, "all"), ...options)));
  });
  metrics.forEach((metric, place) => sort.append(enface.make("option", { value: place }, `${metric.name} ${metric.arrow}`)));
  if (metrics.length) sort.value = String(Math.max(data.sort ?? 0, 0));
  const grouped = new Set(data.identities).size < data.identities.length;
  document.getElementById("per").hidden = !grouped;
  [sort, first, people].forEach((item) => item.addEventListener("change", update));
  everyone.addEventListener("click", () => {
    person = null;
    update();
    count.scrollIntoView({ block: "nearest" });
  });
  chosen.addEventListener("change", update);
  search.addEventListener("input", update);
  more.addEventListener("click", () => {
    const last = list.children.length;
    render();
    list.children[last]?.querySelector("button").focus();
  });

  enface.gallery = {
    data, tile,
    get order() { return order; },
    // The card of an image, created if necessary.
    card(item) {
      const place = order.indexOf(item);
      while (place >= shown && shown < order.length) render();
      return place < 0 ? null : list.children[place].querySelector("button");
    },
    open() { /* large.js */ },
  };
  update();
})();
