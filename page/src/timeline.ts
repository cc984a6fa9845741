// Timeline: the picture, with the wait that is explained. It opens with an answer: the
// longest wait in view is explained until one is chosen.

import { answer } from "./answer";
import type { App } from "./app";
import type { Interval, Row, Wait } from "./data";
import { card, table } from "./details";
import { fill, fit, h, type Child } from "./dom";
import { Picture, type Strip, type View } from "./draw";
import { legend } from "./legend";
import { Overview } from "./overview";
import { DAY, HOUR, MINUTE, range, SECOND } from "./time";
import { nameOf, word } from "./words";

const MOST_SUGGESTED = 60;
const SHORTEST = 10 * SECOND; // in view
const SETTLE = 120; // ms after the last move, until what depends on the view follows

export class Timeline {
  readonly root: HTMLElement;
  private picture: Picture;
  private overview: Overview;
  private view: View = { from: 0, until: 0 };
  private ahead: number | null = null; // how far the view reaches beyond now, if it does
  private chosen: Wait | null = null;
  private byHand = false; // chosen by the reader, not by its length
  private pointed: { interval: Interval; strip: Strip } | null = null;
  private at: number | null = null; // the pointer's place
  private faded = new Set<string>();
  private frame = 0;
  private settle = 0;
  private sentence = "";

  private answer = h("div.answer", { "aria-live": "polite" });
  private spans = h("div.group", { role: "group" });
  private zooms = h("div.group", { role: "group" });
  private chips = h("div.chips", { role: "group" });
  private find = h("input.find", {
    list: "runs",
    autocomplete: "off",
    type: "search",
    maxlength: 200,
  }) as HTMLInputElement;
  private runs = h("datalist", { id: "runs" });
  private tableButton = h("button.button", { type: "button", "aria-pressed": "false" });
  private range = h("span.range", null);
  private gutter = h("div.gutter", { "aria-hidden": "true" });
  private canvas = h("canvas.picture", {
    tabindex: 0,
    role: "application",
    "aria-describedby": "keys",
    "data-key": "picture",
  }) as HTMLCanvasElement;
  private card = h("div.card.hover", { hidden: true });
  private legend = h("figcaption.legend", null);
  private keys = h("p.keys", { id: "keys" });
  private table = h("div.card.table", { hidden: true });
  private figure: HTMLElement;

  constructor(private app: App) {
    this.picture = new Picture(app.store);
    this.overview = new Overview(app, {
      view: () => this.view,
      domain: () => this.domain(),
      left: () => (this.narrow ? 0 : this.gutter.clientWidth),
      move: (from, until) => this.move(from, until),
    });
    this.figure = h(
      "figure",
      null,
      this.overview.canvas,
      h("div.lanes", null, this.gutter, this.canvas),
      this.card,
      this.legend,
    );
    this.root = h(
      "section",
      { id: "timeline", hidden: true },
      this.answer,
      h(
        "div.tools",
        { role: "toolbar" },
        this.spans,
        this.zooms,
        this.chips,
        this.find,
        this.runs,
        this.tableButton,
        this.range,
      ),
      this.figure,
      this.keys,
      this.table,
    );
    this.listen();
  }

  private get narrow() {
    return innerWidth <= 640;
  }

