// The picture: lanes of bars on a canvas, in the order of cause. Shape says what a bar is,
// and colour whose: docs/page.md has the legend.

import type { Colours, Palette } from "./colour";
import { SPARSE, type Interval, type Lock, type Row, type Store } from "./data";
import type { Explained, Piece } from "./explain";
import { clock, ticks } from "./time";
import { clean, shortName, units, type Words } from "./words";

export interface View {
  from: number;
  until: number;
}

// Numbered is a part of an answer, with its number there and its place among all.
export interface Numbered {
  part: Piece;
  place: number;
  number: number;
}

type Shape = "hold" | "wait" | "build" | "stall" | "runner";
export type Stalled = "memory" | "io" | "cpu";

// Strip is a row in the picture.
export interface Strip {
  shape: Shape;
  y: number;
  height: number;
  row?: Row;
  lock?: Lock;
  stall?: Stalled;
}

export interface Label {
  y: number;
  text: string;
  style: "title" | "" | "sub";
  stall?: Stalled;
}

// What is on the picture besides the history.
export interface Shown {
  chosen: Explained | null;
  pointed: { interval: Interval; strip: Strip } | null;
  cursor: number | null;
  faded: Set<string>; // repositories
  connected: boolean;
}

const HEAD = 24; // the axis
const MOST_LOCKS = 12,
  MOST_RUNNERS = 8;
const FONT = 'system-ui,"Noto Sans CJK TC","PingFang TC","Microsoft JhengHei",sans-serif';
const PLAIN = "12px " + FONT,
  SMALL = "11.5px " + FONT,
  BOLD = "600 12px " + FONT;
const THIN = 2.5; // pixels: a bar below that is part of a run of columns
const MOST_PER_COLUMN = 3;

export class Picture {
  width = 0;
  height = 0;
  strips: Strip[] = [];
  labels: Label[] = [];
  view: View = { from: 0, until: 1 };
  colours!: Colours;
  words!: Words;
  palette!: Palette;
  private lanes: { lock: Lock; y: number; height: number }[] = [];
  private separators: number[] = [];
  private ctx!: CanvasRenderingContext2D;
  private patterns = new Map<string, CanvasPattern>();
  private widths = new Map<string, number>();
  private shown!: Shown;
  private lit = new Set<Interval>();

  constructor(private store: Store) {}

  forget() {
    this.patterns.clear();
  }

  // layout gives each row of the history its place. Where it is narrow, the names of lanes
  // have a line of their own.
  layout(narrow: boolean) {
    const w = this.words,
      s = this.store;
    this.strips = [];
    this.labels = [];
    this.lanes = [];
    this.separators = [];
    const title = narrow ? 20 : 0;
    let y = HEAD + 4;
    const label = (at: number, text: string, style: Label["style"], stall?: Stalled) =>
      this.labels.push({ y: at, text, style, ...(stall ? { stall } : {}) });
    const heading = (text: string, offset: number, style: Label["style"] = "title") => {
      label(narrow ? y + 2 : y + offset, text, style);
      y += title;
    };
    for (const lock of s.locks.slice(0, MOST_LOCKS)) {
      heading(clean(lock.name), 4);
      const top = y;
      for (const row of lock.holds.rows.length ? lock.holds.rows : [undefined]) {
        this.strips.push({ shape: "hold", y, height: 24, lock, ...(row ? { row } : {}) });
        y += 28;
      }
      if (!narrow) label(y - 1, w.waitsRow, "sub");
      for (const row of lock.waits.rows.length ? lock.waits.rows : [undefined]) {
        this.strips.push({ shape: "wait", y, height: 14, lock, ...(row ? { row } : {}) });
        y += 17;
      }
      this.lanes.push({ lock, y: top - 3, height: y - top + 3 });
      this.separators.push(y + 3);
      y += 10;
    }
    if (s.locks.length > MOST_LOCKS) {
      label(y - 3, w.moreLocks(s.locks.length - MOST_LOCKS), "");
      y += 20;
    }
    heading(w.builds, -3);
    for (const row of s.builds.rows.length ? s.builds.rows : [undefined]) {
      this.strips.push({ shape: "build", y, height: 10, ...(row ? { row } : {}) });
      y += 13;
    }
    y += 3;
    if (!narrow) label(y - 1, w.waitingForEnd, "sub");
    for (const row of s.pressure.rows.length ? s.pressure.rows : [undefined]) {
      this.strips.push({ shape: "wait", y, height: 14, ...(row ? { row } : {}) });
      y += 17;
    }
    this.separators.push(y + 3);
    y += 12;
    if (s.stalls.length) {
      for (const stall of ["memory", "io", "cpu"] as const) {
        label(narrow ? y + 2 : y + 14, w[stall], "", stall);
        y += title;
        this.strips.push({ shape: "stall", y, height: 34, stall });
        y += 44;
      }
      this.separators.push(y - 4);
    }
    y += 4;
    const runners = [...s.runners];
    for (const [name, row] of runners.slice(0, MOST_RUNNERS)) {
      heading(clean(name), -2, "");
      this.strips.push({ shape: "runner", y, height: 12, row });
      y += 20;
    }
    if (runners.length > MOST_RUNNERS) {
      label(y - 3, w.moreRunners(runners.length - MOST_RUNNERS), "");
      y += 20;
    }
    this.height = y + 2;
  }

