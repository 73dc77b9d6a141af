// Two datasets side by side: counts, schema, the distribution of each column, and rows by a key.

import { ApiError, get } from "./api.js";
import { cell, count, element, number, say } from "./dom.js";

export function show(place, context) {
  const [current, base] = context.datasets;
  let request = null;
  const problem = element("p", { class: "problem", role: "alert" });
  const names = Object.keys(current.tables.data.columns).filter((name) => name in (base?.tables.data.columns ?? {}));
  const key = element("select", { id: "key", onchange: load },
    element("option", { value: "" }, "none: compare no rows"), names.map((name) => element("option", { value: name, selected: name === context.query.get("key") }, name)));
  const body = element("div", { "aria-busy": "true" }, element("p", { class: "muted" }, "Comparing…"));
  place.append(
    element("h2", { class: "report-title" }, `${current.title} compared with ${base?.title ?? "nothing"}`),
    element("form", { class: "controls" }, element("div", {}, element("label", { for: "key" }, "Match rows by"), key)), problem, body);

  async function load() {
    request?.abort();
    const { signal } = (request = new AbortController());
    history.replaceState(null, "", `#/compare${key.value ? `?${new URLSearchParams({ key: key.value })}` : ""}`);
    body.classList.add("busy");
    try {
      const diff = await get("diff", { key: key.value }, signal);
      problem.textContent = "";
      body.replaceChildren(...parts(diff));
      say("The comparison is complete.");
    } catch (error) {
      if (error.name === "AbortError") return;
      problem.textContent = error instanceof ApiError ? error.message : "The server does not answer.";
      body.replaceChildren();
    } finally {
      if (!signal.aborted) body.classList.remove("busy");
      body.removeAttribute("aria-busy");
    }
  }

  load();
  return { close: () => request?.abort(), update: load };
}

function parts(diff) {
  const found = [cards(diff)];
  found.push(element("h2", { class: "section" }, "Schema"));
  found.push(diff.schema_changes.length
    ? table(["Column", "Base", "Current"], diff.schema_changes.map((change) => [change.column, change.base ?? "–", change.current ?? "–"]))
    : element("p", { class: "muted" }, "Both have the same columns and types."));
  if (diff.keyed) found.push(...keyed(diff.keyed));
  if (diff.columns.length) found.push(element("h2", { class: "section" }, "Columns, the most different first"), columns(diff.columns));
  return found;
}

function card(title, value, note) {
  return element("div", { class: "card" }, element("div", { class: "muted" }, title), element("div", { class: "figure" }, value), element("div", { class: "muted" }, note));
}

const change = (base, current) => (base === current ? "as in the base" : `${number(base)} in the base (${current > base ? "+" : ""}${number(current - base)})`);

const fromTo = (base, current) => (base === null && current === null ? "–" : `${number(base)} → ${number(current)}`);

function cards(diff) {
  return element("div", { class: "cards" },
    card("Rows", number(diff.current_rows), change(diff.base_rows, diff.current_rows)),
    card("Rejected", number(diff.current_rejected), change(diff.base_rejected, diff.current_rejected)),
    card("Schema changes", number(diff.schema_changes.length), `${count(diff.columns.length, "column")} in both`));
}

function table(heads, rows, caption = null) {
  return element("div", { class: "grid-scroll", tabindex: "0", role: "region", "aria-label": caption ?? heads.join(", ") }, element("table", { class: "grid" },
    caption && element("caption", {}, caption),
    element("thead", {}, element("tr", {}, heads.map((head) => element("th", { scope: "col" }, head)))),
    element("tbody", {}, rows.map((row) => element("tr", {}, row.map((value) => value instanceof Node ? value : cell(value, "VARCHAR")))))));
}

function keyed(found) {
  const cells = [["Added", found.added, "added"], ["Removed", found.removed, "removed"], ["Changed", found.changed, "changed"]];
  const made = [element("h2", { class: "section" }, `Rows by ${found.key.join(", ")}`),
    element("div", { class: "cards" }, cells.map(([title, value, kind]) =>
      element("div", { class: "card" }, element("div", { class: "muted" }, title), element("div", { class: `figure ${kind}` }, number(value)))))];
  const changed = Object.entries(found.changed_by_column);
  if (changed.length) made.push(table(["Column", "Rows changed"], changed.map(([name, rows]) => [name, number(rows)])));
  if (found.sample.length) {
    const heads = Object.keys(found.sample[0]);
    made.push(element("h2", { class: "section" }, "Some of them"), table(heads, found.sample.map((row) => heads.map((head) => row[head]))));
  }
  return made;
}

function columns(list) {
  const sorted = [...list].sort((one, other) => (other.distance ?? -1) - (one.distance ?? -1));
  const share = (profile) => (profile.rows ? `${((profile.missing / profile.rows) * 100).toFixed(1)} %` : "–");
  return table(["Column", "Distance", "Missing", "Distinct, about", "Mean", "Distribution"], sorted.map((column) => [
    element("th", { scope: "row" }, column.column, element("span", { class: "type" }, column.kind)),
    column.distance === null ? "–" : column.distance.toFixed(3),
    `${share(column.base)} → ${share(column.current)}`,
    fromTo(column.base.distinct, column.current.distinct),
    fromTo(column.base.mean, column.current.mean),
    element("td", {}, column.distribution.length ? overlay(column) : "–"),
  ]), "The distance is 0 where two distributions are alike and 1 where they have nothing in common. In a distribution, the upper bar is the base.");
}

// Shares of both datasets in each range or value, one bar over the other.
function overlay(column) {
  const totals = { base: 0, current: 0 };
  for (const each of column.distribution) for (const side of Object.keys(totals)) totals[side] += each[side] ?? 0;
  const portion = (each, side) => (totals[side] ? (each[side] ?? 0) / totals[side] : 0);
  const most = Math.max(...column.distribution.flatMap((each) => [portion(each, "base"), portion(each, "current")]), 1e-9);
  const label = (each) => ("label" in each ? each.label ?? "missing" : each.low === null ? "missing" : `${number(each.low)} to ${number(each.high)}`);
  const rows = column.distribution.map((each) => element("tr", {},
    element("td", {}, String(label(each))),
    element("td", {}, ["base", "current"].map((side) => {
      const bar = element("span", { class: `share ${side}`, title: `${side}: ${number(each[side] ?? 0)}` });
      bar.style.width = `${(portion(each, side) / most) * 140}px`;
      return element("div", { class: "pair" }, bar, element("span", { class: "visually-hidden" }, `${side} ${number(each[side] ?? 0)} rows`));
    }))));
  return element("details", { class: "long" }, element("summary", {}, "show"), element("table", { class: "top" }, element("tbody", {}, rows)));
}
