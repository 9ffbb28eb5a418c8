"use strict";
// The slider over the outputs of the fixed images.
(() => {
  const grids = enface.data("samples"), slider = document.getElementById("sample");
  if (!slider || !grids?.length) return;
  const tiles = [...document.querySelectorAll("[data-sample]")], caption = document.getElementById("sample-step");
  function show() {
    const place = Number(slider.value), grid = grids[place];
    tiles.forEach((tile) => { tile.style.backgroundImage = `url("${grid.file}")`; });
    const text = `Step ${grid.step.toLocaleString("en")}`;
    caption.textContent = `${text} · ${place + 1} of ${grids.length}`;
    slider.setAttribute("aria-valuetext", text);
    // Preload the neighbours.
    [place - 1, place + 1].forEach((near) => { if (grids[near]) new Image().src = grids[near].file; });
  }
  slider.addEventListener("input", show);
  // A browser may restore the slider's position when the page is reloaded.
  if (Number(slider.value) !== grids.length - 1) show();
  else caption.textContent = `Step ${grids.at(-1).step.toLocaleString("en")} · ${grids.length} of ${grids.length}`;
})();
