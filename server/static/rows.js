// A page of rows: filter, sort, page, download. The address keeps all of it, so a link shows the same rows.

import { ApiError, address, get } from "./api.js";
import { cell, count, element, isNumeric, number, say } from "./dom.js";

const PAGE = 50;
const NAMES = { data: "Rows", rejects: "Rejected rows", traces: "Traces" };

export function show(place, context) {
  const view = {
    table: context.name in NAMES ? context.name : "data",
    dataset: context.query.get("dataset") === "base" && context.datasets[1] ? "base" : "current",
    filter: context.query.get("filter") ?? "",
    sort: context.query.get("sort") ?? "",
    offset: Number(context.query.get("offset")) || 0,
    total: null,
    request: null,
  };
  const problem = element("p", { class: "problem", role: "alert", id: "filter-problem" });
  const filter = element("input", {
    id: "filter", type: "text", value: view.filter, spellcheck: "false", autocapitalize: "off", autocomplete: "off",
    placeholder: "age >= 30 and city in ('Oslo', 'Rome')", "aria-describedby": "filter-problem",
  });
  const form = element("form", { class: "controls" },
    element("div", { class: "wide" }, element("label", { for: "filter" }, "Filter"), filter),
    element("button", { type: "submit", class: "primary" }, "Apply"),
    downloads(),
    context.datasets[1] && picker(),
  );
  const grid = element("div", { class: "grid-scroll", tabindex: "0", role: "region", "aria-label": NAMES[view.table] });
  const where = element("span", { class: "muted", id: "where" });
  const back = element("button", { type: "button", onclick: () => turn(-PAGE) }, "Previous");
  const on = element("button", { type: "button", onclick: () => turn(PAGE) }, "Next");
  place.append(element("h2", { class: "visually-hidden" }, NAMES[view.table]), form, problem, grid, element("div", { class: "pager" }, back, on, where));
  form.addEventListener("submit", (event) => {
    event.preventDefault();
    Object.assign(view, { filter: filter.value, offset: 0, total: null });
    load();
  });

  function downloads() {
    return element("div", {}, element("span", { class: "muted" }, "Download"), element("fieldset", {},
      ["csv", "parquet", "jsonl"].map((format) => element("a", {
        class: "button", href: "#", download: true, "data-format": format,
        onclick: (event) => { event.currentTarget.href = address("download", { ...selection(), format }); },
      }, format.toUpperCase()))));
  }

  function picker() {
    const options = [["current", context.datasets[0].title], ["base", context.datasets[1].title]];
    return element("div", {}, element("label", { for: "dataset" }, "Dataset"), element("select", {
      id: "dataset", onchange: (event) => { Object.assign(view, { dataset: event.target.value, offset: 0, total: null }); load(); },
    }, options.map(([value, text]) => element("option", { value, selected: value === view.dataset }, `${value}: ${text}`))));
  }

  const selection = () => ({
    table: view.table === "data" ? "" : view.table, dataset: view.dataset === "current" ? "" : "base", filter: view.filter, sort: view.sort,
  });

  function turn(by) {
    view.offset = Math.max(0, view.offset + by);
    load();
  }

  function sortBy(name) {
    view.sort = view.sort === name ? `-${name}` : view.sort === `-${name}` ? "" : name;
    view.offset = 0;
    load();
  }

  async function load() {
    view.request?.abort();
    const { signal } = (view.request = new AbortController());
    const query = new URLSearchParams();
    for (const [key, value] of Object.entries({ dataset: view.dataset === "base" ? "base" : "", filter: view.filter, sort: view.sort, offset: view.offset || "" })) if (value !== "") query.set(key, value);
    history.replaceState(null, "", `#/rows/${view.table}${query.size ? `?${query}` : ""}`);
    grid.classList.add("busy");
    try {
      const page = await get("rows", { ...selection(), offset: view.offset, limit: PAGE }, signal);
      problem.textContent = "";
      draw(page);
      view.total = page.total;
      tell(page);
      if (page.total === null) {
        view.total = (await get("count", selection(), signal)).rows;
        tell(page);
      }
    } catch (error) {
      if (error.name === "AbortError") return;
      problem.textContent = error instanceof ApiError ? error.message : "The server does not answer.";
    } finally {
      if (!signal.aborted) grid.classList.remove("busy");
    }
  }

  function tell(page) {
    const last = view.offset + page.rows.length;
    const of = view.total === null ? "" : ` of ${count(view.total, "row")}`;
    where.textContent = page.rows.length ? `${number(view.offset + 1)}–${number(last)}${of}` : "No rows.";
    back.disabled = view.offset === 0;
    on.disabled = view.total === null ? page.rows.length < PAGE : last >= view.total;
    say(where.textContent);
  }

  function draw(page) {
    const focused = document.activeElement?.dataset?.column;
    const head = page.columns.map(({ name, type }) => {
      const direction = view.sort === name ? "ascending" : view.sort === `-${name}` ? "descending" : null;
      const arrow = { ascending: " ▲", descending: " ▼" }[direction] ?? "";
      return element("th", { scope: "col", "aria-sort": direction, class: isNumeric(type) ? "number" : false },
        element("button", { type: "button", "data-column": name, title: `Sort by ${name}`, onclick: () => sortBy(name) }, name + arrow),
        element("span", { class: "type", title: type }, type.toLowerCase()));
    });
    const body = page.rows.map((row) => element("tr", {}, row.map((value, at) => cell(value, page.columns[at].type))));
    grid.replaceChildren(element("table", { class: "grid" },
      element("caption", { class: "visually-hidden" }, `${NAMES[view.table]} of the dataset`),
      element("thead", {}, element("tr", {}, head)), element("tbody", {}, body)));
    if (focused) grid.querySelector(`[data-column="${CSS.escape(focused)}"]`)?.focus();
  }

  load();
  return { close: () => view.request?.abort(), update: load };
}
