// Now: who holds, who waits and for whom, and what else goes on at this host.

import type { App } from "./app";
import type { Interval, Lock, Wait } from "./data";
import { fit, fill, h, link, svg, type Child } from "./dom";
import { clock, DAY, HOUR, MINUTE, moment } from "./time";
import { clean, nameOf, phrase, unusual, word } from "./words";

const MOST_LOCKS = 12,
  MOST_WAITERS = 20,
  MOST_ITEMS = 12,
  MOST_LONGEST = 6;
const STRIP = 2 * HOUR;

// elapsed is how long something goes on, which tick keeps right.
function elapsed(app: App, from: number, tag = "span"): HTMLElement {
  return h(tag, { "data-since": from }, app.words.precise(app.store.now - from));
}

export function tick(root: Element, app: App) {
  for (const e of root.querySelectorAll<HTMLElement>("[data-since]")) {
    const text = app.words.precise(app.store.now - Number(e.dataset.since));
    if (e.textContent !== text) e.textContent = text;
  }
}

const swatch = (app: App, v: Interval, hollow: boolean) =>
  hollow
    ? h("i.swatch.hollow", { "css:color": app.colours.css(v.job.repository) })
    : h("i.swatch", { "css:background": v.plain ? "var(--mute)" : app.colours.css(v.job.repository) });

// jobOf is a job with its run as a link.
function jobOf(app: App, v: Interval): Child[] {
  const j = v.job;
  if (v.plain) return [h("b", null, app.words.legend.plain)];
  if (!j.repository && !j.job) return [h("b", null, nameOf(j) || app.words.unknown)];
  return [h("b", null, word(j.repository)), " ", word(j.job), " ", j.run ? link(j.url, "#" + word(j.run)) : null];
}

const titleOf = (app: App, v: Interval) => (v.plain ? app.words.legend.plain : nameOf(v.job) || app.words.unknown);

export function renderNow(root: HTMLElement, app: App, why: (w: Wait) => void) {
  const { store: s, words: w } = app;
  const open = (v: Interval) => v.open;
  const waiting = s.waits.filter((x) => x.last.open).sort((a, b) => s.waited(b) - s.waited(a));
  const builds = s.builds.rows.flatMap((r) => r.list.filter(open)).sort((a, b) => a.from - b.from);
  const locks = s.locks
    .map((lock) => ({
      lock,
      holds: lock.holds.rows.flatMap((r) => r.list.filter(open)),
      waits: lock.waits.rows.flatMap((r) => r.list.filter(open)).sort((a, b) => a.from - b.from),
    }))
    .sort((a, b) => b.waits.length - a.waits.length || b.holds.length - a.holds.length);
  fill(
    root,
    ...headline(app, waiting, locks, builds.length),
    h(
      "div.columns",
      null,
      h(
        "div.stack",
        null,
        ...locks.slice(0, MOST_LOCKS).map((l) => lockCard(app, l)),
        locks.length > MOST_LOCKS && h("p.more", null, w.moreLocks(locks.length - MOST_LOCKS)),
        gate(app),
        longest(app, why),
      ),
      h("div.stack", null, stalls(app), buildsCard(app, builds), runners(app), containers(app)),
    ),
  );
  drawCanvases(root, app);
}

type LockNow = { lock: Lock; holds: Interval[]; waits: Interval[] };

