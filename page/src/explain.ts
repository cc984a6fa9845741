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

// The longest time in which a lock that others wait for changes hands, and a look and a bit.
const HAND_OFF = 5000,
  LOOK = 2000;

const NOBODY = { repository: "", job: "", run: "", person: "" };

export class Explainer {
  private known = new Map<Wait, Explained>();
  private holds = new Map<string, number[]>(); // how long, sorted
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
    const s = this.store,
      { from, until } = s.span(wait);
    const gap = s.gaps.find((g) => g.from <= until && g.until > until);
    const e: Explained = {
      wait,
      host: s.name,
      who: wait.first.job,
      total: s.waited(wait),
      open: wait.last.open,
      end: wait.last.end,
      from,
      until,
      watchedAgain: wait.last.end === "unseen" && gap ? gap.until : 0,
      parts,
    };
    if (!e.open) this.known.set(wait, e);
    return e;
  }

  // now is what a wait that goes on is for at this moment, which may have begun just now.
  now(wait: Wait): Piece | undefined {
    const of = wait.last,
      at = this.store.now,
      found: Interval[] = [];
    const lane = of.kind === "wait" ? this.locks.get(of.name)?.holds : this.store.builds;
    lane?.between(at, at, (v) => {
      if (v.open && !own(v, of, Infinity)) found.push(v);
    });
    found.sort((a, b) => a.from - b.from);
    if (found[0]) return this.part(of, found[0], found[0].from, at);
    const parts = this.explain(wait).parts;
    return parts[parts.length - 1];
  }

  // partsOf goes through a piece of a wait. Of several causes at once, as of a lock with
  // several slots, the one that ended first counts: its end let the next in.
  private partsOf(of: Interval, lane: Lane | undefined): Piece[] {
    const until = this.store.end(of),
      found: Interval[] = [];
    lane?.between(of.from, until, (v) => {
      if (!own(v, of, until) && this.store.end(v) > of.from && v.from < until) found.push(v);
    });
    found.sort((a, b) => a.from - b.from);
    const parts: Piece[] = [];
    let active: Interval[] = [];
    for (let at = of.from, i = 0; at < until;) {
      while (i < found.length && found[i]!.from <= at) active.push(found[i++]!);
      active = active.filter((v) => this.store.end(v) > at);
      let end = i < found.length ? Math.min(until, found[i]!.from) : until;
      if (active.length) {
        const first = active.reduce((a, b) => (this.store.end(b) < this.store.end(a) ? b : a));
        end = Math.min(until, this.store.end(first));
        parts.push(this.part(of, first, at, end));
      } else parts.push(...this.without(of, at, end));
      at = end;
    }
    return join(parts);
  }

  private part(of: Interval, v: Interval, from: number, until: number): Piece {
    return {
      kind: v.kind,
      name: v.name,
      who: v.job,
      what: v.kind === "build" ? "" : v.what,
      plain: v.plain,
      end: v.end,
      evidence: v.evidence,
      from,
      until,
      time: until - from,
      held: this.store.end(v) - v.from,
      usual: v.kind === "hold" ? this.usual(v) : 0,
      cause: v,
      of,
    };
  }

  // without is a time without a known cause: nobody watched, or nobody was seen.
  private without(of: Interval, from: number, until: number): Piece[] {
    const part = (kind: Part["kind"], from: number, until: number): Piece => ({
      kind,
      name: "",
      who: NOBODY,
      what: "",
      plain: false,
      end: "",
      evidence: "",
      from,
      until,
      time: until - from,
      held: 0,
      usual: 0,
      of,
    });
    const parts: Piece[] = [];
    const unseen = of.kind === "pressure" ? "build" : "";
    let at = from;
    for (const g of this.store.gaps) {
      const a = Math.max(at, g.from),
        b = Math.min(until, g.until);
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
    const key = [v.name, v.job.repository, v.job.job].join("\0");
    if (!this.holds.size) {
      const since = this.store.look - 30 * DAY;
      for (const lock of this.store.locks) {
        for (const row of lock.holds.rows) {
          for (const o of row.list) {
            if (o.kind !== "hold" || o.end !== "released" || !o.job.repository || o.until < since) continue;
            const k = [o.name, o.job.repository, o.job.job].join("\0"),
              list = this.holds.get(k);
            if (list) list.push(o.until - o.from);
            else this.holds.set(k, [o.until - o.from]);
          }
        }
      }
      for (const list of this.holds.values()) list.sort((a, b) => a - b);
    }
    const recent = this.holds.get(key) ?? [];
    if (recent.length < 5) return 0;
    return recent[(recent.length - 1) >> 1]!;
  }
}

// own reports whether what could be in the way of a wait is the same job's: the hold that it
// gets when it ends, which is seen up to a look before, and its own builds.
function own(v: Interval, of: Interval, until: number): boolean {
  const a = v.job,
    b = of.job;
  if (a !== b && (!a.run || a.run !== b.run || a.repository !== b.repository || a.job !== b.job)) return false;
  return of.kind === "pressure" ? a.repository !== "" : v.from > until - LOOK;
}

// join makes one part of those of each cause, and gives hand-offs to the cause before them,
// or after the first.
function join(parts: Piece[]): Piece[] {
  const short = (p: Piece) => !p.cause && p.kind !== "unwatched" && p.until - p.from <= HAND_OFF;
  const joined: Piece[] = [];
  let before: Piece | undefined;
  parts.forEach((p, i) => {
    const to = !short(p) ? p : (before ?? parts[i + 1] ?? p);
    const same = joined.find((j) => j.cause === to.cause && j.kind === to.kind);
    if (same) {
      same.until = p.until;
      same.time += p.time;
    } else joined.push({ ...to, from: p.from, until: p.until, time: p.time });
    before = to;
  });
  return joined.length === 1 && short(joined[0]!) ? [] : joined;
}
