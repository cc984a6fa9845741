// The overview: how many waited, over all the time, with the view as a brush.

import type { App } from "./app";
import { fit, h } from "./dom";
import type { View } from "./draw";
import { MINUTE } from "./time";

const HEIGHT = 44,
  MOST_TAKEOVERS = 40;

// Of is the picture that the overview is of.
export interface Of {
  view(): View;
  domain(): View;
  left(): number; // where the picture begins
  move(from: number, until: number): void;
}

export class Overview {
  readonly canvas = h("canvas.overview", { "aria-hidden": "true" }) as HTMLCanvasElement;
  private waiters: { image: HTMLCanvasElement; key: string } | null = null;

  constructor(
    private app: App,
    private picture: Of,
  ) {
    this.listen();
  }

  forget() {
    this.waiters = null;
  }

  draw() {
    const { palette: c, words: w } = this.app,
      { ctx, width } = fit(this.canvas, HEIGHT);
    if (!width) return;
    const left = this.picture.left(),
      room = width - left,
      full = this.picture.domain(),
      length = full.until - full.from,
      view = this.picture.view();
    const x = (at: number) => left + ((at - full.from) / length) * room;
    // The background changes with each of its pixels of time.
    const key = [width, left, c.ink, w.lang, devicePixelRatio, Math.floor(full.until / (length / room))].join();
    if (!this.waiters || this.waiters.key !== key) this.waiters = this.count(Math.max(1, Math.round(room)), left, key);
    ctx.drawImage(this.waiters.image, 0, 0, width, HEIGHT);
    const from = Math.max(left, x(view.from)),
      until = Math.min(width, Math.max(from + 4, x(view.until)));
    ctx.fillStyle = c.page!;
    ctx.globalAlpha = 0.6;
    ctx.fillRect(left, 0, from - left, HEIGHT);
    ctx.fillRect(until, 0, width - until, HEIGHT);
    ctx.globalAlpha = 1;
    ctx.strokeStyle = ctx.fillStyle = c.focus!;
    ctx.lineWidth = 2;
    ctx.strokeRect(from, 1, until - from - 1, HEIGHT - 2);
    ctx.fillRect(from - 2, 14, 4, 16);
    ctx.fillRect(until - 3, 14, 4, 16);
  }

  private count(columns: number, left: number, key: string) {
    const { store: s, palette: c, words: w } = this.app,
      full = this.picture.domain(),
      length = full.until - full.from;
    const count = new Float64Array(columns + 1),
      held = new Float64Array(columns + 1);
    const taken: number[] = [];
    for (const v of s.intervals.values()) {
      const into = v.kind === "wait" || v.kind === "pressure" ? count : v.kind === "hold" ? held : null;
      const end = s.end(v);
      if (!into || end < full.from) continue;
      if (v.end === "taken over") taken.push(v.until);
      const a = Math.max(0, Math.floor(((v.from - full.from) / length) * columns)),
        b = Math.min(columns, Math.ceil(((end - full.from) / length) * columns));
      if (a >= columns) continue;
      into[a]!++;
      into[Math.max(b, a + 1)]!--;
    }
    let most = 3;
    for (let i = 1; i < columns; i++) {
      count[i]! += count[i - 1]!;
      held[i]! += held[i - 1]!;
    }
    for (let i = 0; i < columns; i++) most = Math.max(most, count[i]!);
    const image = document.createElement("canvas"),
      ratio = Math.min(3, devicePixelRatio || 1);
    image.width = Math.round((left + columns) * ratio);
    image.height = Math.round(HEIGHT * ratio);
    const ctx = image.getContext("2d")!;
    ctx.scale(ratio, ratio);
    if (left) {
      ctx.font = "12px " + getComputedStyle(document.body).fontFamily;
      ctx.textBaseline = "middle";
      ctx.fillStyle = c.mute!;
      ctx.fillText(w.waiters, 16, 22);
    }
    ctx.fillStyle = c.strong!;
    for (let i = 0; i < columns; i++) if (held[i]! > 0) ctx.fillRect(left + i, 39, 1, 3);
    ctx.fillStyle = c.ink!;
    ctx.globalAlpha = 0.75;
    for (let i = 0; i < columns; i++) {
      const height = (count[i]! / most) * 28;
      if (height > 0) ctx.fillRect(left + i, 37 - height, 1, height);
    }
    ctx.globalAlpha = 1;
    ctx.fillStyle = c.alarm!;
    for (const at of taken.slice(-MOST_TAKEOVERS)) {
      const x = left + ((at - full.from) / length) * columns;
      ctx.beginPath();
      for (const [dx, dy] of [
        [0, -4.5],
        [4.5, 0],
        [0, 4.5],
        [-4.5, 0],
      ])
        ctx.lineTo(x + dx!, 8 + dy!);
      ctx.fill();
    }
    return { image, key };
  }

  private listen() {
    const o = this.canvas,
      p = this.picture;
    let grip: { kind: "from" | "until" | "all" | "new"; at: number; view: View } | null = null;
    const time = (x: number) => {
      const left = p.left(),
        full = p.domain();
      return full.from + ((x - left) / (o.clientWidth - left)) * (full.until - full.from);
    };
    o.addEventListener("pointerdown", (e) => {
      o.setPointerCapture(e.pointerId);
      const at = time(e.offsetX),
        near = Math.abs(time(8) - time(0)),
        { from, until } = p.view();
      const kind =
        Math.abs(at - from) < near
          ? "from"
          : Math.abs(at - until) < near
            ? "until"
            : at > from && at < until
              ? "all"
              : "new";
      grip = { kind, at, view: p.view() };
    });
    o.addEventListener("pointermove", (e) => {
      if (!grip) return;
      const at = time(e.offsetX),
        { view } = grip;
      if (grip.kind === "from") p.move(Math.min(at, view.until - MINUTE), view.until);
      else if (grip.kind === "until") p.move(view.from, Math.max(at, view.from + MINUTE));
      else if (grip.kind === "all") p.move(view.from + at - grip.at, view.until + at - grip.at);
      else if (Math.abs(at - grip.at) > MINUTE) p.move(Math.min(at, grip.at), Math.max(at, grip.at));
    });
    o.addEventListener("pointerup", (e) => {
      if (grip?.kind === "new" && Math.abs(time(e.offsetX) - grip.at) <= MINUTE) {
        const span = p.view().until - p.view().from;
        p.move(grip.at - span / 2, grip.at + span / 2);
      }
      grip = null;
    });
    o.addEventListener("pointercancel", () => (grip = null));
  }
}
