// The frame: start-up, token, navigation, theme. Each view is a module with `show(place, context)`.
"use strict";

import { get, post } from "./api.js";
import { byId, count, element, say } from "./dom.js";
import * as columns from "./columns.js";
import * as compare from "./compare.js";
import * as report from "./report.js";
import * as rows from "./rows.js";

const views = { report, rows, columns, compare };
let state = null;
let datasets = null;
let reports = [];
let shown = null; // { close } of the view on the page

// ---- token

async function logInFromAddress() {
  const token = new URLSearchParams(location.hash.slice(1)).get("token");
  if (token === null) return;
  history.replaceState(null, "", location.pathname);
  await post("login", { token });
}

byId("login-form").addEventListener("submit", async (event) => {
  event.preventDefault();
  if (await post("login", { token: byId("token").value })) {
    byId("login").hidden = true;
    byId("startup").hidden = false;
    follow();
  } else byId("login-error").textContent = "That is not the server's token.";
});

async function askForToken() {
  byId("startup").hidden = true;
  byId("login").hidden = false;
  byId("token").focus();
}

// ---- the server's state

let events = null;

function follow() {
  events?.close();
  events = new EventSource("/api/events");
  events.addEventListener("state", (event) => stateChanged(JSON.parse(event.data)));
  events.addEventListener("error", async () => {
    if (events.readyState === EventSource.CLOSED) {
      const answer = await fetch("/api/ready").catch(() => null);
      if (answer?.status === 401) askForToken();
      else setTimeout(follow, 1000);
    } else if (!datasets) byId("startup-text").textContent = "The server does not answer; trying again.";
    else warn("The connection to the server is lost; trying again.");
  });
}

// A page that the browser keeps for its "back" button holds no connection: it may have few.
addEventListener("pagehide", () => { events?.close(); shown?.close?.(); });
addEventListener("pageshow", (event) => { if (event.persisted) location.reload(); });

function warn(text) {
  byId("stale").textContent = text;
  byId("stale").hidden = !text;
}

async function stateChanged(next) {
  const changed = state?.version !== next.version;
  state = next;
  warn(next.stale ? `The data could not be loaded again (${next.error}). What you see is older; loading is tried again.` : "");
  if (!next.ready) showStartup(next);
  else if (changed) await dataChanged();
}

const seenPhases = [];

function showStartup(now) {
  byId("startup").classList.toggle("stopped", now.status === "failed");
  byId("startup-text").textContent = {
    loading: "The page fills itself as soon as the data is there.",
    failed: now.error === "StartupTimeout"
      ? "Loading takes longer than start-up may. The server goes on, or waits for something that does not answer."
      : `Loading failed (${now.error}). The server's log says why. It is tried again.`,
  }[now.status];
  for (const phase of now.phase?.split(", ") ?? []) if (!seenPhases.includes(phase)) seenPhases.push(phase);
  const running = new Set(now.phase?.split(", "));
  byId("phases").replaceChildren(...seenPhases.map((phase) => element("li", { class: running.has(phase) && "now" }, phase)));
}

async function dataChanged() {
  const first = datasets === null;
  [datasets, reports] = await Promise.all([get("datasets"), get("reports")]);
  showHeader();
  if (first) {
    byId("startup").hidden = true;
    byId("view").hidden = false;
    say("The dataset is loaded.");
    navigate();
  } else shown?.update?.(context());
}

function showHeader() {
  const current = datasets[0];
  document.title = `${current.title} · prefect-datagen`;
  byId("title").textContent = current.title;
  byId("chip").textContent = current.status;
  byId("chip").className = `chip ${current.status}`;
  byId("chip").title = current.reasons.join("; ");
  byId("chip").hidden = false;
  const facts = [count(current.rows, "row"), count(current.row_groups, "row group")];
  if (current.rejected) facts.push(`${count(current.rejected, "row")} rejected`);
  if (current.filtered) facts.push(`${count(current.filtered, "row")} filtered`);
  if (datasets[1]) facts.push(`compared with ${datasets[1].title} (${count(datasets[1].rows, "row")})`);
  byId("facts").textContent = facts.join(" · ");
  byId("nav").replaceChildren(...links().map(([address, text]) => element("a", { href: address }, text)));
  byId("nav").hidden = false;
  markCurrent();
}

// ---- navigation: the address after '#' says what is shown

function links() {
  const found = reports.map((each) => [`#/report/${each.name}`, each.title]);
  found.push(["#/rows/data", "Rows"], ["#/columns", "Columns"]);
  if (datasets[0].rejected) found.push(["#/rows/rejects", "Rejected"]);
  if (Object.keys(datasets[0].tables.traces.columns).length) found.push(["#/rows/traces", "Traces"]);
  if (datasets[1]) found.push(["#/compare", "Compare"]);
  return found;
}

function place() {
  const [path, query] = location.hash.slice(1).split("?");
  const [, view, name] = path.split("/");
  return { view, name: name && decodeURIComponent(name), query: new URLSearchParams(query) };
}

function markCurrent() {
  const here = location.hash.split("?")[0];
  for (const link of byId("nav").children) {
    if (link.getAttribute("href") === here) link.setAttribute("aria-current", "page");
    else link.removeAttribute("aria-current");
  }
}

document.querySelector(".skip").addEventListener("click", (event) => {
  event.preventDefault(); // the address says which view is shown
  byId("content").focus();
});

const context = () => ({ datasets, reports, ...place() });

function navigate() {
  if (!datasets) return;
  if (!(place().view in views)) history.replaceState(null, "", links()[0][0]);
  shown?.close?.();
  const fresh = element("section", { id: "view" });
  byId("view").replaceWith(fresh);
  markCurrent();
  shown = views[place().view].show(fresh, context());
}

addEventListener("hashchange", navigate);

// ---- theme: as the system, light, dark

const themes = ["system", "light", "dark"];

function setTheme(theme) {
  if (theme === "system") delete document.documentElement.dataset.theme;
  else document.documentElement.dataset.theme = theme;
  byId("theme").setAttribute("aria-label", `Colours: ${theme === "system" ? "as the system" : theme}`);
  byId("theme").title = byId("theme").getAttribute("aria-label");
  localStorage.setItem("theme", theme);
  shown?.redraw?.();
}

byId("theme").addEventListener("click", () => {
  const now = document.documentElement.dataset.theme ?? "system";
  setTheme(themes[(themes.indexOf(now) + 1) % themes.length]);
});

const kept = localStorage.getItem("theme");
setTheme(themes.includes(kept) ? kept : "system");

await logInFromAddress();
follow();
