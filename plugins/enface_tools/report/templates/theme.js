// Before anything is drawn: the colours that were chosen last.
"use strict";
try {
  const chosen = localStorage.getItem("enface-theme");
  if (chosen === "light" || chosen === "dark") document.documentElement.dataset.theme = chosen;
} catch { /* A page without storage follows the system. */ }