  x(at: number): number {
    return ((at - this.view.from) / (this.view.until - this.view.from)) * this.width;
  }

  time(x: number): number {
    return this.view.from + (x / this.width) * (this.view.until - this.view.from);
  }

  draw(ctx: CanvasRenderingContext2D, shown: Shown) {
    this.ctx = ctx;
    this.shown = shown;
    this.lit = new Set(
      shown.chosen
        ? [...shown.chosen.wait.pieces, ...shown.chosen.parts.flatMap((p) => (p.cause ? [p.cause] : []))]
        : [],
    );
    const c = this.palette;
    this.axis();
    ctx.fillStyle = c.line!;
    for (const y of this.separators) ctx.fillRect(0, y, this.width, 1);
    this.unwatched();
    const now = this.x(this.store.now);
    if (now >= 0 && now <= this.width) {
      ctx.strokeStyle = shown.connected ? c.ink! : c.alarm!;
      ctx.setLineDash([2, 3]);
      this.vertical(now);
      ctx.setLineDash([]);
    }
    const chain = this.drawable(shown.chosen);
    for (const p of chain) this.connect(p);
    for (const strip of this.strips) {
      if (strip.stall) this.curve(strip, strip.stall);
      else if (strip.row) this.bars(strip, strip.row);
    }
    if (shown.chosen) this.outline(shown.chosen, chain);
    if (shown.pointed) this.frame(shown.pointed.interval, shown.pointed.strip);
    if (shown.cursor !== null) this.cursor(shown.cursor);
  }

  // drawable are the parts of an answer that are drawn one by one: of very many only the
  // longest, so that a wait of weeks costs no more than another. Parts of less than a unit
  // have no number, here and in the answer.
  drawable(e: Explained | null): Numbered[] {
    if (!e) return [];
    const whole = units(
      e.total,
      e.parts.map((p) => p.time),
    );
    let number = 0;
    const all = e.parts.map((part, place) => ({ part, place, number: whole[place]! > 0 ? ++number : 0 }));
    return all.length <= 200 ? all : all.sort((a, b) => b.part.time - a.part.time).slice(0, 200);
  }

  private axis() {
    const { ctx, palette: c } = this;
    ctx.font = PLAIN;
    ctx.textBaseline = "middle";
    ctx.textAlign = "center";
    const marks = ticks(this.view.from, this.view.until, this.width / (this.width < 500 ? 64 : 92));
    ctx.fillStyle = c.line!;
    for (const t of marks) ctx.fillRect(Math.round(this.x(t.at)), HEAD, 1, this.height);
    for (const t of marks) {
      const x = this.x(t.at);
      ctx.font = t.strong ? BOLD : PLAIN;
      const half = this.measure(t.label) / 2;
      if (x - half < 2 || x + half > this.width - 2) continue;
      ctx.fillStyle = t.strong ? c.ink! : c.mute!;
      ctx.fillText(t.label, x, 13);
    }
    ctx.textAlign = "left";
    ctx.font = PLAIN;
    ctx.fillStyle = c.strong!;
    ctx.fillRect(0, HEAD, this.width, 1);
  }

