// The page: its head, its states, and which of the two views is shown.

import type { App, Connection } from "./app";
import { Colours, palette } from "./colour";
import { Store, type Document } from "./data";
import { fill, h, svg, type Child } from "./dom";
import { Explainer } from "./explain";
import { Live } from "./live";
import { drawCanvases, renderNow, tick } from "./now";
import { clock, moment } from "./time";
import { Timeline } from "./timeline";
import { clean, en, word, zh } from "./words";

const BEHIND = 60_000; // ms that a server's last look may be old

const store = new Store();
const heard = h("p.unseen", { "aria-live": "assertive" });
const app: App = {
  store,
  words: language(),
  explainer: new Explainer(store),
  colours: new Colours([]),
  palette: {},
  connection: "live",
  say: (text) => (heard.textContent = text),
};
let received = 0; // by the page's own clock, which is not the host's
let known = false; // a document has come
let trouble: (() => Child[]) | null = null;

const skip = h("a.skip", {
  href: "#main",
  click: (e: Event) => {
    e.preventDefault();
    main.focus();
  },
});
const hostName = h("span.host.mono", null);
const nowTab = h("a", { href: "#now", "data-key": "now" }),
  timelineTab = h("a", { href: "#timeline", "data-key": "timeline" });
const tabs = h("nav.tabs", null, nowTab, timelineTab);
const status = h("span.connection", { role: "status" });
const toggle = h("button.language", {
  type: "button",
  click: () => {
    app.words = app.words === en ? zh : en;
    remember(app.words.lang);
    render();
    if (known) show();
  },
});
const banner = h("div.banner", { hidden: true });
const retryButton = h("button.small", { type: "button", click: () => live.start() });
const now = h("section", { id: "now", hidden: true });
const timeline = new Timeline(app);
const empty = h("section.empty", { hidden: true });
const loading = h("p.loading.mute", null);
const foot = h("footer.foot", null);
const main = h("main", { id: "main", tabindex: -1 }, loading, now, timeline.root, empty, foot);

function language() {
  let kept: string | null = null;
  try {
    kept = localStorage.getItem("language");
  } catch {
    // a browser may refuse it
  }
  return /^zh/i.test(kept ?? navigator.language) ? zh : en;
}

function remember(lang: string) {
  try {
    localStorage.setItem("language", lang);
  } catch {
    // the language then lasts as long as the page
  }
}

function logo(): SVGElement {
  return svg(
    "svg",
    { width: 20, height: 20, viewBox: "0 0 20 20" },
    svg("rect", { x: 1, y: 3, width: 11, height: 5, rx: 1.5, fill: "currentColor" }),
    svg("path", { d: "M12.5 5.5h3v7", fill: "none", stroke: "currentColor", "stroke-width": 1.5 }),
    svg("rect", {
      x: 7.75,
      y: 12.75,
      width: 10.5,
      height: 4.5,
      rx: 1.5,
      fill: "none",
      stroke: "currentColor",
      "stroke-width": 1.5,
    }),
  );
}

// receive takes a document in, and draws what has changed.
function receive(d: Document) {
  const news = store.merge(d),
    before = app.connection;
  received = performance.now();
  if (news === "intervals") {
    const colours = new Colours(store.repositories);
    if (d.full || colours.own.length !== app.colours.own.length) app.colours = colours;
    app.explainer = new Explainer(store);
    timeline.data();
  }
  app.connection = inFile ? "file" : d.now - d.look > BEHIND ? "behind" : "live";
  if (!known) {
    known = true;
    render();
    route();
    requestAnimationFrame(() => setTimeout(() => performance.mark("shown"))); // for whoever measures
  } else if (news !== "nothing" || app.connection !== before) show();
  else showConnection();
}

// render makes all that depends on the language.
function render() {
  const w = app.words;
  document.documentElement.lang = w.lang;
  document.title = store.name ? `hostguard · ${clean(store.name)}` : "hostguard";
  skip.textContent = w.skip;
  hostName.textContent = clean(store.name);
  tabs.setAttribute("aria-label", w.views);
  nowTab.textContent = w.now;
  timelineTab.textContent = w.timeline;
  toggle.textContent = w.other;
  toggle.lang = w === en ? "zh-Hant" : "en";
  now.setAttribute("aria-label", w.now);
  loading.textContent = w.loading;
  retryButton.textContent = w.tryNow;
  showConnection();
}

// show draws the view that the address names.
function show() {
  const nothing = !store.locks.length && !store.waits.length && !store.builds.rows.length;
  const onTimeline = location.hash.startsWith("#timeline");
  loading.hidden = true;
  now.hidden = onTimeline || nothing;
  timeline.root.hidden = !onTimeline || nothing;
  empty.hidden = !nothing;
  for (const [tab, current] of [
    [nowTab, !onTimeline],
    [timelineTab, onTimeline],
  ] as const) {
    if (current) tab.setAttribute("aria-current", "page");
    else tab.removeAttribute("aria-current");
  }
  timeline.words();
  if (nothing) showEmpty();
  else if (onTimeline) timeline.show();
  else showNow();
  const w = app.words;
  fill(
    foot,
    h("span", null, w.foot(clean(store.program))),
    h("span", null, store.bytes ? w.history(store.days, size(store.bytes)) : ""),
  );
  showConnection();
}

