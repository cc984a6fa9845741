// Why a job waited: what was in the way, in the order in which it was, as history.Explain has
// it. The parts of a wait add up to it.

import type { Interval, Lane, Lock, Store, Wait } from "./data";
import { DAY } from "./time";
import type { Answer, Part } from "./words";

// A part also has what it is in the picture.
export interface Piece extends Part {
  cause?: Interval;
  of: Interval; // the piece of the wait in which it is
}

export interface Explained extends Answer {
  wait: Wait;
  parts: Piece[];
}

// A wait for the same holder over a shorter pause is one part.
const SHORT = 3000;

const NOBODY = { repository: "", job: "", run: "", person: "" };

export class Explainer {
  private known = new Map<Wait, Explained>();
  private holds = new Map<string, { from: number; took: number }[]>();
  private locks = new Map<string, Lock>();

  constructor(private store: Store) {
    for (const l of store.locks) this.locks.set(l.name, l);
  }

  explain(wait: Wait): Explained {
    const known = this.known.get(wait);
    if (known) return known;
    const parts: Piece[] = [];
    for (const piece of wait.pieces) {
      const lane = piece.kind === "wait" ? this.locks.get(piece.name)?.holds : this.store.builds;
      parts.push(...this.partsOf(piece, lane));
    }
    const s = this.store, { from, until } = s.span(wait);
    const total = parts.reduce((sum, p) => sum + p.time, 0);
    const gap = s.gaps.find((g) => g.from <= until + SHORT && g.until > until);
    const e: Explained = {
      wait, host: s.name, who: wait.first.job, total, open: wait.last.open, end: wait.last.end, from, until,
      watchedAgain: wait.last.end === "unseen" && gap ? gap.until : 0, parts: merge(parts),
    };
    if (!e.open) this.known.set(wait, e);
    return e;
  }

  // partsOf goes through a piece of a wait: each moment of it has the cause that goes on
  // longest, and a moment without one goes to the part before, since it is the hand-off.
  private partsOf(of: Interval, lane: Lane | undefined): Piece[] {
    const until = this.store.end(of);
    const found: Interval[] = [];
    lane?.between(of.from, until, (v) => {
      if (v.job !== of.job && this.store.end(v) > of.from && v.from < until) found.push(v);
    });
    found.sort((a, b) => a.from - b.from);
    const parts: Piece[] = [];
    let at = of.from, i = 0;
    while (at < until) {
      let cause: Interval | undefined;
      for (; i < found.length && found[i]!.from <= at; i++) {
        // The best of those that began is found below.
      }
      for (let j = 0; j < i; j++) {
        const v = found[j]!;
        if (this.store.end(v) > at && (!cause || this.store.end(v) > this.store.end(cause))) cause = v;
      }
      const next = i < found.length ? found[i]!.from : until;
      const end = Math.min(until, cause ? this.store.end(cause) : next);
      const before = parts[parts.length - 1];
      if (cause) parts.push(this.part(of, cause, at, end));
      else if (before && end - at <= SHORT) {
        before.until = end;
        before.time += end - at;
      } else parts.push(...this.without(of, at, end));
      at = end;
    }
    return parts;
  }

  private part(of: Interval, v: Interval, from: number, until: number): Piece {
    return {
      kind: v.kind, name: v.name, who: v.job, what: v.kind === "build" ? "" : v.what, plain: v.plain, end: v.end,
      evidence: v.evidence, from, until, time: until - from, held: this.store.end(v) - v.from,
      usual: v.kind === "hold" ? this.usual(v) : 0, cause: v, of,
    };
  }

  // without is a time without a known cause: nobody watched, or nobody was seen.
  private without(of: Interval, from: number, until: number): Piece[] {
    const part = (kind: Part["kind"], from: number, until: number): Piece => ({
      kind, name: "", who: NOBODY, what: "", plain: false, end: "", evidence: "", from, until, time: until - from,
      held: 0, usual: 0, of,
    });
    const parts: Piece[] = [];
    const unseen = of.kind === "pressure" ? "build" : "";
    let at = from;
    for (const g of this.store.gaps) {
      const a = Math.max(at, g.from), b = Math.min(until, g.until);
      if (b <= a) continue;
      if (a > at) parts.push(part(unseen, at, a));
      parts.push(part("unwatched", a, b));
      at = b;
    }
    if (at < until) parts.push(part(unseen, at, until));
    return parts;
  }

  // usual is how long holds of the same lock, repository and job usually last: the median of
  // 30 days, from 5 holds on.
  usual(v: Interval): number {
    if (v.plain || !v.job.repository) return 0;
    const key = JSON.stringify([v.name, v.job.repository, v.job.job]);
    if (!this.holds.size) {
      for (const lock of this.store.locks) {
        for (const row of lock.holds.rows) {
          for (const o of row.list) {
            if (o.kind !== "hold" || o.end !== "released" || o.plain) continue;
            const k = JSON.stringify([o.name, o.job.repository, o.job.job]);
            const list = this.holds.get(k) ?? [];
            if (!list.length) this.holds.set(k, list);
            list.push({ from: o.from, took: o.until - o.from });
          }
        }
      }
    }
    const end = this.store.now;
    const recent = (this.holds.get(key) ?? []).filter((o) => o.from > end - 30 * DAY).map((o) => o.took);
    if (recent.length < 5) return 0;
    recent.sort((a, b) => a - b);
    return recent[(recent.length - 1) >> 1]!;
  }
}

// merge joins parts of one cause that follow each other.
function merge(parts: Piece[]): Piece[] {
  const merged: Piece[] = [];
  for (const p of parts) {
    const last = merged[merged.length - 1];
    if (last && last.cause === p.cause && last.kind === p.kind && last.of === p.of) {
      last.until = p.until;
      last.time += p.time;
    } else merged.push({ ...p });
  }
  return merged;
}