  // words sets all that depends on the language and on the repositories.
  words() {
    const { words: w, colours } = this.app;
    this.root.setAttribute("aria-label", w.timeline);
    this.spans.setAttribute("aria-label", w.range);
    const full = this.domain();
    const list: [number, string][] = [
      [15 * MINUTE, w.spans.m15],
      [HOUR, w.spans.h1],
      [3 * HOUR, w.spans.h3],
      [12 * HOUR, w.spans.h12],
      [DAY, w.spans.h24],
      [7 * DAY, w.spans.d7],
    ];
    const shown = list.filter(([ms], i) => i < 3 || ms < full.until - full.from);
    shown.push([0, w.spans.all]);
    fill(
      this.spans,
      ...shown.map(([ms, text]) =>
        h(
          "button",
          {
            type: "button",
            "data-ms": ms,
            "data-key": "span " + ms,
            "aria-pressed": "false",
            click: () => this.span(ms),
          },
          text,
        ),
      ),
    );
    this.zooms.setAttribute("aria-label", w.zoom);
    fill(
      this.zooms,
      h("button", { type: "button", "aria-label": w.zoomIn, "data-key": "in", click: () => this.zoom(0.6) }, "+"),
      h("button", { type: "button", "aria-label": w.zoomOut, "data-key": "out", click: () => this.zoom(1 / 0.6) }, "−"),
    );
    this.chips.setAttribute("aria-label", w.repositories);
    fill(
      this.chips,
      ...this.app.store.repositories.slice(0, 8).map((r) =>
        h(
          "button.chip",
          {
            type: "button",
            "aria-pressed": String(!this.faded.has(r)),
            "data-key": "chip " + r,
            click: (e: Event) => {
              if (!this.faded.delete(r)) this.faded.add(r);
              (e.currentTarget as Element).setAttribute("aria-pressed", String(!this.faded.has(r)));
              this.paint();
              this.later();
            },
          },
          h("i.swatch", { "css:background": colours.css(r) }),
          word(r),
        ),
      ),
    );
    this.find.placeholder = w.find;
    this.find.setAttribute("aria-label", w.find);
    fill(
      this.runs,
      ...this.app.store.waits.slice(-MOST_SUGGESTED).map((x) => h("option", { value: nameOf(x.first.job) })),
    );
    this.tableButton.textContent = w.table;
    this.canvas.setAttribute("aria-label", w.picture);
    this.canvas.setAttribute("aria-roledescription", w.pictureKind);
    const k = w.keys,
      key = (s: string) => h("kbd", null, s);
    fill(
      this.keys,
      key("←"),
      key("→"),
      key("↑"),
      key("↓"),
      ` ${k.move} · `,
      key("shift"),
      key("←"),
      key("→"),
      ` ${k.pan} · `,
      key("+"),
      key("−"),
      ` ${k.zoom} · `,
      key("0"),
      ` ${k.all} · `,
      key("enter"),
      ` ${k.why} · `,
      key("esc"),
      ` ${k.back} · `,
      key("t"),
      ` ${k.table}`,
    );
    fill(this.legend, ...legend(w.legend, colours.own[0] ? colours.css(colours.own[0]) : "var(--other)"));
  }

  // data takes in that the history has changed: what is chosen stays chosen.
  data() {
    const s = this.app.store;
    const id = this.chosen?.first.id;
    this.chosen = (id && s.intervals.get(id)?.wait) || null;
    if (!this.chosen) this.byHand = false;
    this.pointed = null;
    this.overview.forget();
    this.picture.forgetScales();
  }

  theme() {
    this.picture.forget();
    this.overview.forget();
  }

  private domain(): View {
    const s = this.app.store;
    if (!s.begin) return { from: s.now - 15 * MINUTE, until: s.now };
    return { from: Math.min(s.begin, s.now - 2 * MINUTE), until: s.now };
  }

  // open shows a moment of a link, or else the shortest of some ranges in which a job waited.
  open(link: string[]) {
    const [range, id] = link,
      s = this.app.store;
    const m = /^(\d{1,12})-(\d{1,12})$/.exec(range ?? "");
    const of = id ? s.intervals.get(decode(id)) : undefined;
    const w = of && this.waitOf(of);
    if (w) {
      this.chosen = w;
      this.byHand = true;
    }
    if (m && Number(m[1]) < Number(m[2])) this.place(Number(m[1]) * SECOND, Number(m[2]) * SECOND);
    else if (w) this.around(w);
    else if (this.view.until === 0) {
      const span =
        [3 * HOUR, 12 * HOUR, DAY, 7 * DAY].find((span) =>
          s.waits.some((w) => s.span(w).until > s.now - span && s.waited(w) > MINUTE),
        ) ?? 3 * HOUR;
      this.place(s.now - span, s.now);
    }
    this.show();
  }

  // show draws all anew.
  show() {
    if (this.root.hidden) return;
    const p = this.picture;
    p.words = this.app.words;
    p.colours = this.app.colours;
    p.palette = this.app.palette;
    p.layout(this.narrow);
    fill(
      this.gutter,
      ...p.labels.map((l) =>
        h("div." + (l.style || "plain"), { "css:top": l.y + "px", "data-stall": l.stall }, l.stall ? "" : l.text),
      ),
    );
    this.settled();
    this.draw();
  }

