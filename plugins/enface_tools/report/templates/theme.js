// Applies the stored colour scheme before anything is drawn.
"use strict";
try {
  const chosen = localStorage.getItem("enface-theme");
  if (chosen === "light" || chosen === "dark") document.documentElement.dataset.theme = chosen;
} catch { /* Without storage the page follows the system. */ }