  private unwatched() {
    const { ctx, palette: c } = this;
    for (const g of this.store.gaps) {
      if (g.until < this.view.from || g.from > this.view.until) continue;
      const x = Math.max(0, this.x(g.from)),
        width = Math.max(1.5, Math.min(this.width, this.x(g.until)) - x);
      ctx.fillStyle = this.pattern("hatch", c.strong!);
      ctx.fillRect(x, HEAD + 1, width, this.height);
      const text = this.words.legend.gap,
        room = this.measure(text) + 16;
      if (width > room + 8) this.plate(text, x + (width - room) / 2 + 8, HEAD + 21, c.mute!);
    }
  }

  // bars draws a row. Bars that are hardly seen become runs of pixel columns per colour, and
  // of those in one column only the first few are looked at: 90 days cost as much as one.
  private bars(strip: Strip, row: Row) {
    const { view, width } = this;
    const perPixel = (view.until - view.from) / width;
    const runs: { colour: string; alpha: number; columns: number[] }[] = []; // few
    const list = row.list;
    let column = NaN,
      inColumn = 0;
    for (let i = row.first(view.from); i < list.length; i++) {
      const v = list[i]!;
      if (v.from > view.until) break;
      const from = this.x(v.from),
        until = this.x(this.store.end(v));
      if (until < 0) continue;
      if (until - from >= THIN || strip.shape === "runner" || v.kind === "reserved") {
        this.bar(strip, v, from, until);
        continue;
      }
      const first = Math.floor(from);
      if (first === column) {
        if (++inColumn > MOST_PER_COLUMN) {
          i = this.after(list, i, view.from + (column + 1) * perPixel) - 1;
          continue;
        }
      } else {
        column = first;
        inColumn = 1;
      }
      const colour = this.colourOf(v),
        alpha = this.alpha(v);
      let run = runs.find((r) => r.colour === colour && r.alpha === alpha);
      if (!run) runs.push((run = { colour, alpha, columns: [] }));
      const end = Math.max(first + 1, Math.round(until)),
        last = run.columns.length - 1;
      if (last > 0 && first <= run.columns[last]!) run.columns[last] = Math.max(end, run.columns[last]!);
      else run.columns.push(first, end);
    }
    const { ctx } = this,
      inset = strip.shape === "wait" ? 1 : 0;
    for (const run of runs) {
      ctx.globalAlpha = run.alpha * (inset ? 0.7 : 1);
      ctx.fillStyle = run.colour;
      for (let i = 0; i < run.columns.length; i += 2) {
        ctx.fillRect(run.columns[i]!, strip.y + inset, run.columns[i + 1]! - run.columns[i]!, strip.height - 2 * inset);
      }
    }
    ctx.globalAlpha = 1;
    if (strip.shape === "hold") this.takeovers(strip, row);
  }

  // after is the place of the first interval after i that begins at a time or later.
  private after(list: Interval[], i: number, at: number): number {
    let step = 1;
    while (i + step < list.length && list[i + step]!.from < at) step *= 2;
    let low = i + 1,
      high = Math.min(list.length, i + step);
    while (low < high) {
      const middle = (low + high) >> 1;
      if (list[middle]!.from < at) low = middle + 1;
      else high = middle;
    }
    return low;
  }

  private colourOf(v: Interval): string {
    const c = this.palette;
    if (v.kind === "build") return c["amber-fill"]!;
    if (v.kind === "pressure") return c.amber!;
    return v.plain ? c.mute! : c[this.colours.name(v.job.repository)]!;
  }