  // tick follows the clock: a picture that shows now goes with it, also while it is not seen.
  tick() {
    if (this.ahead === null) return;
    const until = this.app.store.now + this.ahead;
    this.place(until - (this.view.until - this.view.from), until);
    if (this.root.hidden) return;
    this.showRange();
    if (this.chosen?.last.open) this.explain();
    this.paint();
  }

  private showRange() {
    const text = range(this.view.from, this.view.until, this.app.store.now);
    if (this.range.textContent !== text) this.range.textContent = text;
  }

  // resized keeps what is in view.
  resized() {
    this.overview.forget();
    this.show();
  }

  // choose explains a wait, and shows it with all that it waited for.
  choose(w: Wait, goThere: boolean) {
    this.chosen = w;
    this.byHand = true;
    if (goThere) this.around(w);
    this.explain();
    this.paint();
    this.later();
  }

  private around(w: Wait) {
    const s = this.app.store,
      { from, until } = s.span(w),
      edge = Math.max(4 * MINUTE, (until - from) * 0.45);
    let first = from - edge;
    for (const p of this.app.explainer.explain(w).parts)
      if (p.cause) first = Math.min(first, p.cause.from - 2 * MINUTE);
    this.place(Math.max(first, from - 3 * (until - from) - edge), until + edge);
  }

  // waitOf is the wait that an interval is a piece of, or the longest that a hold caused.
  private waitOf(v: Interval): Wait | null {
    if (v.wait) return v.wait;
    const s = this.app.store;
    const lanes = v.kind === "build" ? [s.pressure] : s.locks.filter((l) => l.name === v.name).map((l) => l.waits);
    let best: Wait | null = null;
    if (v.kind === "hold" || v.kind === "reserved" || v.kind === "build") {
      for (const lane of lanes) {
        lane.between(v.from, s.end(v), (o) => {
          if (o.wait && o.from < s.end(v) && s.end(o) > v.from && (!best || s.waited(o.wait) > s.waited(best)))
            best = o.wait;
        });
      }
    }
    return best;
  }

  // The view.

  private place(from: number, until: number) {
    const full = this.domain(),
      length = full.until - full.from,
      span = Math.min(length * 1.08, Math.max(SHORTEST, until - from));
    const middle = (from + until) / 2,
      pad = span * 0.04;
    from = middle - span / 2;
    if (from + span > full.until + pad) from = full.until + pad - span;
    if (from < full.from - pad)
      from = Math.max(
        full.from - pad,
        full.until + pad - span > full.from - pad ? full.from - pad : full.until + pad - span,
      );
    this.view = { from, until: from + span };
    this.ahead = from + span >= full.until ? from + span - full.until : null;
  }

  private move(from: number, until: number) {
    this.place(from, until);
    this.paint();
    this.later();
  }

  private zoom(factor: number, around = (this.view.from + this.view.until) / 2) {
    const { from, until } = this.view;
    this.move(around - (around - from) * factor, around + (until - around) * factor);
  }

  private pan(part: number) {
    const by = (this.view.until - this.view.from) * part;
    this.move(this.view.from + by, this.view.until + by);
  }

  private span(ms: number) {
    const full = this.domain();
    if (!ms) this.move(full.from, full.until);
    else {
      const middle = Math.min(full.until - ms / 2, (this.view.from + this.view.until) / 2);
      this.move(middle - ms / 2, middle + ms / 2);
    }
  }

  private paint() {
    if (this.frame || this.root.hidden) return;
    this.frame = requestAnimationFrame(() => {
      this.frame = 0;
      this.draw();
    });
  }

  private draw() {
    const p = this.picture;
    p.view = this.view;
    const { ctx, width } = fit(this.canvas, p.height);
    p.width = width;
    if (!width) return;
    p.draw(ctx, {
      chosen: this.chosen && this.app.explainer.explain(this.chosen),
      pointed: this.pointed,
      cursor: this.at,
      faded: this.faded,
      connected: this.app.connection === "live" || this.app.connection === "file",
    });
    this.overview.draw();
    this.stallLabels();
  }

  // later does what follows the view, but not for each of its steps.
  private later() {
    clearTimeout(this.settle);
    this.settle = window.setTimeout(() => {
      this.settled();
      this.link();
    }, SETTLE);
  }