function headline(app: App, waiting: Wait[], locks: LockNow[], builds: number): Child[] {
  const { store: s, words: w } = app;
  const was =
    app.connection === "off" || app.connection === "behind" ? [h("span.was", null, w.at(clock(s.now, true))), " "] : [];
  const longest = waiting[0];
  if (!longest) {
    const held = locks
      .filter((l) => l.holds.length)
      .slice(0, 2)
      .map((l) => w.held(clean(l.lock.name), titleOf(app, l.holds[0]!)));
    return [
      h("h1.head", null, ...was, w.nobodyWaits),
      h("p.sub", null, [...held, w.calm(locks.filter((l) => !l.holds.length).length, builds)].join(w.between)),
    ];
  }
  const cause = app.explainer.now(longest);
  const holder = cause ? w.cause({ ...cause, usual: 0, end: "" }) : "";
  const sub: Child[] = [];
  if (cause?.cause?.kind === "hold") {
    const { usual, held } = cause;
    sub.push(
      ...w.holdsFor(
        clean(cause.name),
        elapsed(app, cause.cause.from),
        usual,
        held - usual >= MINUTE ? held - usual : 0,
      ),
    );
    if (cause.evidence) sub.push(w.between, w.evidence(phrase(cause.evidence)));
  } else if (longest.last.kind === "pressure") sub.push(w.pressureWaits);
  // A wait that was for the gate first has waited since then.
  const since = s.now - s.waited(longest);
  const time = elapsed(app, since, "b");
  time.classList.add("time");
  return [
    h("h1.head", null, ...was, ...w.waiting(waiting.length, nameOf(longest.first.job) || w.unknown, time, holder)),
    h("p.sub", null, ...sub),
  ];
}

function card(title: Child, side: Child, ...children: Child[]): HTMLElement {
  return h("article.card", null, h("header", null, title, side && h("span.side", null, side)), ...children);
}

const heldIcon = () =>
  svg(
    "svg",
    { width: 14, height: 14, class: "icon" },
    svg("rect", { x: 1, y: 3, width: 12, height: 8, rx: 2, fill: "currentColor" }),
  );
const freeIcon = () =>
  svg(
    "svg",
    { width: 14, height: 14, class: "icon" },
    svg("rect", {
      x: 2,
      y: 4,
      width: 10,
      height: 6,
      rx: 2,
      fill: "none",
      stroke: "currentColor",
      "stroke-width": 1.6,
      "stroke-dasharray": "2.5 2",
    }),
  );

function lockCard(app: App, { lock, holds, waits }: LockNow): HTMLElement {
  const { words: w, store: s } = app;
  const c = card(h("h2.lock", null, clean(lock.name)), w.lockState(holds.length, waits.length));
  c.firstElementChild!.prepend(holds.length ? heldIcon() : freeIcon());
  if (holds.length) c.append(...holds.slice(0, MOST_ITEMS).map((v) => holder(app, v)));
  else {
    const last = lock.holds.rows.flatMap((r) => r.list.slice(-1)).sort((a, b) => b.until - a.until)[0];
    c.append(
      h(
        "div.job",
        null,
        h("span.place", null, "–"),
        h("span.who.mute", null, last ? w.freeSince(moment(last.until, s.now)) : w.neverHeld),
        last && last.kind === "hold" && h("span.meta", null, w.lastHeld(titleOf(app, last), last.until - last.from)),
      ),
    );
  }
  if (waits.length) {
    c.append(
      h("div.queue", null, w.queue),
      h(
        "ol",
        null,
        ...waits
          .slice(0, MOST_WAITERS)
          .map((v, i) =>
            h(
              "li.job",
              null,
              h("span.place", null, String(i + 1)),
              h(
                "span.who",
                null,
                swatch(app, v, true),
                ...jobOf(app, v),
                v.what && h("span.tag", null, phrase(v.what)),
              ),
              h("span.took", null, elapsed(app, v.from)),
            ),
          ),
      ),
    );
    if (waits.length > MOST_WAITERS) c.append(h("p.more", null, w.more(waits.length - MOST_WAITERS)));
  }
  c.append(
    h(
      "a.strip",
      { href: "#timeline", "aria-label": `${clean(lock.name)}: ${w.timeline}`, "data-key": "strip " + lock.name },
      h("canvas", { "data-strip": lock.name, "aria-hidden": "true" }),
      h(
        "span.caption",
        null,
        h("span", null, clock(s.now - STRIP)),
        h("span", null, w.lastHours(STRIP / HOUR)),
        h("span", null, w.now),
      ),
    ),
  );
  return c;
}

