"use strict";
// Selecting a metric: shows only its tables within a group.
document.querySelectorAll("select[data-group]").forEach((select) => {
  const members = [...document.querySelectorAll("[data-in]")].filter((item) => item.dataset.in === select.dataset.group);
  const show = () => members.forEach((item) => { item.hidden = item.dataset.choice !== select.value; });
  select.addEventListener("change", show);
  show();
});

// Sorting a table by a click on a column's heading.
document.querySelectorAll("table[data-sortable]").forEach((table) => {
  const body = table.tBodies[0];
  const value = (row, place) => {
    const cell = row.cells[place];
    const text = cell.dataset.value ?? cell.textContent.trim();
    const number = Number(text.replace("−", "-").replaceAll(",", ""));
    return text === "" || Number.isNaN(number) ? text : number;
  };
  [...table.tHead.rows[0].cells].forEach((heading, place) => {
    const button = enface.make("button", { type: "button", class: "sort" }, ...heading.childNodes);
    heading.replaceChildren(button);
    button.addEventListener("click", () => {
      const up = heading.getAttribute("aria-sort") !== "ascending";
      [...table.tHead.rows[0].cells].forEach((cell) => cell.removeAttribute("aria-sort"));
      heading.setAttribute("aria-sort", up ? "ascending" : "descending");
      const rows = [...body.rows].sort((first, second) => {
        const [a, b] = [value(first, place), value(second, place)];
        const order = typeof a === "number" && typeof b === "number" ? a - b : String(a).localeCompare(String(b));
        return up ? order : -order;
      });
      body.append(...rows);
    });
  });
});
