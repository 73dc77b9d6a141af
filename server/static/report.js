// A report: its places at once, then each chart when the server has it. New data replaces charts in place.

import { element, say } from "./dom.js";

let assets = null;
let vega = null;

function load(name, attributes) {
  return new Promise((resolve, reject) => document.head.append(element(name, { ...attributes, onload: resolve, onerror: reject })));
}

// Style sheet and script of reports come from the server once it is ready; Vega's only where a chart needs it.
const loadAssets = () => (assets ??= Promise.all([
  load("link", { rel: "stylesheet", href: "/api/assets/report.css" }),
  load("script", { src: "/api/assets/report.js" }),
]));
const loadVega = () => (vega ??= load("script", { src: "/api/assets/vega.js" }));

export function show(section, context) {
  const title = element("h2", { class: "report-title" });
  const note = element("p", { class: "report-note" });
  const controls = element("form", { class: "controls", hidden: true, "aria-label": "Variables of the report" });
  const charts = element("div", { class: "report" });
  const about = element("p", { class: "muted", hidden: true });
  section.append(title, about, note, controls, charts);
  const view = { name: context.name, events: null, values: new Map(), filled: false };

  async function place(chart) {
    const find = () => charts.querySelector(`#${CSS.escape(`chart-${chart.id}`)}`);
    const old = find();
    if (!old) return;
    const open = old.querySelector("details.chart-rows")?.open;
    old.outerHTML = chart.html;
    if (open) find().querySelector("details.chart-rows")?.setAttribute("open", "");
    if (!chart.vega) return;
    await Promise.all([assets, loadVega()]);
    if (charts.isConnected && find()) datagenReport.start(find().parentElement);
  }

  function open() {
    view.events?.close();
    const parameters = new URLSearchParams();
    for (const [key, value] of view.values) for (const each of [value].flat()) parameters.append(`var.${key}`, each ?? "");
    const began = performance.now();
    let arrived = 0;
    let total = 0;
    let failed = 0;
    view.events = new EventSource(`/api/report/${encodeURIComponent(view.name)}/stream?${parameters}`);
    const told = () => `${arrived} of ${total} charts${failed ? `, ${failed} failed` : ""}`;

    view.events.addEventListener("shell", (event) => {
      const shell = JSON.parse(event.data);
      total = shell.charts;
      title.textContent = shell.title;
      about.textContent = shell.description;
      about.hidden = !shell.description;
      if (!view.filled) {
        // The server made this markup and escaped all data in it; the policy of the page lets no script in it run.
        charts.innerHTML = shell.html;
        view.filled = true;
        showVariables(controls, shell.variables, (name, value) => { view.values.set(name, value); open(); });
        loadAssets().then(() => charts.isConnected && datagenReport.start(charts));
      }
      charts.setAttribute("aria-busy", "true");
      note.textContent = told();
    });
    view.events.addEventListener("chart", (event) => {
      const chart = JSON.parse(event.data);
      arrived += 1;
      failed += chart.error ? 1 : 0;
      note.textContent = told();
      place(chart);
    });
    view.events.addEventListener("done", () => {
      view.events.close();
      charts.removeAttribute("aria-busy");
      note.textContent = `${told()}, in ${((performance.now() - began) / 1000).toFixed(1)} s`;
      say(`The report is complete: ${told()}.`);
    });
    view.events.addEventListener("error", async () => {
      if (view.events.readyState !== EventSource.CLOSED) { arrived = failed = 0; return; }
      const answer = await fetch(view.events.url).catch(() => null);
      const problem = await answer?.json().catch(() => null);
      note.textContent = problem?.error?.message ?? "The connection to the server is lost.";
    });
  }

  open();
  return {
    close: () => view.events?.close(),
    update: open,
    redraw: () => view.filled && assets?.then(() => charts.isConnected && datagenReport.redraw()),
  };
}

function showVariables(form, variables, change) {
  form.hidden = variables.length === 0;
  form.addEventListener("submit", (event) => event.preventDefault());
  form.replaceChildren(...variables.map((variable) => {
    const id = `variable-${variable.name}`;
    const set = (value) => change(variable.name, value);
    if (variable.widget === "radio") {
      return element("fieldset", { id }, element("legend", {}, variable.label), choices(variable, id, set));
    }
    return element("div", {}, element("label", { for: id }, variable.label), widget(variable, id, set));
  }));
}

// One button for each choice; several may be chosen where the variable holds a list.
function choices(variable, id, set) {
  const chosen = new Set([variable.value].flat().map(String));
  const type = variable.multiple ? "checkbox" : "radio";
  const inputs = variable.choices.map((choice) => element("input", {
    type, name: id, value: choice, checked: chosen.has(String(choice)),
    onchange: () => set(variable.multiple ? inputs.filter((input) => input.checked).map((input) => input.value) : choice),
  }));
  return inputs.map((input) => element("label", {}, input, input.value));
}

function widget(variable, id, set) {
  const value = variable.value;
  if (variable.widget === "select") {
    const chosen = new Set([value].flat().map(String));
    const options = variable.choices.map((choice) => element("option", { value: choice, selected: chosen.has(String(choice)) }, String(choice)));
    if (!variable.multiple && value === null) options.unshift(element("option", { value: "", selected: true }, "any"));
    const read = (select) => variable.multiple ? [...select.selectedOptions].map((option) => option.value) : select.value;
    return element("select", { id, multiple: variable.multiple, onchange: (event) => set(read(event.target)) }, options);
  }
  if (variable.widget === "checkbox") {
    return element("input", { id, type: "checkbox", checked: value === true, onchange: (event) => set(String(event.target.checked)) });
  }
  if (variable.widget === "slider") {
    const shown = element("output", { for: id }, String(value ?? ""));
    const slider = element("input", {
      id, type: "range", value: value ?? "", min: variable.minimum, max: variable.maximum, step: variable.type === "integer" ? 1 : "any",
      oninput: () => { shown.textContent = slider.value; }, onchange: () => set(slider.value),
    });
    return element("span", { class: "slider" }, slider, shown);
  }
  const type = { integer: "number", number: "number", date: "date", datetime: "datetime-local" }[variable.type] ?? "text";
  return element("input", {
    id, type, value: value ?? "", min: variable.minimum, max: variable.maximum,
    step: variable.type === "integer" ? 1 : "any", onchange: (event) => set(event.target.value),
  });
}