  private alpha(v: Interval): number {
    if (this.shown.faded.has(v.job.repository)) return 0.18;
    const of = v.kind === "hold" || v.kind === "wait" || v.kind === "pressure";
    return of && this.shown.chosen && !this.lit.has(v) ? 0.3 : 1;
  }

  private bar(strip: Strip, v: Interval, from: number, until: number) {
    // What is far outside is not drawn: a canvas is exact only near.
    const x = Math.max(from, -20),
      width = Math.max(1.5, Math.min(until, this.width + 20) - x);
    switch (v.kind) {
      case "hold":
        if (v.plain) this.plain(strip, x, width);
        else this.hold(strip, v, x, width);
        break;
      case "reserved":
        this.reserved(strip, v, x, width);
        break;
      case "wait":
      case "pressure":
        this.wait(strip, v, x, width, from);
        break;
      case "build":
        this.build(strip, v, x, width);
        break;
      case "runner":
        this.runner(strip, v, x, width, (from + until) / 2);
        break;
    }
    this.ctx.globalAlpha = 1;
    this.ctx.lineWidth = 1;
  }

  private hold(strip: Strip, v: Interval, x: number, width: number) {
    const { ctx, palette: c } = this,
      alpha = this.alpha(v),
      name = this.colours.name(v.job.repository);
    ctx.globalAlpha = alpha;
    ctx.fillStyle = c[name]!;
    this.round(x + 0.5, strip.y, Math.max(1.5, width - 1), strip.height, width > 8 ? 4 : 1);
    ctx.fill();
    ctx.globalAlpha = 1;
    if (width < 40) return;
    ctx.font = alpha < 0.9 ? PLAIN : BOLD;
    const left = Math.max(x, 0) + 7;
    const room = Math.min(x + width, this.width) - left - 5 - (this.lit.has(v) ? 20 : 0);
    const text = this.fit(shortName(v.job), room) || this.fit("#" + clean(v.job.run), room);
    ctx.fillStyle = alpha < 0.9 ? c.soft! : name === "pink" ? c["on-pink"]! : c["on-fill"]!;
    if (text) ctx.fillText(text, left, strip.y + 12.5);
    ctx.font = PLAIN;
  }

  private plain(strip: Strip, x: number, width: number) {
    const { ctx, palette: c } = this;
    ctx.fillStyle = c.surface!;
    this.round(x + 0.75, strip.y + 0.75, width - 1.5, strip.height - 1.5, 4);
    ctx.fill();
    ctx.strokeStyle = c.mute!;
    ctx.lineWidth = 1.5;
    ctx.setLineDash([4, 3]);
    ctx.stroke();
    ctx.setLineDash([]);
    const left = Math.max(x, 0) + 9,
      text = this.fit(this.words.plainNetwork, Math.min(x + width, this.width) - left - 7);
    if (text) this.plate(text, left, strip.y + 12.5, c.ink!);
  }

  private reserved(strip: Strip, v: Interval, x: number, width: number) {
    const { ctx, palette: c } = this;
    const lane = this.lanes.find((l) => l.lock === strip.lock);
    if (!lane) return;
    ctx.fillStyle = this.pattern("stripe", c.sunk!);
    ctx.fillRect(x, lane.y, width, lane.height);
    ctx.strokeStyle = c.mute!;
    ctx.strokeRect(Math.round(x) + 0.5, lane.y + 0.5, Math.max(1, Math.round(width) - 1), lane.height - 1);
    const left = Math.max(x, 0) + 9,
      text = this.fit(this.words.reservation(clean(v.what)), Math.min(x + width, this.width) - left - 9);
    if (text) this.plate(text, left, strip.y + 12.5, c.ink!);
  }