  private settled() {
    const { from, until } = this.view;
    this.showRange();
    const full = this.domain();
    for (const b of this.spans.children as HTMLCollectionOf<HTMLElement>) {
      const ms = Number(b.dataset.ms) || full.until - full.from;
      b.setAttribute(
        "aria-pressed",
        String(Math.abs(until - from - ms) < ms * 0.06 || (!Number(b.dataset.ms) && until - from > ms)),
      );
    }
    if (!this.byHand) this.chooseLongest();
    this.explain();
    if (!this.table.hidden) this.fillTable();
  }

  private chooseLongest() {
    const s = this.app.store;
    let best: Wait | null = null,
      most = SECOND - 1;
    for (const w of s.waits) {
      if (w.first.from > this.view.until || s.end(w.last) < this.view.from || this.faded.has(w.first.job.repository))
        continue;
      const ms = s.waited(w);
      if (ms > most) [best, most] = [w, ms];
    }
    if (best !== this.chosen) {
      this.chosen = best;
      this.paint();
    }
  }

  private link() {
    if (this.root.hidden) return;
    const { from, until } = this.view,
      id = this.byHand && this.chosen ? "/" + encodeURIComponent(this.chosen.first.id) : "";
    history.replaceState(null, "", `#timeline/${Math.round(from / SECOND)}-${Math.round(until / SECOND)}${id}`);
  }

  // The answer.

  private explain() {
    const { words: w, store: s } = this.app;
    if (!this.chosen) {
      const unwatched = s.gaps.some((g) => g.from <= this.view.from && g.until >= this.view.until);
      this.replaceAnswer(unwatched ? w.watchedNothing : w.nobodyHadToWait, () => [
        h("p.question", null, unwatched ? w.legend.gap : w.noneInView),
        h("h1.sentence.last", null, unwatched ? w.watchedNothing : w.nobodyHadToWait),
      ]);
      return;
    }
    const e = this.app.explainer.explain(this.chosen),
      text = w.sentence(e);
    this.replaceAnswer(text + this.byHand + this.narrow, () =>
      answer(
        this.app,
        e,
        this.picture.drawable(e).filter((p) => p.number > 0),
        text,
        {
          byHand: this.byHand,
          narrow: this.narrow,
          go: (part) => {
            const edge = (part.until - part.from) * 0.6 + 2 * MINUTE;
            this.move(part.from - edge, part.until + edge);
          },
          link: () => {
            this.byHand = true;
            this.link();
            return location.href;
          },
        },
      ),
    );
  }

  private replaceAnswer(key: string, make: () => Child[]) {
    key = this.app.words.lang + key;
    if (key === this.sentence) return;
    this.sentence = key;
    fill(this.answer, ...make());
  }

  // The pointer's card.

  private point(to: { interval: Interval; strip: Strip } | null, x: number) {
    this.pointed = to;
    this.card.hidden = !to;
    if (!to) return;
    fill(this.card, ...card(this.app, to.interval));
    const figure = this.figure.getBoundingClientRect(),
      canvas = this.canvas.getBoundingClientRect();
    const left = canvas.left - figure.left + x,
      top = canvas.top - figure.top + to.strip.y;
    const { offsetWidth: width, offsetHeight: height } = this.card;
    const beside = left + 14 + width > figure.width - 8 ? left - width - 14 : left + 14;
    const below = top + to.strip.height + 8;
    this.card.style.left = Math.max(8, Math.min(beside, figure.width - width - 8)) + "px";
    this.card.style.top = (below + height > figure.height - 4 ? Math.max(4, top - height - 8) : below) + "px";
  }

  private stallLabels() {
    const { store: s, words: w } = this.app,
      sample = s.stall(this.at === null ? s.now : this.picture.time(this.at));
    for (const e of this.gutter.querySelectorAll<HTMLElement>("[data-stall]")) {
      const of = e.dataset.stall as "memory" | "io" | "cpu",
        value = sample && sample[of] >= 0 ? `${sample[of]} %` : "–";
      const text = `${w.stallOf(w[of])} ${value}`;
      if (e.textContent !== text) e.textContent = text;
    }
  }

  // The table has all that the picture has, in words.