function holder(app: App, v: Interval): HTMLElement {
  const { words: w, store: s } = app,
    held = s.now - v.from,
    usual = app.explainer.usual(v),
    full = Math.max(held, usual) * 1.15 || 1;
  const meta = [
    w.since(moment(v.from, s.now)),
    usual ? w.usually(usual) : "",
    phrase(v.evidence),
    v.job.actor ? w.startedBy(word(v.job.actor)) : "",
  ];
  return h(
    "div.job.holder",
    null,
    h("span.place", null, swatch(app, v, false)),
    h(
      "span.who",
      null,
      ...(v.kind === "reserved" ? [h("b", null, w.reservation(phrase(v.what))), " ", nameOf(v.job)] : jobOf(app, v)),
      v.kind === "hold" && v.what && h("span.tag", null, phrase(v.what)),
      unusual({ usual, held }) && h("span.tag.alarm", null, w.longHold),
    ),
    h("span.took", null, elapsed(app, v.from)),
    usual > 0 &&
      h(
        "div.bar",
        { role: "img", "aria-label": `${w.duration(held)}, ${w.usually(usual)}` },
        h("i", { "css:width": (held / full) * 100 + "%", "css:background": app.colours.css(v.job.repository) }),
        h("u", { "css:left": (usual / full) * 100 + "%" }),
      ),
    h("span.meta", null, meta.filter(Boolean).join(" · ")),
  );
}

function gate(app: App): Child {
  const waits = app.store.pressure.rows.flatMap((r) => r.list.filter((v) => v.open)).sort((a, b) => a.from - b.from);
  return (
    waits.length > 0 &&
    card(
      h("h2", null, app.words.gate),
      String(waits.length),
      h(
        "ol",
        null,
        ...waits
          .slice(0, MOST_WAITERS)
          .map((v, i) =>
            h(
              "li.job",
              null,
              h("span.place", null, String(i + 1)),
              h("span.who", null, swatch(app, v, true), ...jobOf(app, v)),
              h("span.took", null, elapsed(app, v.from)),
            ),
          ),
      ),
    )
  );
}

function longest(app: App, why: (w: Wait) => void): HTMLElement {
  const { store: s, words: w } = app;
  const list = s.waits
    .filter((x) => s.span(x).until > s.now - DAY && s.waited(x) >= 1000)
    .sort((a, b) => s.waited(b) - s.waited(a))
    .slice(0, MOST_LONGEST);
  const title = h("h2", null, w.longestWaits);
  if (!list.length) return card(title, null, h("p.item.mute", null, w.noWaits));
  const head = (text: string, side = "") => h("th" + side, { scope: "col" }, text);
  return card(
    title,
    null,
    h(
      "table.longest",
      null,
      h(
        "thead",
        null,
        h(
          "tr",
          null,
          head(w.columns.job),
          head(w.columns.took, ".number"),
          head(w.card.waitedFor),
          head(w.columns.from),
          h("th", null, h("span.unseen", null, w.why)),
        ),
      ),
      h(
        "tbody",
        null,
        ...list.map((x) => {
          const e = app.explainer.explain(x),
            most = [...e.parts].sort((a, b) => b.time - a.time)[0];
          const who = nameOf(x.first.job) || w.unknown;
          return h(
            "tr",
            null,
            h("td", null, swatch(app, x.first, true), who),
            h("td.number", null, h("b", null, w.duration(e.total))),
            h(
              "td",
              null,
              most ? (most.kind === "hold" && !most.plain ? nameOf(most.who) || w.unknown : w.cause(most)) : "",
              e.parts.length > 1 && h("span.mute", null, " " + w.more(e.parts.length - 1)),
            ),
            h("td.one", null, moment(e.from, s.now)),
            h(
              "td.number",
              null,
              h(
                "button.small",
                {
                  type: "button",
                  "aria-label": w.question(who, e),
                  "data-key": "why " + x.first.id,
                  click: () => why(x),
                },
                w.why,
              ),
            ),
          );
        }),
      ),
    ),
  );
}

