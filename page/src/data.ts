// What the page knows: documents are decoded, merged by the intervals' IDs, and kept in rows
// that are sorted by time, so that what is in view is found by halving.
// The form of a document is described at AppendJSON in ../document.go.

export type Kind = "hold" | "wait" | "pressure" | "build" | "container" | "runner" | "reserved";

export interface Job {
  repository: string;
  workflow: string;
  job: string;
  run: string;
  url: string;
  actor: string;
  person: string;
}

export interface Interval {
  id: string;
  kind: Kind;
  from: number;
  until: number;
  open: boolean;
  plain: boolean;
  job: Job;
  name: string;
  what: string;
  end: string;
  evidence: string;
  row: number; // in its lane
  wait?: Wait; // of which it is a piece
}

// Wait is what one job waited without a long pause, such as for pressure, then for a lock.
export interface Wait {
  pieces: Interval[];
  first: Interval;
  last: Interval;
}

export interface Gap {
  from: number;
  until: number;
}

export interface Host {
  memoryAvailable: number;
  memoryTotal: number;
  load: number;
  runners: { name: string; busy: number; capacity: number; note: string }[];
  leftBehind: { name: string; note: string }[];
  inSight: string[];
  outOfSight: string[];
}

export interface Document {
  version: number;
  full: boolean;
  name: string;
  program: string;
  now: number;
  begin: number;
  look: number;
  bytes: number;
  days: number;
  strings: string[];
  jobs: number[][];
  intervals: [string, ...number[]][];
  stalls: [number, number, number, number][];
  gaps: [number, number][];
  host: Host;
}

// Row is intervals by their beginning. reach[i] is the latest end among the first i + 1,
// which is what makes a search by end possible where some overlap.
export class Row {
  list: Interval[] = [];
  reach: number[] = [];

  measure() {
    let reach = -Infinity;
    for (let i = 0; i < this.list.length; i++) {
      const v = this.list[i]!;
      reach = Math.max(reach, v.open ? Infinity : v.until);
      this.reach[i] = reach;
    }
  }

  // first is the place of the first interval that may not have ended at a time.
  first(at: number): number {
    let low = 0,
      high = this.list.length;
    while (low < high) {
      const middle = (low + high) >> 1;
      if (this.reach[middle]! < at) low = middle + 1;
      else high = middle;
    }
    return low;
  }

  // between calls f with each interval that is, at least in part, between two times.
  between(from: number, until: number, f: (v: Interval) => void) {
    for (let i = this.first(from); i < this.list.length; i++) {
      const v = this.list[i]!;
      if (v.from > until) return;
      if (v.open || v.until >= from) f(v);
    }
  }
}

// Lane is rows in which intervals lie that overlap. They are packed once, over the whole
// history: a bar keeps its row whatever is in view.
export class Lane {
  rows: Row[] = [];
  private ends: number[] = [];
  constructor(readonly most: number) {}

  add(v: Interval) {
    let row = this.ends.findIndex((end) => end <= v.from);
    if (row < 0) row = this.ends.length < this.most ? this.ends.length : this.most - 1;
    const list = (this.rows[row] ??= new Row()).list;
    list.push(v);
    this.ends[row] = Math.max(this.ends[row] ?? -Infinity, v.open ? Infinity : v.until);
    v.row = row;
  }

  measure() {
    for (const row of this.rows) row.measure();
  }

  between(from: number, until: number, f: (v: Interval) => void) {
    for (const row of this.rows) row.between(from, until, f);
  }
}

export interface Lock {
  name: string;
  holds: Lane; // and reservations
  waits: Lane;
}

const EMPTY_HOST: Host = {
  memoryAvailable: 0,
  memoryTotal: 0,
  load: 0,
  runners: [],
  leftBehind: [],
  inSight: [],
  outOfSight: [],
};

// JOIN is the longest pause, in ms, between two waits of a job that are one to its author.
const JOIN = 10 * 60_000;

// SPARSE is the longest time, in ms, between two samples of stall where somebody watched.
export const SPARSE = 330_000;

// News is the most that a document has changed.
export type News = "nothing" | "details" | "intervals";

// keepsItsPlace reports whether a new state of an interval needs no new index: it is where it
// was, for as long or still open. What is said of it may be new.
const keepsItsPlace = (a: Interval, b: Interval) =>
  a.from === b.from &&
  a.open === b.open &&
  (a.open || a.until === b.until) &&
  a.kind === b.kind &&
  a.job === b.job &&
  a.name === b.name &&
  a.plain === b.plain;