  private toggleTable() {
    this.table.hidden = !this.table.hidden;
    this.tableButton.setAttribute("aria-pressed", String(!this.table.hidden));
    if (!this.table.hidden) this.fillTable();
  }

  private fillTable() {
    fill(this.table, ...table(this.app, this.view, this.faded, this.range.textContent ?? ""));
  }

  // What the reader does.

  private listen() {
    const c = this.canvas,
      fingers = new Map<number, PointerEvent>();
    let drag: { x: number; view: View; moved: number; apart?: number } | null = null;
    const begin = () => {
      const [a, b] = [...fingers.values()];
      drag = !a
        ? null
        : b
          ? {
              x: (a.offsetX + b.offsetX) / 2,
              view: this.view,
              moved: Infinity,
              apart: Math.max(1, Math.abs(a.offsetX - b.offsetX)),
            }
          : { x: a.offsetX, view: this.view, moved: drag ? Infinity : 0 };
    };
    c.addEventListener("pointerdown", (e) => {
      c.setPointerCapture(e.pointerId);
      fingers.set(e.pointerId, e);
      begin();
    });
    c.addEventListener("pointermove", (e) => {
      if (fingers.has(e.pointerId)) fingers.set(e.pointerId, e);
      if (!drag) {
        this.at = e.offsetX;
        this.point(this.picture.hit(e.offsetX, e.offsetY), e.offsetX);
        this.paint();
        return;
      }
      const { view } = drag,
        perPixel = (view.until - view.from) / this.picture.width;
      const [a, b] = [...fingers.values()];
      if (a && b && drag.apart) {
        const factor = drag.apart / Math.max(1, Math.abs(a.offsetX - b.offsetX)),
          x = (a.offsetX + b.offsetX) / 2;
        const under = view.from + drag.x * perPixel;
        this.move(under - x * perPixel * factor, under + (this.picture.width - x) * perPixel * factor);
        return;
      }
      const by = e.offsetX - drag.x;
      drag.moved = Math.max(drag.moved, Math.abs(by));
      if (drag.moved <= 3) return;
      c.classList.add("dragged");
      this.leave();
      this.move(view.from - by * perPixel, view.until - by * perPixel);
    });
    const up = (e: PointerEvent) => {
      fingers.delete(e.pointerId);
      if (drag && drag.moved <= 3 && e.type === "pointerup") {
        const hit = this.picture.hit(e.offsetX, e.offsetY);
        this.point(hit, e.offsetX);
        const w = hit && this.waitOf(hit.interval);
        if (w) this.choose(w, false);
        this.paint();
      }
      begin();
      if (!drag) c.classList.remove("dragged");
    };
    c.addEventListener("pointerup", up);
    c.addEventListener("pointercancel", up);
    c.addEventListener("pointerleave", () => {
      if (fingers.size) return;
      this.leave();
      this.paint();
    });
    c.addEventListener("dblclick", (e) => {
      const v = this.picture.hit(e.offsetX, e.offsetY)?.interval;
      if (!v) return;
      const edge = (this.app.store.end(v) - v.from) * 0.5 + MINUTE;
      this.move(v.from - edge, this.app.store.end(v) + edge);
    });
    c.addEventListener(
      "wheel",
      (e) => {
        const pan = Math.abs(e.deltaX) > Math.abs(e.deltaY) || e.shiftKey;
        // Without the focus a wheel scrolls the page, as everywhere.
        if (!pan && !e.ctrlKey && !e.metaKey && document.activeElement !== c) return;
        e.preventDefault();
        if (pan) this.pan((e.deltaX || e.deltaY) / this.picture.width);
        else this.zoom(Math.exp(Math.max(-60, Math.min(60, e.deltaY)) * 0.006), this.picture.time(e.offsetX));
      },
      { passive: false },
    );
    c.addEventListener("keydown", (e) => {
      if (e.ctrlKey || e.metaKey || e.altKey) return;
      if (this.key(e.key, e.shiftKey)) e.preventDefault();
    });
    this.root.addEventListener("keydown", (e) => {
      if (e.key === "t" && !e.ctrlKey && !e.metaKey && !e.altKey && e.target !== this.find && e.target !== c)
        this.toggleTable();
    });
    c.addEventListener("blur", () => {
      this.leave();
      this.paint();
    });
    this.tableButton.addEventListener("click", () => this.toggleTable());
    this.find.addEventListener("change", () => this.findRun(this.find.value));
  }