function stalls(app: App): HTMLElement {
  const { store: s, words: w } = app,
    title = h("h2", null, w.stall),
    last = s.stall(s.now);
  const size = (bytes: number) => (bytes / 1e9).toFixed(bytes < 9.95e9 ? 1 : 0);
  const facts = [
    s.host.memoryTotal ? w.memoryAvailable(size(s.host.memoryAvailable), size(s.host.memoryTotal)) : "",
    s.host.load ? w.load(s.host.load.toFixed(1)) : "",
  ]
    .filter(Boolean)
    .join(" · ");
  return card(
    title,
    null,
    s.stalls.length
      ? h(
          "div.rows",
          null,
          ...(["memory", "io", "cpu"] as const).map((of) => {
            const value = last && last[of] >= 0 ? `${last[of]} %` : "–";
            return h(
              "div.row",
              null,
              h("span", null, w[of]),
              h("canvas", { "data-stall": of, role: "img", "aria-label": `${w.stallOf(w[of])}: ${value}` }),
              h("b", null, value),
            );
          }),
        )
      : h("p.item.mute", null, w.noStall),
    facts && h("p.item.mute.small", null, facts),
  );
}

const item = (icon: Child, first: Child[], took: Child, second: Child) =>
  h(
    "div.item",
    null,
    h("div.first", null, icon, h("span.who", null, ...first), took && h("span.took", null, took)),
    second && h("div.second", null, second),
  );

function buildsCard(app: App, builds: Interval[]): HTMLElement {
  const { words: w } = app;
  return card(
    h("h2", null, w.builds),
    builds.length ? String(builds.length) : null,
    ...(builds.length
      ? builds
          .slice(0, MOST_ITEMS)
          .map((v) =>
            item(
              svg(
                "svg",
                { width: 14, height: 10, class: "icon" },
                svg("path", { d: "M4 0h6l4 5-4 5H4L0 5z", class: "amber" }),
              ),
              [h("b", null, phrase(v.name)), " ", nameOf(v.job)],
              elapsed(app, v.from),
              phrase(v.what),
            ),
          )
      : [h("p.item.mute", null, w.noBuilds)]),
  );
}

function runners(app: App): HTMLElement {
  const { store: s, words: w } = app,
    list = [...s.runners].slice(0, MOST_ITEMS);
  return card(
    h("h2", null, w.runners),
    null,
    ...(list.length
      ? list.map(([name, row]) => {
          const last = row.list[row.list.length - 1]!,
            state = last.open ? last.end || "up" : last.end === "unseen" ? "" : last.end;
          const more = s.host.runners.find((r) => r.name === name);
          const stopped = row.list.filter((v) => v.end === "stopped" && !v.open && v.until > s.now - DAY).pop();
          const line =
            state === "stopped"
              ? svg("path", { d: "M3 3l8 8m0-8l-8 8", class: "alarm" })
              : svg("path", {
                  d: "M0 7h14",
                  class: state === "up" ? "ok" : "mute",
                  "stroke-dasharray": state === "up" ? "none" : "2 3",
                });
          const second = [
            state !== "up"
              ? w.since(moment(last.from, s.now))
              : stopped
                ? w.wasStopped(stopped.until - stopped.from, moment(stopped.from, s.now))
                : "",
            phrase(more?.note ?? ""),
          ]
            .filter(Boolean)
            .join(" · ");
          return item(
            svg("svg", { width: 14, height: 14, class: "icon line" }, line),
            [h("b", null, clean(name)), " ", w.runnerState(clean(state))],
            more && more.capacity > 0 && `${more.busy} / ${more.capacity}`,
            second,
          );
        })
      : [h("p.item.mute", null, w.noRunners)]),
  );
}