  private wait(strip: Strip, v: Interval, x: number, width: number, from: number) {
    const { ctx, palette: c } = this,
      { y, height } = strip,
      alpha = this.alpha(v),
      colour = this.colourOf(v);
    const left = x + 0.75,
      inner = Math.max(1.5, width - 1.5);
    ctx.fillStyle = c.surface!;
    ctx.fillRect(left, y, inner, height);
    ctx.globalAlpha = alpha * (v.kind === "pressure" ? 0.8 : 0.5);
    ctx.fillStyle = this.pattern(v.kind === "pressure" ? "dots" : "hatch", colour);
    ctx.fillRect(left, y, inner, height);
    ctx.globalAlpha = alpha < 1 ? Math.min(1, alpha + 0.25) : 1;
    ctx.strokeStyle = ctx.fillStyle = colour;
    ctx.lineWidth = 1.5;
    ctx.strokeRect(left, y + 0.75, inner, height - 1.5);
    ctx.fillRect(from, y, 3, height);
    ctx.globalAlpha = 1;
    ctx.font = SMALL;
    const at = Math.max(left, 0) + 8,
      took = this.words.duration(this.store.end(v) - v.from);
    const room = Math.min(left + inner, this.width) - at - 6 - (v.kind === "pressure" && this.lit.has(v) ? 18 : 0);
    const text = this.fit(`${shortName(v.job)} · ${took}`, room) || this.fit(took, room);
    if (text) {
      ctx.fillStyle = c.surface!;
      ctx.fillRect(at - 3, y + 2, this.measure(text) + 6, height - 4);
      ctx.fillStyle = alpha < 1 ? c.mute! : c.ink!;
      ctx.fillText(text, at, y + height / 2 + 0.5);
    }
    ctx.font = PLAIN;
  }

  private build(strip: Strip, v: Interval, x: number, width: number) {
    const { ctx } = this,
      { y, height } = strip,
      tip = Math.min(4, width / 3),
      end = x + width;
    ctx.globalAlpha = this.alpha(v);
    ctx.fillStyle = this.colourOf(v);
    ctx.beginPath();
    ctx.moveTo(x, y + height / 2);
    for (const [px, py] of [
      [x + tip, y],
      [end - tip, y],
      [end, y + height / 2],
      [end - tip, y + height],
      [x + tip, y + height],
    ]) {
      ctx.lineTo(px!, py!);
    }
    ctx.fill();
  }

  private runner(strip: Strip, v: Interval, x: number, width: number, middle: number) {
    const { ctx, palette: c } = this,
      y = strip.y + 6,
      state = v.open ? v.end || "up" : v.end === "unseen" ? "up" : v.end;
    if (state === "up") {
      ctx.fillStyle = c.ok!;
      ctx.fillRect(x, y - 1.5, width, 3);
    } else if (state === "stopped") {
      ctx.strokeStyle = c.alarm!;
      ctx.lineWidth = 2;
      this.cross(width > 40 ? Math.max(8, x + 6) : middle, y, 4);
      if (width > 40) {
        ctx.lineWidth = 1;
        ctx.setLineDash([1, 5]);
        this.horizontal(Math.max(x, 0) + 14, x + width, y);
      }
    } else {
      ctx.strokeStyle = c.mute!;
      ctx.lineWidth = state === "draining" ? 3 : 1.5;
      ctx.setLineDash(state === "draining" ? [6, 3] : [2, 4]);
      this.horizontal(x, x + width, y);
    }
    ctx.setLineDash([]);
    const text = state === "up" ? "" : this.words.runnerState(clean(state)),
      left = Math.max(x, 0) + (state === "stopped" ? 16 : 10);
    if (text && x + width - left > this.measure(text) + 12) this.plate(text, left, y + 0.5, c.mute!);
  }

  private takeovers(strip: Strip, row: Row) {
    const { ctx, palette: c } = this;
    let last = -Infinity;
    row.between(this.view.from, this.view.until, (v) => {
      const x = this.x(v.until);
      if (v.end !== "taken over" || x > this.width + 8 || x - last < 5) return;
      last = x;
      const y = strip.y + 12;
      ctx.strokeStyle = c.surface!;
      ctx.lineWidth = 4;
      this.diamond(x, y, 8);
      ctx.stroke();
      ctx.fillStyle = c.alarm!;
      ctx.fill();
      ctx.lineWidth = 1.8;
      this.cross(x, y, 2.6);
      ctx.lineWidth = 1;
    });
  }

