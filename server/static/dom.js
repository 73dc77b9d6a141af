// Small helpers that build the page. Text from data is only ever set as text, never as markup.

export const byId = (id) => document.getElementById(id);

export function element(name, attributes = {}, ...children) {
  const made = document.createElement(name);
  for (const [key, value] of Object.entries(attributes)) {
    if (value === false || value === null || value === undefined) continue;
    if (key.startsWith("on")) made.addEventListener(key.slice(2), value);
    else made.setAttribute(key, value === true ? "" : String(value));
  }
  made.append(...children.flat().filter((child) => child !== null && child !== undefined));
  return made;
}

export function say(text) {
  byId("news").textContent = text;
}

const whole = new Intl.NumberFormat("en", { maximumFractionDigits: 0 });
const precise = new Intl.NumberFormat("en", { maximumSignificantDigits: 5 });

export function count(number, one, many = `${one}s`) {
  return `${whole.format(number)} ${number === 1 ? one : many}`;
}

export function number(value) {
  if (value === null || value === undefined) return "–";
  if (typeof value === "string") return value;
  return Number.isInteger(value) ? whole.format(value) : precise.format(value);
}

export const isNumeric = (type) => /^(U?(TINY|SMALL|BIG|HUGE)?INT(EGER)?|FLOAT|DOUBLE|DECIMAL.*)$/.test(type);

const LONG = 120;

// One value of a table: missing values differ from empty text, long text opens on demand.
export function cell(value, type) {
  const made = element("td", { class: isNumeric(type) ? "number" : false });
  if (value === null) made.append(element("span", { class: "missing" }, "null"));
  else if (value === "") made.append(element("span", { class: "missing" }, "empty"));
  else {
    const nested = typeof value === "object";
    const text = nested ? JSON.stringify(value) : String(value);
    if (text.length <= LONG) made.textContent = text;
    else made.append(element("details", { class: "long" }, element("summary", {}, `${text.slice(0, LONG - 20)}…`), nested ? JSON.stringify(value, null, 1) : text));
  }
  return made;
}
