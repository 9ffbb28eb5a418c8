"use strict";
// The grids over training, under a slider.
(() => {
  const grids = enface.data("samples"), slider = document.getElementById("sample");
  if (!slider || !grids?.length) return;
  const image = document.getElementById("sample-grid"), said = document.getElementById("sample-step");
  function show() {
    const place = Number(slider.value), grid = grids[place];
    image.src = grid.file;
    image.alt = grid.alt;
    const text = `Step ${grid.step.toLocaleString("en")}`;
    said.textContent = `${text} · ${place + 1} of ${grids.length}`;
    slider.setAttribute("aria-valuetext", text);
    // The neighbours, so that the slider moves without a wait.
    [place - 1, place + 1].forEach((near) => { if (grids[near]) new Image().src = grids[near].file; });
  }
  slider.addEventListener("input", show);
  // A browser may keep a slider where it stood when the page was loaded again.
  show();
})();