  // A part of the chosen wait is joined with that of its cause, behind the bars.
  private connect({ part }: { part: Piece }) {
    const { ctx, palette: c } = this,
      ends = this.clip(part.from, part.until);
    const upper = part.cause && this.stripOf(part.cause),
      lower = this.stripOf(part.of);
    if (!ends || !upper || !lower) return;
    const top = Math.min(upper.y + upper.height, lower.y),
      height = lower.y - top;
    ctx.fillStyle = c.sunk!;
    ctx.fillRect(ends[0], top, ends[1] - ends[0], height);
    ctx.fillStyle = c.ink!;
    for (const x of [ends[0], ends[1] - 1.25]) ctx.fillRect(x, top, 1.25, height);
  }

  private outline(e: Explained, chain: { part: Piece; number: number }[]) {
    const { ctx, palette: c } = this;
    ctx.strokeStyle = c.ink!;
    ctx.lineWidth = 2;
    for (const v of e.wait.pieces) {
      const strip = this.stripOf(v),
        ends = this.clip(v.from, this.store.end(v));
      if (!strip || !ends) continue;
      this.round(ends[0] - 1, strip.y - 1.5, ends[1] - ends[0] + 2, strip.height + 3, 3);
      ctx.stroke();
    }
    for (const { part, number } of chain) {
      const ends = this.clip(part.from, part.until),
        lower = this.stripOf(part.of);
      const strip = (part.cause && this.stripOf(part.cause)) ?? lower;
      if (!ends || !strip) continue;
      ctx.strokeStyle = c.ink!;
      ctx.lineWidth = 2;
      if (part.cause) {
        this.round(ends[0], strip.y - 1, ends[1] - ends[0], strip.height + 2, 4);
        ctx.stroke();
      }
      const room = ends[1] - ends[0];
      if (!number || room < 13) continue;
      // The number of a heavy build is on the wait for it: its bar is too low.
      const on = strip.shape === "build" && lower ? lower : strip,
        radius = on.shape === "hold" && room >= 22 ? 8.5 : room >= 22 ? 7 : 6;
      this.number(
        number,
        room < 28 ? (ends[0] + ends[1]) / 2 : Math.min(ends[1], this.width) - 14,
        on.y + on.height / 2,
        radius,
      );
    }
    ctx.lineWidth = 1;
  }

  private number(n: number, x: number, y: number, radius: number) {
    const { ctx, palette: c } = this;
    ctx.beginPath();
    ctx.arc(x, y, radius, 0, 7);
    ctx.fillStyle = c.ink!;
    ctx.fill();
    ctx.strokeStyle = c.surface!;
    ctx.lineWidth = 1.5;
    ctx.stroke();
    ctx.fillStyle = c.surface!;
    ctx.textAlign = "center";
    ctx.font = `700 ${n > 9 ? 9 : 11}px ${FONT}`;
    ctx.fillText(String(n), x, y + 0.5);
    ctx.textAlign = "left";
    ctx.font = PLAIN;
  }

  private frame(v: Interval, strip: Strip) {
    const { ctx } = this,
      from = Math.max(this.x(v.from), -3);
    ctx.strokeStyle = this.palette.ink!;
    ctx.lineWidth = 2;
    this.round(
      from - 1.5,
      strip.y - 1.5,
      Math.max(3, Math.min(this.x(this.store.end(v)), this.width + 3) - from) + 3,
      strip.height + 3,
      4,
    );
    ctx.stroke();
    ctx.lineWidth = 1;
  }

  private cursor(x: number) {
    const { ctx, palette: c } = this;
    ctx.strokeStyle = c.mute!;
    this.vertical(x);
    const text = clock(this.time(x), true),
      width = this.measure(text) + 10;
    const left = Math.min(this.width - width - 1, Math.max(1, x - width / 2));
    ctx.fillStyle = c.ink!;
    this.round(left, 4, width, 18, 4);
    ctx.fill();
    ctx.fillStyle = c.surface!;
    ctx.fillText(text, left + 5, 13.5);
  }