function showNow() {
  renderNow(now, app, (w) => {
    history.pushState(null, "", "#timeline");
    timeline.choose(w, true);
    route();
  });
}

function route() {
  const [view, ...rest] = location.hash.slice(1).split("/");
  show();
  if (view === "timeline" && known) timeline.open(rest);
  scrollTo(0, 0);
}

function showEmpty() {
  const w = app.words,
    host = store.host;
  fill(
    empty,
    h("h1.head", null, w.emptyTitle),
    h("p.sub", null, w.emptyText(word(store.name), moment(store.begin, store.now))),
    h(
      "pre.mono",
      null,
      'hostguard with-lock -reason "try it" -- sleep 30\nhostguard with-lock -reason "waits for it" -- true',
    ),
    host.inSight.length > 0 &&
      h("p.sub", null, w.inSight(host.inSight.map(clean)), w.between, w.outOfSight(host.outOfSight.map(clean))),
  );
}

function size(bytes: number): string {
  return bytes < 1e6 ? Math.ceil(bytes / 1e3) + " kB" : (bytes / 1e6).toFixed(1) + " MB";
}

// The connection. A page that is not connected says so, and all that it shows is grey.

function showConnection() {
  const w = app.words,
    off = app.connection === "off" || app.connection === "behind";
  document.body.classList.toggle("stale", off);
  const dot = svg(
    "svg",
    { width: 12, height: 12 },
    ...(off
      ? [
          svg("circle", { cx: 6, cy: 6, r: 4.5, class: "alarm", fill: "none" }),
          svg("path", { d: "M2.5 9.5l7-7", class: "alarm" }),
        ]
      : [svg("circle", { cx: 6, cy: 6, r: 4, class: "dot" })]),
  );
  const texts: Record<Connection, string> = { live: w.live, off: w.off, behind: w.legend.gap, file: w.file };
  fill(
    status,
    app.connection !== "file" && dot,
    app.connection === "file" ? w.reportOf(moment(store.now, Date.now())) : texts[app.connection],
    app.connection === "live" && known && h("span.wide", { id: "clock" }, "· " + clock(store.now, true)),
  );
  banner.hidden = !trouble && app.connection !== "behind";
  if (app.connection === "behind" && !trouble) {
    fill(banner, h("b", null, w.behindSince(moment(store.now, store.now, true))), h("span", null, w.behindMeaning));
  } else if (trouble) fill(banner, ...trouble());
}

const live = new Live({
  document(d) {
    const back = app.connection === "off";
    trouble = null;
    receive(d);
    if (back) app.say(app.words.live);
  },
  lost(seconds) {
    const first = app.connection !== "off";
    app.connection = "off";
    trouble = () => {
      const w = app.words;
      return [
        h("b", null, known ? w.offSince(clock(store.now, true)) : w.off),
        h("span", null, known ? w.offMeaning(seconds) : w.noAnswer(seconds)),
        retryButton,
      ];
    };
    if (first) {
      app.say(known ? app.words.offSince(clock(store.now, true)) : app.words.off);
      if (known) show();
    }
    showConnection();
  },
  refused(d) {
    app.connection = "off";
    trouble = () => [h("b", null, app.words.tooNew(clean(String(d.program))))];
    showConnection();
  },
});

function everySecond() {
  if (!known || app.connection !== "live") return;
  store.now = store.look + Math.round(performance.now() - received);
  const time = document.getElementById("clock");
  if (time) time.textContent = "· " + clock(store.now, true);
  if (document.hidden) return;
  if (!now.hidden) tick(now, app);
  timeline.tick();
}

function restyle() {
  app.palette = palette();
  timeline.theme();
  if (!known) return;
  if (!now.hidden) drawCanvases(now, app);
  timeline.show();
}

document.body.replaceChildren(
  skip,
  h(
    "header.top",
    null,
    h("a.brand", { href: "#now" }, logo(), "hostguard"),
    hostName,
    tabs,
    h("span.right", null, status, toggle),
  ),
  banner,
  main,
  heard,
);
app.palette = palette();
addEventListener("hashchange", route);
addEventListener("popstate", route);
let resizing = 0;
addEventListener("resize", () => {
  cancelAnimationFrame(resizing);
  resizing = requestAnimationFrame(() => {
    if (!known) return;
    if (!now.hidden) drawCanvases(now, app);
    timeline.resized();
  });
});
matchMedia("(prefers-color-scheme: dark)").addEventListener("change", restyle);
setInterval(everySecond, 1000);

const data = document.getElementById("data");
const inFile = data !== null;
render();
// A report is opened for its answer.
if (inFile && !location.hash) history.replaceState(null, "", "#timeline");
if (inFile) receive(JSON.parse(data.textContent ?? "") as Document);
else live.start();