function containers(app: App): Child {
  const { store: s, words: w } = app;
  const open = s.containers.filter((v) => v.open),
    left = s.host.leftBehind;
  const working = open.filter((v) => !left.some((l) => l.name === v.name)).length;
  if (!open.length && !left.length) return null;
  return card(
    h("h2", null, w.containers),
    String(working + left.length),
    h("div.item", null, w.ofJobs(working)),
    left.length > 0 && h("div.item", null, h("b", null, w.leftBehind(left.length))),
    ...left.slice(0, MOST_ITEMS).map((l) => {
      const v = open.find((o) => o.name === l.name);
      return item(null, [(v && nameOf(v.job)) || clean(l.name)], v && elapsed(app, v.from), phrase(l.note));
    }),
  );
}

// drawCanvases draws the last hours of each lock, and of stall.
export function drawCanvases(root: HTMLElement, app: App) {
  const { store: s, palette: c } = app;
  for (const canvas of root.querySelectorAll<HTMLCanvasElement>("[data-strip]")) {
    const lock = s.locks.find((l) => l.name === canvas.dataset.strip);
    if (!lock) continue;
    const { ctx, width } = fit(canvas, 34),
      from = s.now - STRIP,
      x = (at: number) => Math.max(0, ((at - from) / STRIP) * width);
    ctx.fillStyle = c.line!;
    ctx.fillRect(0, 8, width, 1);
    lock.holds.between(from, s.now, (v) => {
      ctx.fillStyle = v.kind === "reserved" || v.plain ? c.mute! : c[app.colours.name(v.job.repository)]!;
      ctx.beginPath();
      ctx.roundRect(x(v.from) + 0.5, 1, Math.max(2, x(s.end(v)) - x(v.from) - 1), 15, 3);
      ctx.fill();
    });
    lock.waits.between(from, s.now, (v) => {
      ctx.strokeStyle = ctx.fillStyle = c[app.colours.name(v.job.repository)]!;
      const y = 20.5 + (v.row % 3) * 5;
      ctx.lineWidth = 1.5;
      ctx.setLineDash([3, 2]);
      ctx.beginPath();
      ctx.moveTo(x(v.from), y + 1);
      ctx.lineTo(x(s.end(v)), y + 1);
      ctx.stroke();
      ctx.setLineDash([]);
      if (v.from > from) ctx.fillRect(x(v.from), y - 1.5, 2, 5);
    });
  }
  for (const canvas of root.querySelectorAll<HTMLCanvasElement>("[data-stall]")) {
    const of = canvas.dataset.stall as "memory" | "io" | "cpu";
    const { ctx, width } = fit(canvas, 26),
      span = 30 * MINUTE,
      from = s.now - span;
    ctx.fillStyle = c.line!;
    ctx.fillRect(0, 25, width, 1);
    ctx.strokeStyle = ctx.fillStyle = c.ink!;
    ctx.lineWidth = 1.4;
    let before = -Infinity;
    let path: [number, number][] = [];
    const flush = () => {
      if (path.length > 1) {
        ctx.beginPath();
        for (const [x, y] of path) ctx.lineTo(x, y);
        ctx.stroke();
        ctx.lineTo(path[path.length - 1]![0], 25);
        ctx.lineTo(path[0]![0], 25);
        ctx.globalAlpha = 0.12;
        ctx.fill();
        ctx.globalAlpha = 1;
      }
      path = [];
    };
    for (let i = s.stallPlace(from); i < s.stalls.length; i++) {
      const p = s.stalls[i]!;
      if (p[of] < 0 || p.time - before > 1.5 * MINUTE) flush();
      before = p.time;
      if (p[of] >= 0) path.push([((p.time - from) / span) * width, 24 - Math.min(1, p[of] / 100) * 23]);
    }
    flush();
  }
}