const saysTheSame = (a: Interval, b: Interval) => a.what === b.what && a.end === b.end && a.evidence === b.evidence;

// nameOf is what is the same for all waits of a job.
const nameOf = (j: Job) => j.repository + "\0" + j.job + "\0" + j.run + "\0" + j.person;

export class Store {
  name = "";
  program = "";
  begin = 0;
  look = 0;
  bytes = 0;
  days = 0;
  host = EMPTY_HOST;
  intervals = new Map<string, Interval>();
  stalls: { time: number; memory: number; io: number; cpu: number }[] = [];
  gaps: Gap[] = [];

  locks: Lock[] = [];
  pressure = new Lane(3);
  builds = new Lane(2);
  runners = new Map<string, Row>();
  containers: Interval[] = [];
  waits: Wait[] = [];
  repositories: string[] = []; // those that waited longest first
  now = 0; // until which an open interval reaches
  private jobs: Map<string, Job> | null = null; // made for the first update

  end(v: Interval): number {
    return v.open ? Math.max(v.from, this.now) : v.until;
  }

  span(w: Wait): { from: number; until: number } {
    return { from: w.first.from, until: this.end(w.last) };
  }

  // waited is how long a job waited: what it did between two waits is none.
  waited(w: Wait): number {
    let ms = 0;
    for (const v of w.pieces) ms += this.end(v) - v.from;
    return ms;
  }

  // merge takes a document in, and returns what of it is new. An observer sends what is open
  // with each look: that it still is, is nothing new. A document of a later version, which may mean something else
  // by the same places, is refused.
  merge(d: Document): News {
    if (d.version !== 1) throw new Error("version " + d.version);
    const waited = this.repositories,
      order = this.locks.map((l) => l.name);
    if (d.full) {
      this.intervals.clear();
      this.stalls = [];
      this.gaps = [];
      this.jobs = null;
    }
    this.name = d.name;
    this.program = d.program;
    this.begin = d.begin;
    this.look = d.look;
    this.bytes = d.bytes;
    this.days = d.days;
    this.host = { ...EMPTY_HOST, ...d.host };
    this.now = d.look;

    const { strings } = d,
      text = (place: number | undefined) => strings[place ?? 0] ?? "";
    // By place, not by destructuring, which takes three times as long: there are many.
    const table = d.jobs.map((row): Job => {
      const address = text(row[4]),
        run = text(row[3]);
      return {
        repository: text(row[0]),
        workflow: text(row[1]),
        job: text(row[2]),
        run,
        url: address.endsWith("/") ? address + run : address,
        actor: text(row[5]),
        person: text(row[6]),
      };
    });
    if (!d.full) this.unify(table);
    const nobody: Job = { repository: "", workflow: "", job: "", run: "", url: "", actor: "", person: "" };
    let from = d.begin,
      job = 0,
      changed = d.full,
      details = false;
    for (const row of d.intervals) {
      from += row[2] ?? 0;
      job += row[5] ?? 0;
      const flags = row[4] ?? 0;
      const v: Interval = {
        id: row[0],
        kind: text(row[1]) as Kind,
        from,
        until: from + (row[3] ?? 0),
        open: (flags & 1) !== 0,
        plain: (flags & 2) !== 0,
        job: table[job] ?? nobody,
        name: text(row[6]),
        what: text(row[7]),
        end: text(row[8]),
        evidence: text(row[9]),
        row: 0,
      };
      const old = this.intervals.get(v.id);
      if (old && keepsItsPlace(old, v)) {
        if (!saysTheSame(old, v)) details = true;
        old.until = v.until;
        old.what = v.what;
        old.end = v.end;
        old.evidence = v.evidence;
      } else {
        this.intervals.set(v.id, v);
        changed = true;
      }
    }
    const samples = this.stalls.length;
    let time = d.begin;
    for (const [after, memory, io, cpu] of d.stalls) {
      time += after;
      const s = { time, memory, io, cpu };
      const last = this.stalls[this.stalls.length - 1];
      if (!last || s.time > last.time) this.stalls.push(s);
    }
    for (const [from, until] of d.gaps) {
      if (!d.full) this.gaps = this.gaps.filter((g) => g.from !== from); // it may be sent twice
      this.gaps.push({ from, until });
    }
    this.gaps.sort((a, b) => a.from - b.from);
    if (!changed) return details || this.stalls.length > samples || d.gaps.length > 0 ? "details" : "nothing";
    this.index();
    if (d.full) return "intervals";
    // What is in view keeps its place and its colour.
    const place = (l: Lock) => (order.includes(l.name) ? order.indexOf(l.name) : order.length);
    this.locks.sort((a, b) => place(a) - place(b));
    this.repositories = [...waited, ...this.repositories.filter((r) => !waited.includes(r))];
    return "intervals";
  }

