// A report's page: tabs, and Vega charts in the colours of the page. Everything else works without a script.
"use strict";

const datagenReport = (() => {
  const colour = (name) => getComputedStyle(document.documentElement).getPropertyValue(`--${name}`).trim();
  const dark = matchMedia("(prefers-color-scheme: dark)");

  function vegaConfig() {
    const themes = JSON.parse(document.getElementById("vega-themes").textContent);
    const chosen = document.documentElement.dataset.theme;
    return themes[chosen === "light" || chosen === "dark" ? chosen : dark.matches ? "dark" : "light"];
  }

  // Draws the Vega charts inside `root` that are visible and not drawn yet; with `again` those that are, too.
  function draw(root, again = false) {
    if (typeof vegaEmbed === "undefined") return;
    for (const place of root.querySelectorAll(".vega")) {
      if ((place.dataset.drawn && !again) || place.closest("[hidden]")) continue;
      place.dataset.drawn = "yes";
      const target = place.querySelector(".vega-target");
      const spec = JSON.parse(place.querySelector(".vega-spec").textContent);
      vegaEmbed(target, spec, {
        mode: "vega-lite", actions: false, renderer: "svg", ast: true, defaultStyle: false,
        config: vegaConfig(), tooltip: { disableDefaultStyle: true },
        loader: { load: () => Promise.reject(new Error("a report loads nothing")) },
      }).catch((error) => {
        const panel = document.createElement("div");
        panel.className = "error-panel";
        panel.setAttribute("role", "alert");
        panel.textContent = `This chart could not be drawn. ${error.message}`;
        target.replaceChildren(panel);
      });
    }
  }

  function setUpTabs(root) {
    for (const tabs of root.querySelectorAll(".tabs:not(.ready)")) {
      tabs.classList.add("ready");
      const buttons = [...tabs.querySelectorAll(":scope > .tab-list > button")];
      const panels = [...tabs.querySelectorAll(":scope > .tab-panel")];
      const choose = (chosen, focus) => {
        buttons.forEach((button, number) => {
          button.setAttribute("aria-selected", String(number === chosen));
          button.tabIndex = number === chosen ? 0 : -1;
          panels[number].hidden = number !== chosen;
        });
        if (focus) buttons[chosen].focus();
        draw(panels[chosen]);
      };
      buttons.forEach((button, number) => {
        button.addEventListener("click", () => choose(number, false));
        button.addEventListener("keydown", (event) => {
          const last = buttons.length - 1;
          const next = { ArrowRight: number === last ? 0 : number + 1, ArrowLeft: number === 0 ? last : number - 1, Home: 0, End: last }[event.key];
          if (next === undefined) return;
          event.preventDefault();
          choose(next, true);
        });
      });
      choose(0, false);
    }
  }

  function start(root) {
    setUpTabs(root);
    draw(root);
  }

  dark.addEventListener("change", () => draw(document, true));
  return { start, redraw: () => draw(document, true) };
})();

if (document.querySelector("main.report")) datagenReport.start(document);
