// The profile: what the values of each column are like, and the most frequent ones on demand.

import { ApiError, get } from "./api.js";
import { cell, element, number, say } from "./dom.js";

export function show(place, context) {
  const request = new AbortController();
  const body = element("tbody");
  const problem = element("p", { class: "problem", role: "alert" });
  const table = element("table", { class: "grid" },
    element("caption", {}, "Values of each column. Open a column to see its most frequent values."),
    element("thead", {}, element("tr", {}, ["Column", "Missing", "Distinct, about", "Range", "Middle"].map((text, at) =>
      element("th", { scope: "col", class: at === 1 || at === 2 ? "number" : false }, text)))), body);
  const grid = element("div", { class: "grid-scroll busy", tabindex: "0", role: "region", "aria-label": "Columns" }, table);
  place.append(element("h2", { class: "visually-hidden" }, "Columns"), problem, grid);

  async function load() {
    try {
      const profile = await get("profile", {}, request.signal);
      problem.textContent = "";
      body.replaceChildren(...profile.columns.map(row));
      if (!profile.columns.length) body.replaceChildren(element("tr", {}, element("td", { colspan: 5 }, "There are no rows yet.")));
      say(`Profile of ${profile.columns.length} columns.`);
    } catch (error) {
      if (error.name !== "AbortError") problem.textContent = error instanceof ApiError ? error.message : "The server does not answer.";
    } finally {
      grid.classList.remove("busy");
    }
  }

  function row(column) {
    const share = column.rows ? column.nulls / column.rows : 0;
    const frequent = element("div", { class: "top" });
    const opener = element("details", { class: "long", ontoggle: (event) => event.target.open && fill(frequent, column) },
      element("summary", {}, element("strong", {}, column.name), " ", element("span", { class: "muted" }, column.type.toLowerCase())), frequent);
    return element("tr", {},
      element("th", { scope: "row" }, opener),
      element("td", { class: "number" }, column.nulls ? `${number(column.nulls)} (${(share * 100).toFixed(1)} %)` : "0"),
      element("td", { class: "number" }, number(column.distinct_about)),
      element("td", {}, range(column)),
      element("td", {}, middle(column)));
  }

  async function fill(frequent, column) {
    if (frequent.childElementCount) return;
    try {
      const { values } = await get("top", { column: column.name }, request.signal);
      const most = Math.max(...values.map(([, rows]) => rows), 1);
      const bars = values.map(([value, rows]) => {
        const bar = element("span", { class: "share" });
        bar.style.width = `${(rows / most) * 120}px`;
        return element("tr", {}, cell(value, "VARCHAR"), element("td", { class: "number" }, number(rows)), element("td", {}, bar));
      });
      frequent.replaceChildren(element("table", {}, element("caption", { class: "visually-hidden" }, `Most frequent values of ${column.name}`), element("tbody", {}, bars)));
    } catch (error) {
      if (error.name !== "AbortError") frequent.textContent = error.message;
    }
  }

  load();
  return { close: () => request.abort(), update: load };
}

function range(column) {
  if (column.kind === "text") return `${number(column.shortest)} to ${number(column.longest)} characters`;
  if (column.kind === "boolean") return `${number(column.true)} true`;
  return column.minimum === undefined || column.minimum === null ? "–" : `${column.minimum} to ${column.maximum}`;
}

function middle(column) {
  if (column.kind === "text") return `mean ${number(column.length_mean)} characters${column.empty ? `, ${number(column.empty)} empty` : ""}`;
  if (column.kind !== "number") return "–";
  const odd = column.not_finite ? `, ${number(column.not_finite)} not finite` : "";
  return `mean ${number(column.mean)}, median ${number(column.median)}, deviation ${number(column.deviation)}${odd}`;
}
