"use strict";
// The slider over the sample grids.
(() => {
  const grids = enface.data("samples"), slider = document.getElementById("sample");
  if (!slider || !grids?.length) return;
  const image = document.getElementById("sample-grid"), caption = document.getElementById("sample-step");
  function show() {
    const place = Number(slider.value), grid = grids[place];
    image.src = grid.file;
    image.alt = grid.alt;
    const text = `Step ${grid.step.toLocaleString("en")}`;
    caption.textContent = `${text} · ${place + 1} of ${grids.length}`;
    slider.setAttribute("aria-valuetext", text);
    // Preload the neighbours.
    [place - 1, place + 1].forEach((near) => { if (grids[near]) new Image().src = grids[near].file; });
  }
  slider.addEventListener("input", show);
  // A browser may restore the slider's position when the page is reloaded.
  show();
})();