  // unify replaces the jobs of an update by those that are known: to compare two is to
  // compare objects.
  private unify(table: Job[]) {
    const key = (j: Job) => [nameOf(j), j.workflow, j.url, j.actor].join("\0");
    const known = (this.jobs ??= new Map([...this.intervals.values()].map((v) => [key(v.job), v.job])));
    table.forEach((j, i) => {
      const k = key(j);
      if (known.has(k)) table[i] = known.get(k)!;
      else known.set(k, j);
    });
  }

  private index() {
    const sorted = [...this.intervals.values()].sort((a, b) => a.from - b.from || (a.id < b.id ? -1 : 1));
    const locks = new Map<string, Lock & { waited: number; held: number }>();
    const lock = (name: string) => {
      let l = locks.get(name);
      if (!l) locks.set(name, (l = { name, holds: new Lane(4), waits: new Lane(5), waited: 0, held: 0 }));
      return l;
    };
    this.pressure = new Lane(3);
    this.builds = new Lane(2);
    this.runners = new Map();
    this.containers = [];
    this.waits = [];
    const recent = new Map<string, Wait[]>();
    const repositories = new Map<string, number>();
    for (const v of sorted) {
      switch (v.kind) {
        case "hold":
        case "reserved": {
          const l = lock(v.name);
          l.holds.add(v);
          l.held += this.end(v) - v.from;
          break;
        }
        case "wait":
        case "pressure": {
          const ms = this.end(v) - v.from;
          if (v.kind === "wait") {
            const l = lock(v.name);
            l.waits.add(v);
            l.waited += ms;
          } else this.pressure.add(v);
          const r = v.job.repository;
          if (r) repositories.set(r, (repositories.get(r) ?? 0) + ms);
          const name = nameOf(v.job),
            { run, person } = v.job;
          // Jobs of one name in one run, as of a matrix, wait at the same time: they are several.
          const same = (recent.get(name) ?? []).filter((w) => v.from - this.end(w.last) <= JOIN);
          let w = same.find((w) => this.end(w.last) <= v.from && (run || person));
          if (w) {
            w.pieces.push(v);
            w.last = v;
          } else {
            w = { pieces: [v], first: v, last: v };
            same.push(w);
            this.waits.push(w);
          }
          recent.set(name, same);
          v.wait = w;
          break;
        }
        case "build":
          this.builds.add(v);
          break;
        case "runner": {
          let row = this.runners.get(v.name);
          if (!row) this.runners.set(v.name, (row = new Row()));
          row.list.push(v);
          break;
        }
        case "container":
          this.containers.push(v);
          break;
      }
      const r = v.job.repository;
      if (r && !repositories.has(r)) repositories.set(r, 0);
    }
    this.locks = [...locks.values()].sort((a, b) => b.waited - a.waited || b.held - a.held);
    this.repositories = [...repositories].sort((a, b) => b[1] - a[1]).map(([r]) => r);
    for (const l of this.locks) {
      l.holds.measure();
      l.waits.measure();
    }
    this.pressure.measure();
    this.builds.measure();
    for (const row of this.runners.values()) row.measure();
  }

  // stall is the sample of a time. One that does not differ from that before is left out,
  // for a minute, and of older ones there is one each 5 minutes.
  stall(at: number) {
    const i = this.stallPlace(at);
    const s = this.stalls[i] ?? this.stalls[i - 1];
    return s && Math.abs(s.time - at) <= (at > this.now - 12 * 3_600_000 ? 90_000 : SPARSE) ? s : undefined;
  }

  // stallPlace is the place of the first sample that is not before a time.
  stallPlace(at: number): number {
    let low = 0,
      high = this.stalls.length;
    while (low < high) {
      const middle = (low + high) >> 1;
      if (this.stalls[middle]!.time < at) low = middle + 1;
      else high = middle;
    }
    return low;
  }
}