  private leave() {
    this.at = null;
    this.point(null, 0);
  }

  private key(key: string, shift: boolean): boolean {
    switch (key) {
      case "+":
      case "=":
        this.zoom(0.6);
        return true;
      case "-":
      case "_":
        this.zoom(1 / 0.6);
        return true;
      case "0":
        this.span(0);
        return true;
      case "ArrowLeft":
      case "ArrowRight": {
        const by = key === "ArrowLeft" ? -1 : 1;
        if (shift) this.pan(by * 0.2);
        else this.step(by);
        return true;
      }
      case "ArrowUp":
      case "ArrowDown":
        this.lane(key === "ArrowUp" ? -1 : 1);
        return true;
      case "Enter": {
        const w = this.pointed && this.waitOf(this.pointed.interval);
        if (w) {
          this.choose(w, false);
          this.app.say(this.app.words.sentence(this.app.explainer.explain(w)));
        }
        return true;
      }
      case "Escape":
        this.leave();
        this.byHand = false;
        this.chooseLongest();
        this.explain();
        this.paint();
        this.later();
        return true;
      case "t":
        this.toggleTable();
        return true;
    }
    return false;
  }

  private step(by: number) {
    if (!this.pointed) return this.lane(0);
    const { interval, strip } = this.pointed,
      row = strip.row!;
    const next = row.list[this.picture.placeIn(row, interval) + by];
    if (next) this.goTo(next, strip);
  }

  private lane(by: number) {
    const strips = this.picture.strips.filter((s) => s.row?.list.length);
    if (!strips.length) return;
    const s = this.app.store,
      from = this.pointed?.interval;
    const i = from ? Math.max(0, Math.min(strips.length - 1, strips.indexOf(this.pointed!.strip) + by)) : 0;
    const middle = from ? (from.from + s.end(from)) / 2 : (this.view.from + this.view.until) / 2;
    const strip = strips[i]!;
    this.goTo(
      nearest(strip.row!, middle, (v) => s.end(v)),
      strip,
    );
  }

  private goTo(v: Interval, strip: Strip) {
    const s = this.app.store,
      { from, until } = this.view,
      middle = (v.from + s.end(v)) / 2;
    if (v.from < from || s.end(v) > until) this.move(middle - (until - from) / 2, middle + (until - from) / 2);
    this.picture.view = this.view;
    this.point({ interval: v, strip }, Math.max(0, Math.min(this.picture.width, this.picture.x(middle))));
    const lines = [...this.card.children].map((e) =>
      [...e.childNodes]
        .map((n) => n.textContent)
        .filter(Boolean)
        .join(" "),
    );
    this.app.say(lines.join(", "));
    this.paint();
  }

  private findRun(text: string) {
    const number = /#?(\S+)\s*$/.exec(text)?.[1]?.replace(/^#/, "");
    const words = text
      .replace(/#?\S+\s*$/, "")
      .toLowerCase()
      .split(/\s+/)
      .filter(Boolean);
    const s = this.app.store;
    const found = s.waits
      .filter((w) => {
        const name = nameOf(w.first.job).toLowerCase();
        return word(w.first.job.run) === number && words.every((x) => name.includes(x));
      })
      .sort((a, b) => s.waited(b) - s.waited(a))[0];
    if (found) this.choose(found, true);
    else if (text.trim()) this.find.setCustomValidity(this.app.words.notFound);
    if (found || !text.trim()) this.find.setCustomValidity("");
    this.find.reportValidity();
  }
}

function nearest(row: Row, at: number, end: (v: Interval) => number): Interval {
  const i = row.first(at),
    away = (v: Interval) => (at < v.from ? v.from - at : Math.max(0, at - end(v)));
  let best = row.list[Math.min(i, row.list.length - 1)]!;
  for (let j = Math.max(0, i - 1); j < Math.min(row.list.length, i + 2); j++) {
    if (away(row.list[j]!) < away(best)) best = row.list[j]!;
  }
  return best;
}

function decode(part: string): string {
  try {
    return decodeURIComponent(part);
  } catch {
    return "";
  }
}
