"use strict";
// Shared by all scripts: the page's data, creation of elements, light and dark colours, and reloading.
const enface = {
  data(name) {
    const element = document.getElementById(`data-${name}`);
    return element ? JSON.parse(element.textContent) : null;
  },
  // Children are text or elements, so data is never interpreted as markup.
  make(tag, attributes = {}, ...children) {
    const element = document.createElement(tag);
    for (const [name, value] of Object.entries(attributes)) {
      if (name === "class") element.className = value;
      else if (value !== false && value !== null) element.setAttribute(name, value === true ? "" : value);
    }
    element.append(...children);
    return element;
  },
  // A number with the decimals of its metric; three significant digits without.
  number(value, places) {
    if (value === null || value === undefined || Number.isNaN(value)) return "–";
    const size = Math.abs(value);
    const text = value.toFixed(places ?? (size === 0 ? 3 : Math.min(Math.max(2 - Math.floor(Math.log10(size)), 0), 8)));
    return Number(text) === 0 ? text.replace("-", "") : text.replace("-", "−");
  },
  // Higher is better.
  score(metric, value) {
    if (metric.ideal !== null) return -Math.abs(value - metric.ideal);
    return metric.higher ? value : -value;
  },
  store: {
    get(name) { try { return sessionStorage.getItem(name); } catch { return null; } },
    set(name, value) { try { sessionStorage.setItem(name, value); } catch { /* Not stored. */ } },
  },
  // Counts the columns beyond the right edge of a scrolling table.
  cue(box) {
    const cue = box.previousElementSibling, edge = box.getBoundingClientRect().right;
    const heads = [...(box.querySelector("tr")?.cells ?? [])];
    const hidden = heads.filter((head) => head.getBoundingClientRect().right > edge + 4).length;
    const more = box.scrollWidth - box.clientWidth > 4 && hidden > 0;
    cue.hidden = box.scrollWidth - box.clientWidth <= 4;
    cue.textContent = more ? `scroll for ${hidden} more column${hidden > 1 ? "s" : ""} →` : "← scrolled to the end";
    box.classList.toggle("more", more);
  },
  color(name) { return getComputedStyle(document.documentElement).getPropertyValue(name).trim(); },
};

(() => {
  const root = document.documentElement;
  const button = document.getElementById("theme");
  const system = matchMedia("(prefers-color-scheme: dark)");
  const isDark = () => root.dataset.theme ? root.dataset.theme === "dark" : system.matches;
  const changed = () => {
    button.textContent = isDark() ? "Light" : "Dark";
    button.setAttribute("aria-label", `Switch to ${isDark() ? "light" : "dark"} colours`);
    document.dispatchEvent(new Event("theme"));
  };
  button.hidden = false;
  button.addEventListener("click", () => {
    root.dataset.theme = isDark() ? "light" : "dark";
    try { localStorage.setItem("enface-theme", root.dataset.theme); } catch { /* Not stored. */ }
    changed();
  });
  system.addEventListener("change", changed);
  changed();
})();

// Tables that are wider than the screen say so: a phone shows no scroll bar.
(() => {
  const watch = new ResizeObserver((entries) => entries.forEach((entry) => enface.cue(entry.target.closest(".scroll"))));
  document.querySelectorAll(".scroll").forEach((box) => {
    const cue = enface.make("p", { class: "cue", "aria-hidden": "true", hidden: true });
    box.before(cue);
    watch.observe(box);
    if (box.firstElementChild) watch.observe(box.firstElementChild);
    box.addEventListener("scroll", () => enface.cue(box), { passive: true });
  });
})();

// The page of a training run reloads, and keeps the scroll position and the open details.
(() => {
  const seconds = Number(document.body.dataset.refresh);
  const name = `enface-${location.pathname}`;
  if (!seconds) return;
  const kept = JSON.parse(enface.store.get(name) || "{}");
  document.querySelectorAll("details").forEach((item, place) => { if (kept.open?.includes(place)) item.open = true; });
  if (kept.y) requestAnimationFrame(() => scrollTo(0, kept.y));
  setInterval(() => {
    const busy = document.querySelector("dialog[open]") || document.activeElement?.matches("input, select");
    if (busy || document.hidden) return;
    const open = [...document.querySelectorAll("details")].flatMap((item, place) => item.open ? [place] : []);
    enface.store.set(name, JSON.stringify({ y: scrollY, open }));
    location.reload();
  }, seconds * 1000);
})();