  // scale is the top of a curve: each has its own, as memory stall matters when it is small.
  private scales = new Map<string, number>();

  forgetScales() {
    this.scales.clear();
  }

  private scale(of: Stalled): number {
    let top = this.scales.get(of);
    if (!top) {
      let most = 0;
      for (const s of this.store.stalls) most = Math.max(most, s[of]);
      this.scales.set(of, (top = [10, 20, 40, 60, 80].find((n) => n >= most) ?? 100));
    }
    return top;
  }

  private curve(strip: Strip, of: Stalled) {
    const { ctx, palette: c, store } = this,
      bottom = strip.y + strip.height,
      top = this.scale(of);
    ctx.fillStyle = c.line!;
    ctx.fillRect(0, bottom, this.width, 1);
    const begin = Math.max(0, store.stallPlace(this.view.from) - 1);
    const end = Math.min(store.stalls.length, store.stallPlace(this.view.until) + 1);
    // The highest of each pixel: what is short and high must be seen.
    let line: [number, number][] = [];
    const flush = () => {
      if (line.length > 1) this.area(line, bottom, of === "cpu");
      line = [];
    };
    let last = -Infinity;
    for (let i = begin; i < end; i++) {
      const s = store.stalls[i]!,
        value = s[of];
      if (value < 0 || s.time - last > SPARSE) flush(); // unknown, or nobody watched
      last = s.time;
      if (value < 0) continue;
      const x = this.x(s.time),
        y = bottom - Math.min(1, value / top) * strip.height,
        before = line[line.length - 1];
      if (before && x - before[0] < 1) before[1] = Math.min(before[1], y);
      else line.push([x, y]);
    }
    flush();
    const text = top + " %",
      width = this.measure(text);
    ctx.fillStyle = c.surface!;
    ctx.fillRect(this.width - width - 8, strip.y - 2, width + 8, 14);
    ctx.fillStyle = c.mute!;
    ctx.fillText(text, this.width - width - 4, strip.y + 5);
  }

  private area(line: [number, number][], bottom: number, dashed: boolean) {
    const { ctx, palette: c } = this;
    ctx.beginPath();
    for (const [x, y] of line) ctx.lineTo(x, y);
    ctx.strokeStyle = dashed ? c.mute! : c.ink!;
    ctx.lineWidth = 1.25;
    if (dashed) ctx.setLineDash([3, 2]);
    ctx.stroke();
    ctx.setLineDash([]);
    ctx.lineTo(line[line.length - 1]![0], bottom);
    ctx.lineTo(line[0]![0], bottom);
    ctx.globalAlpha = 0.12;
    ctx.fillStyle = c.ink!;
    ctx.fill();
    ctx.globalAlpha = 1;
    ctx.lineWidth = 1;
  }

  // hit is what a pointer is on, or near.
  hit(x: number, y: number): { interval: Interval; strip: Strip } | null {
    const strip = this.strips.find((s) => y >= s.y - 2 && y <= s.y + s.height + 2);
    if (!strip?.row) return null;
    const at = this.time(x),
      near = ((this.view.until - this.view.from) / this.width) * 3;
    let best: Interval | null = null,
      distance = Infinity;
    strip.row.between(at - near, at + near, (v) => {
      const d = at < v.from ? v.from - at : Math.max(0, at - this.store.end(v));
      if (d < distance) [best, distance] = [v, d];
    });
    return best && { interval: best, strip };
  }

  stripOf(v: Interval): Strip | undefined {
    return this.strips.find((s) => s.row?.list[this.placeIn(s.row, v)] === v);
  }

  placeIn(row: Row, v: Interval): number {
    let low = 0,
      high = row.list.length;
    while (low < high) {
      const middle = (low + high) >> 1,
        o = row.list[middle]!;
      if (o.from < v.from || (o.from === v.from && o.id < v.id)) low = middle + 1;
      else high = middle;
    }
    return low;
  }

