// What plain forms cannot do: keys, focus after an act, undo for ten seconds, what is new. Without it all acts still work.
(() => {
  "use strict";
  const root = document.documentElement, $ = (css, within = document) => within.querySelector(css);
  const all = (css, within = document) => [...within.querySelectorAll(css)];
  const zone = Intl.DateTimeFormat().resolvedOptions().timeZone;
  if (zone) document.cookie = `ebbtide_zone=${encodeURIComponent(zone)};path=/;max-age=31536000;samesite=lax`;
  const say = (text) => { $("#polite").textContent = text; };
  const place = "row " + location.pathname + location.search;

  // Rows: one of them is in the tab order, and where the reader was is remembered for Back.
  const rows = () => all("[data-rows] > li");
  const current = () => document.activeElement?.closest("[data-rows] > li") || $('[data-rows] > li[tabindex="0"]');
  const rove = (row) => {
    for (const other of rows()) other.tabIndex = other === row ? 0 : -1;
    if (row) sessionStorage.setItem(place, row.id);
  };
  const go = (row) => { if (row) { rove(row); row.focus(); } };
  const step = (by) => {
    const list = rows(), at = list.indexOf(document.activeElement?.closest("[data-rows] > li"));
    return list[Math.min(Math.max(at < 0 ? Math.max(0, list.indexOf(current())) : at + by, 0), list.length - 1)];
  };
  const tidy = () => { if (rows().length) rove($('[data-rows] > li[tabindex="0"]') || rows()[0]); count(); };
  document.addEventListener("focusin", (event) => { const row = event.target.closest("[data-rows] > li"); if (row) rove(row); });

  // Selection.
  const chosen = () => all('[data-rows] input[name="e"]:checked');
  const count = () => { const out = $("[data-selected]"); if (out) out.textContent = `${chosen().length} selected:`; };
  const pick = (row, on) => { const box = row && $('input[name="e"]', row); if (box) { box.checked = on ?? !box.checked; count(); } };
  document.addEventListener("change", (event) => { if (event.target.name === "e") count(); });

  // The other acts of a row, put in when they are wanted.
  const menu = (row) => {
    const made = $("#menu");
    if (!row || !made) return null;
    let forms = $(":scope > .forms", row);
    if (!forms) {
      const id = () => Math.random().toString(16).slice(2, 14);
      row.insertAdjacentHTML("beforeend", made.innerHTML.replaceAll("EPISODE", row.dataset.episode)
        .replaceAll('"VERSION"', `"${row.dataset.version}"`).replaceAll('"ORDINAL"', `"${row.dataset.ordinal}"`)
        .replace(/name="request_id" value="[^"]*"/g, () => `name="request_id" value="${id()}${id()}"`));
      forms = row.lastElementChild;
      htmx.process(forms);
    }
    return forms;
  };
  document.addEventListener("click", (event) => {
    const more = event.target.closest("[data-menu]"), help = event.target.closest("[data-help]");
    if (more && !event.ctrlKey && !event.metaKey) {
      const row = more.closest("li"), open = $(":scope > .forms", row);
      if (open) open.remove(); else if (!$("input, button", menu(row) || row)) return;
      else $("button", menu(row)).focus();
      more.setAttribute("aria-expanded", String(!open));
      event.preventDefault();
    } else if (help) { $("#help").showModal(); event.preventDefault(); }
    else if (event.target.closest("[data-fresh]")) location.assign($("#stream").dataset.back);
  });

  // An act under way: one at a time on each thing, it shows that it is sent, and it is sent once.
  const slowly = { timers: [], over: null };
  const settled = (form) => {
    delete form?.dataset.sending;
    if (slowly.over && slowly.over !== form && slowly.over.isConnected) return;
    slowly.timers.forEach(clearTimeout);
    slowly.over = null;
    $("#pending").textContent = "";
  };
  document.addEventListener("submit", (event) => {
    const form = event.target, over = form.closest("[data-rows] > li, #signal") || form;
    if (form.method !== "post") return;
    if (over.dataset.sending) {
      say("This was sent already; the answer is on its way.");
      event.preventDefault();
      event.stopImmediatePropagation();
      return;
    }
    over.dataset.sending = "yes";
    slowly.timers.forEach(clearTimeout);
    slowly.over = over;
    const words = (event.submitter?.textContent || "").trim().replace(/\s+/g, " ");
    const tell = (text, after) => setTimeout(() => { $("#pending").textContent = text; }, after);
    slowly.timers = [
      tell(`Sending${words && `: ${words}`} …`, 300),
      tell("Still no answer after 10 s. It was sent once, and nobody knows yet whether it was saved. What you see stays usable.", 10000),
      setTimeout(() => { if (!form.hasAttribute("hx-post")) settled(over); }, 30000),
    ];
  }, true);
  addEventListener("pageshow", ({ persisted }) => { if (persisted) all("[data-sending]").forEach(settled); });

  // After an act: the next row, and undo for ten seconds.
  let last = null;
  document.addEventListener("htmx:before:request", ({ detail: { ctx } }) => {
    const target = ctx.target;
    target?.setAttribute?.("aria-busy", "true");
    ctx.row = target?.closest?.("[data-rows] > li");
    ctx.next = ctx.row?.nextElementSibling || ctx.row?.previousElementSibling;
    ctx.acted = ctx.request.method === "POST" && document.hasFocus() && (ctx.row || target)?.contains(document.activeElement);
  });
  document.addEventListener("htmx:finally:request", ({ detail: { ctx } }) => {
    ctx.target?.removeAttribute?.("aria-busy");
    if (ctx.request.method === "POST") settled(ctx.row || ctx.target);
  });
  document.addEventListener("htmx:error", ({ detail: { ctx } }) => {
    if (ctx?.request?.method !== "POST") return;
    $("#notice").textContent = "The server did not answer. It is not known whether this was saved; what you typed is still here. Try again.";
  });
  document.addEventListener("htmx:after:swap", ({ detail: { ctx } }) => {
    tidy();
    if (ctx.row) {
      const now = document.getElementById(ctx.row.id);
      if (now && $(".clash", now)) { now.tabIndex = 0; $("[data-again]", now).focus(); return; }
      if (ctx.request?.method === "POST" && ctx.response?.status < 400) last = ctx.row.id;
      if (ctx.acted && ctx.response?.status < 400) go(ctx.next?.isConnected ? ctx.next : now || rows()[0]);
    } else if (ctx.acted && $("#signal")) $("#signal").focus();
  });
  setInterval(() => {
    for (const form of all(".undo")) {
      form.dataset.age = 1 + Number(form.dataset.age || 0);
      if (form.dataset.age < 11 || form.contains(document.activeElement)) continue;
      const strip = form.closest(".strip");
      if (strip && !strip.contains(document.activeElement)) strip.remove(); else form.remove();
      tidy();
    }
  }, 1000);

  // What others did: rows change in place, new ones wait until they are asked for.
  const fresh = new Set();
  $("#stream")?.addEventListener("signal", ({ detail }) => {
    const told = JSON.parse(detail.data), row = document.getElementById(told.row), family = $("#stream").dataset.family;
    if (row) {
      const busy = $(":scope > .forms", row) || $(".clash", row) || row.getAttribute("aria-busy");
      if (busy || (told.version !== null && told.version <= Number(row.dataset.version))) return;
      const held = row.contains(document.activeElement), picked = $('input[name="e"]', row)?.checked;
      htmx.ajax("GET", `${told.path}?back=${encodeURIComponent($("#stream").dataset.back)}`, { target: row, swap: "outerHTML" }).then(() => {
        const now = document.getElementById(told.row);
        if (picked) pick(now, true);
        if (held) go(now);
      });
    } else if ((told.type === "raised" || told.type === "escalated") && (!family || family === told.family)) {
      fresh.add(told.row);
      const button = $("#fresh");
      button.hidden = false;
      button.firstChild.textContent = `${fresh.size} new: press `;
    }
  });

  // Keys. Dead in fields, and where the reader switched them off.
  let before = "";
  const press = (row, code) => {
    const many = chosen().length && $(`[data-bulk="${code}"]`);
    const one = many || $(`[data-do="${code}"]`, row || document) || $(`[data-do="${code}"]`, (row && $("#menu") && menu(row)) || document);
    if (!one) return false;
    if (one.matches("input, select, textarea")) one.focus(); else one.click();
    return true;
  };
  document.addEventListener("keydown", (event) => {
    const key = event.key, target = event.target;
    if (event.ctrlKey || event.altKey || event.metaKey || event.isComposing) return;
    if (key === "Escape") {
      const forms = target.closest?.(".forms"), row = target.closest?.("[data-rows] > li");
      if (document.querySelector("dialog[open]")) return;
      if (row && target !== row) { if (forms && row.dataset.episode) forms.remove(); go(row); }
      else if (target.matches?.("input, select, textarea")) target.blur();
      else if ($("#signal")) history.back();
      return;
    }
    if (root.dataset.keys === "off" || target.isContentEditable || target.matches?.("input:not([type=checkbox]), select, textarea") || $("dialog[open]")) return;
    const row = current(), listed = $("[data-rows]"), single = $("#signal");
    const two = before + key;
    before = "";
    const pages = { gq: "/queue", gp: "/portfolio", gc: "/catalogue", gl: "/pipeline" };
    let did = true;
    if (two in pages) location.assign(pages[two]);
    else if (key === "?") $("#help").showModal();
    else if (key === "/") (listed ? $("#filters select") : $("#search")).focus();
    else if (key === "g" || ((key === "s" || key === "e") && (listed || single))) { before = key; say(key === "g" ? "" : `${key === "s" ? "Snooze: 1 tomorrow, 2 three days, 3 seven days, 4 until a day" : "Close: 1 saved, 2 concession, 3 churned, 4 false alarm, 5 no action"}`); }
    else if (!listed && !single) did = false;
    else if (/^[se][1-5]$/.test(two)) did = press(row, two);
    else if (key === "z") did = press(last && document.getElementById(last), "z");
    else if (key === "j" || key === "k") go(step(key === "j" ? 1 : -1));
    else if (key === "J" || key === "K") { pick(row, true); const to = step(key === "J" ? 1 : -1); go(to); pick(to, true); }
    else if (key === "x") pick(row);
    else if (key === "Enter" && row && target === row) $("[data-open]", row)?.click();
    else if (key === ".") $("#fresh:not([hidden])")?.click();
    else if ("aitc".includes(key) && key.length === 1) did = press(row, key);
    else did = false;
    if (did) event.preventDefault();
  });

  // Where the reader was.
  document.addEventListener("DOMContentLoaded", tidy);
  if (document.readyState !== "loading") tidy();
  addEventListener("pageshow", () => {
    const kind = performance.getEntriesByType("navigation")[0]?.type, row = document.getElementById(sessionStorage.getItem(place));
    if (row && kind === "back_forward") { rove(row); row.focus({ preventScroll: true }); row.scrollIntoView({ block: "nearest" }); }
  });
})();