  private clip(from: number, until: number): [number, number] | null {
    const a = Math.max(this.x(from), -6),
      b = Math.min(this.x(until), this.width + 6);
    return b > a ? [a, b] : null;
  }

  private measure(text: string): number {
    const key = this.ctx.font + text;
    let width = this.widths.get(key);
    if (width === undefined) {
      if (this.widths.size > 20_000) this.widths.clear();
      this.widths.set(key, (width = this.ctx.measureText(text).width));
    }
    return width;
  }

  // fit is as much of a text as there is room for, or nothing if that says nothing.
  private fit(text: string, room: number): string {
    if (room < 14 || !text) return "";
    const width = this.measure(text);
    if (width <= room) return text;
    if (room < 44) return "";
    const n = Math.floor((text.length * room) / width) - 1;
    return n < 4
      ? ""
      : text
          .slice(0, n)
          .replace(/[\ud800-\udbff]$/, "")
          .trimEnd() + "…";
  }

  // plate writes a text on the surface, so that no pattern is behind it.
  private plate(text: string, x: number, y: number, colour: string) {
    const { ctx } = this;
    ctx.fillStyle = this.palette.surface!;
    ctx.fillRect(x - 4, y - 9, this.measure(text) + 8, 18);
    ctx.fillStyle = colour;
    ctx.fillText(text, x, y);
  }

  private pattern(kind: "hatch" | "dots" | "stripe", colour: string): CanvasPattern {
    const key = kind + colour;
    const known = this.patterns.get(key);
    if (known) return known;
    const ratio = Math.min(3, devicePixelRatio || 1),
      size = kind === "dots" ? 5 : kind === "stripe" ? 12 : 6;
    const tile = document.createElement("canvas");
    tile.width = tile.height = Math.round(size * ratio);
    const ctx = tile.getContext("2d")!;
    ctx.scale(tile.width / size, tile.width / size);
    ctx.strokeStyle = ctx.fillStyle = colour;
    ctx.beginPath();
    if (kind === "dots") {
      ctx.arc(1.5, 1.5, 1, 0, 7);
      ctx.arc(4, 4, 1, 0, 7);
      ctx.fill();
    } else {
      ctx.lineWidth = kind === "stripe" ? 4 : 1;
      for (let i = -1; i < 2; i++) {
        ctx.moveTo(i * size - 1, size + 1);
        ctx.lineTo(i * size + size + 1, -1);
      }
      ctx.stroke();
    }
    const pattern = this.ctx.createPattern(tile, "repeat")!;
    pattern.setTransform(new DOMMatrix().scale(size / tile.width));
    this.patterns.set(key, pattern);
    return pattern;
  }

  private round(x: number, y: number, width: number, height: number, radius: number) {
    this.ctx.beginPath();
    this.ctx.roundRect(x, y, width, height, Math.min(radius, Math.abs(width) / 2));
  }

  private diamond(x: number, y: number, r: number) {
    const { ctx } = this;
    ctx.beginPath();
    ctx.moveTo(x, y - r);
    ctx.lineTo(x + r, y);
    ctx.lineTo(x, y + r);
    ctx.lineTo(x - r, y);
    ctx.closePath();
  }

  private cross(x: number, y: number, r: number) {
    const { ctx } = this;
    ctx.beginPath();
    ctx.moveTo(x - r, y - r);
    ctx.lineTo(x + r, y + r);
    ctx.moveTo(x + r, y - r);
    ctx.lineTo(x - r, y + r);
    ctx.stroke();
  }

  private horizontal(from: number, until: number, y: number) {
    this.ctx.beginPath();
    this.ctx.moveTo(from, y);
    this.ctx.lineTo(until, y);
    this.ctx.stroke();
  }

  private vertical(x: number) {
    this.ctx.beginPath();
    this.ctx.moveTo(Math.round(x) + 0.5, HEAD);
    this.ctx.lineTo(Math.round(x) + 0.5, this.height);
    this.ctx.stroke();
  }
}
