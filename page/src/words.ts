// All that the page says, as whole sentences of each language: word order differs, so that
// nothing is put together from fragments but names, durations and lists.
// The English sentence of an answer is the one of history/words.go: a test compares them by
// history/testdata/words.json.

import type { Job, Kind } from "./data";
import { clock } from "./time";

// Answer is why a job waited, as in history/answer.go. Times are in milliseconds.
export interface Answer {
  host: string;
  who: Who;
  total: number;
  open: boolean;
  end: string;
  from: number;
  until: number;
  watchedAgain: number; // 0 if nobody did
  parts: Part[];
}

export interface Part {
  kind: Kind | "unwatched" | ""; // empty if no cause was seen
  name: string;
  who: Who;
  what: string;
  plain: boolean;
  end: string;
  evidence: string;
  from: number;
  until: number;
  time: number; // in which it was the cause
  held: number; // how long the cause lasted, beyond the wait too
  usual: number; // 0 if it is not known
}

export type Who = Pick<Job, "repository" | "job" | "run" | "person">;

// Foreign text.

const MOST_TEXT = 60;

// clean is a text as one line without control, format and bidirectional characters, cut.
export function clean(s: string): string {
  const line = s
    .slice(0, 20 * MOST_TEXT)
    .replace(/[\s\p{Z}\u0085]+/gu, " ")
    .replace(/[\p{Cc}\p{Cf}]/gu, "");
  const runes = [...line.replace(/ +/g, " ").trim()];
  return runes.length > MOST_TEXT
    ? runes
        .slice(0, MOST_TEXT - 1)
        .join("")
        .trimEnd() + "…"
    : runes.join("");
}

// word is a foreign name: as it is if it is one plain word, else in quotes, so that it cannot
// pass for the words around it. phrase is a text of several.
export const word = (s: string) => quote(clean(s), /^[\p{L}\p{M}\p{N}._\-/@+:…]*$/u);
export const phrase = (s: string) => quote(clean(s), /^[\p{L}\p{M}\p{N}._\-/@+:… ,#%]*$/u);

function quote(s: string, plain: RegExp): string {
  return plain.test(s) ? s : `"${s.replaceAll('"', "'")}"`;
}

// nameOf is a job as "wooo/shop build #12", or the person outside any job.
export function nameOf(w: Who): string {
  const run = word(w.run);
  return [word(w.repository), word(w.job), run && "#" + run].filter(Boolean).join(" ") || phrase(w.person);
}

// shortName is a job without its repository's owner.
export function shortName(w: Who): string {
  return nameOf({ ...w, repository: w.repository.slice(w.repository.lastIndexOf("/") + 1) });
}

export const unusual = (p: { usual: number; held: number }) => p.usual > 0 && p.held > p.usual * 1.8;

// Figures.

const SECOND = 1000,
  MINUTE = 60 * SECOND;

// units are parts of a total in its unit, seconds or minutes: whole ones that add up to the
// total as it is shown. Those that lost most by rounding down get what is missing.
export function units(total: number, parts: number[]): number[] {
  const seconds = Math.floor(total / SECOND + 0.5);
  const unit = seconds >= 90 ? MINUTE : SECOND;
  let left = seconds >= 90 ? Math.floor((seconds + 30) / 60) : seconds;
  const whole = parts.map((p) => Math.floor(p / unit));
  for (const n of whole) left -= n;
  const order = parts.map((_, i) => i).sort((a, b) => (parts[b]! % unit) - (parts[a]! % unit) || a - b);
  for (const i of order) if (left-- > 0) whole[i]!++;
  return whole.map((n) => n * unit);
}

const MOST_CAUSES = 3;

// largest are the places of at most n of the largest units, in their order; 0 is none.
export function largest(of: number[], n: number): number[] {
  return of
    .map((_, i) => i)
    .filter((i) => of[i]! > 0)
    .sort((a, b) => of[b]! - of[a]! || a - b)
    .slice(0, n)
    .sort((a, b) => a - b);
}

// split is a duration as hours, minutes and seconds: seconds alone below 90 s, and none above.
function split(ms: number): { h: number; m: number; s: number } {
  const s = Math.max(0, Math.floor(ms / SECOND + 0.5));
  if (s < 90) return { h: 0, m: 0, s };
  const m = Math.floor((s + 30) / 60);
  return { h: Math.floor(m / 60), m: m % 60, s: 0 };
}

const two = (n: number) => String(n).padStart(2, "0");

// causes splits an answer into the causes that a sentence names, and the others.
function causes(a: Answer, unit: (ms: number, total: number) => string) {
  const all = units(
    a.total,
    a.parts.map((p) => p.time),
  );
  const named = largest(all, MOST_CAUSES);
  let rest = 0,
    others = 0;
  all.forEach((ms, i) => {
    if (ms > 0 && !named.includes(i)) {
      rest += ms;
      others++;
    }
  });
  return {
    list: named.map((i) => ({ part: a.parts[i]!, time: unit(all[i]!, a.total) })),
    rest: unit(rest, a.total),
    others,
  };
}

export interface Words {
  lang: string;
  duration(ms: number): string;
  precise(ms: number): string; // with seconds below an hour
  unit(ms: number, total: number): string;
  sentence(a: Answer): string;
  cause(p: Part): string;
  reason(text: string): string; // after a name
  between: string; // two sentences
  question(who: string, a: Answer): string;
  partNote(p: Part): string; // the one thing that is wrong with a cause, or nothing
  stalled(who: string, io: number, memory: number): string;
  position(n: number): string;

  skip: string;
  views: string;
  now: string;
  timeline: string;
  other: string; // the other language, in its own words
  live: string;
  off: string;
  file: string;
  loading: string;
  offSince(time: string): string;
  offMeaning(seconds: number): string;
  noAnswer(seconds: number): string;
  behindSince(time: string): string;
  behindMeaning: string;
  tryNow: string;
  tooNew(program: string): string;
  at(time: string): string;

  waiting(n: number, longest: string, time: HTMLElement | string, holder: string): (HTMLElement | string)[];
  nobodyWaits: string;
  held(name: string, by: string): string;
  calm(locks: number, builds: number): string;
  holdsFor(lock: string, time: HTMLElement | string, usual: number, longer: number): (HTMLElement | string)[];
  pressureWaits: string;
  evidence(text: string): string;
  lockState(held: number, waiting: number): string;
  since(time: string): string;
  usually(ms: number): string;
  startedBy(actor: string): string;
  freeSince(time: string): string;
  lastHeld(by: string, ms: number): string;
  neverHeld: string;
  queue: string;
  lastHours(n: number): string;
  longestWaits: string;
  noWaits: string;
  more(n: number): string;
  why: string;
  gate: string;
  stall: string;
  noStall: string;
  memory: string;
  io: string;
  cpu: string;
  stallOf(what: string): string;
  memoryAvailable(available: string, total: string): string;
  load(n: string): string;
  builds: string;
  noBuilds: string;
  runners: string;
  noRunners: string;
  runnerState(state: string): string;
  wasStopped(ms: number, time: string): string;
  containers: string;
  ofJobs(n: number): string;
  leftBehind(n: number): string;
  unknown: string;
  longHold: string;

  emptyTitle: string;
  emptyText(host: string, time: string): string;
  inSight(list: string[]): string;
  outOfSight(list: string[]): string;

  chosen: string;
  longestInView: string;
  nobodyHadToWait: string;
  noneInView: string;
  watchedNothing: string;
  made: string;
  copyText: string;
  copyLink: string;
  copied: string;
  notCopied: string;
  range: string;
  spans: { m15: string; h1: string; h3: string; h12: string; h24: string; d7: string; all: string };
  zoom: string;
  zoomIn: string;
  zoomOut: string;
  repositories: string;
  find: string;
  notFound: string;
  table: string;
  tableTitle: string;
  shown(n: number, of: number): string;
  waiters: string;
  waitsRow: string;
  waitingForEnd: string;
  moreLocks(n: number): string;
  moreRunners(n: number): string;
  picture: string;
  pictureKind: string;
  keys: { move: string; pan: string; zoom: string; all: string; why: string; back: string; table: string };
  columns: { from: string; took: string; what: string; job: string; lock: string; ended: string };

  kind(kind: Kind, plain: boolean): string;
  legend: {
    hold: string;
    wait: string;
    pressure: string;
    build: string;
    taken: string;
    plain: string;
    reserved: string;
    gap: string;
  };
  reservation(text: string): string;
  plainNetwork: string;
  ended(end: string, evidence: string): string;
  stillGoing: string;
  card: {
    fromUntil: string;
    took: string;
    lock: string;
    reason: string;
    ended: string;
    waitedFor: string;
    keptWaiting: string;
    by: string;
  };
  jobs(n: number): string;
  foot(program: string): string;
  history(days: number, size: string): string;
  reportOf(time: string): string;
}

const note = (text: string, ...notes: string[]) => {
  const all = notes.filter(Boolean).join("; ");
  return all ? `${text} (${all})` : text;
};

export const en: Words = {
  lang: "en",
  duration(ms) {
    const { h, m, s } = split(ms);
    return h ? `${h}h ${two(m)}m` : m ? `${m}m` : `${s}s`;
  },
  precise(ms) {
    const s = Math.max(0, Math.floor(ms / SECOND + 0.5));
    return s < 60
      ? `${s}s`
      : s < 3600
        ? `${Math.floor(s / 60)}m ${two(s % 60)}s`
        : `${Math.floor(s / 3600)}h ${two(Math.floor(s / 60) % 60)}m`;
  },
  // Beside minutes, a minute is no 60 s.
  unit: (ms, total) => (ms === MINUTE && total >= 89_500 ? "1m" : en.duration(ms)),
  sentence(a) {
    const { list, rest, others } = causes(a, en.unit);
    const total = en.duration(a.total);
    const host = word(a.host) || "the host";
    const because = (p: Part) => (p.kind === "unwatched" ? `while ${host} was not watched` : "for " + en.cause(p));
    const unseen = a.end === "unseen" && !a.open;
    let text =
      (nameOf(a.who) || "A job") +
      " " +
      (total === "0s" && !a.open && !unseen && a.end !== "gave up"
        ? "did not wait"
        : a.open
          ? "has waited " + total
          : unseen
            ? "waited at least " + total
            : a.end === "gave up"
              ? "gave up after waiting " + total
              : "waited " + total);
    const each = list.map((c) => c.time + " " + because(c.part));
    if (others) text += `: ${each.join(", ")}, and ${rest} for ${others === 1 ? "1 other" : others + " others"}`;
    else if (list.length === 1) text += " " + because(list[0]!.part);
    else if (list.length) text += `: ${each.slice(0, -1).join(", ")}, then ${each[each.length - 1]}`;
    if (unseen) {
      text += `${list.length > 1 ? ";" : ":"} from ${clock(a.from)} until ${clock(a.until)}, then ${host} was not watched`;
      if (a.watchedAgain) text += " until " + clock(a.watchedAgain);
    }
    return text + ".";
  },
  cause(p) {
    const of = nameOf(p.who),
      what = phrase(p.what);
    switch (p.kind) {
      case "build": {
        const name = phrase(p.name);
        return note("pressure", name && of ? `${name} of ${of}` : name || of);
      }
      case "reserved":
        return note(of ? "a reservation by " + of : "a reservation", what);
      case "hold": {
        if (p.plain) return "a plain docker network that nobody signed";
        const evidence = phrase(p.evidence);
        return note(
          of || "a job of no known name",
          what,
          unusual(p) ? "usually " + en.duration(p.usual) : "",
          p.end === "taken over" ? (evidence ? "taken over: " + evidence : "taken over") : "",
        );
      }
      case "unwatched":
        return "not watched";
      default:
        return "a holder that was not seen";
    }
  },
  reason: (text) => ` (${text})`,
  between: " ",
  question: (who, a) => `Why ${a.open ? "has" : "did"} ${who} ${a.open ? "waited" : "wait"} ${en.duration(a.total)}?`,
  partNote(p) {
    if (p.end === "taken over") return `died at ${clock(p.until)}${p.evidence ? ": " + phrase(p.evidence) : ""}`;
    return unusual(p) ? `held it ${en.duration(p.held)}, usually ${en.duration(p.usual)}` : "";
  },
  stalled: (who, io, memory) =>
    `While ${who} held it, IO stall was ${io} % on average${memory > 4 ? `, and memory stall ${memory} %` : ""}.`,
  position: (n) => `It came as number ${n} of the queue.`,

  skip: "To the content",
  views: "Views",
  now: "Now",
  timeline: "Timeline",
  other: "中文",
  live: "live",
  off: "not connected",
  file: "a file",
  loading: "Reading the history …",
  offSince: (time) => `Not connected since ${time}.`,
  offMeaning: (s) => `What you see is from then. No lock depends on this page, which tries again in ${s} s.`,
  noAnswer: (s) => `The server does not answer. This page tries again in ${s} s.`,
  behindSince: (time) => `Not watched since ${time}.`,
  behindMeaning: "The server answers, but its last look at the host is that old. What you see is from then.",
  tryNow: "Try now",
  tooNew: (program) => `${program} sends a history that this page does not know. Load the page again.`,
  at: (time) => "At " + time,

  waiting: (n, longest, time, holder) => [
    n === 1 ? "1 job waits: " : `${n} jobs wait. Longest: `,
    longest + ", ",
    time,
    holder ? `, for ${holder}.` : ".",
  ],
  nobodyWaits: "Nobody waits.",
  held: (name, by) => `${name} is held by ${by}.`,
  calm: (locks, builds) =>
    `${locks === 1 ? "1 lock is" : locks + " locks are"} free, ${builds === 0 ? "no heavy build runs" : builds === 1 ? "1 heavy build runs" : builds + " heavy builds run"}.`,
  holdsFor: (lock, time, usual, longer) => [
    `It has held ${lock} for `,
    time,
    usual ? `, usually ${en.duration(usual)}${longer > 0 ? `: ${en.duration(longer)} longer than usual` : ""}.` : ".",
  ],
  pressureWaits: "It waits for heavy builds to end.",
  evidence: (text) => `State of its holder: ${text}.`,
  lockState: (held, waiting) =>
    `${held === 0 ? "free" : held === 1 ? "held" : "held by " + held} · ${waiting ? waiting + " waiting" : "nobody waits"}`,
  since: (time) => "since " + time,
  usually: (ms) => "usually " + en.duration(ms),
  startedBy: (actor) => "started by " + actor,
  freeSince: (time) => "free since " + time,
  lastHeld: (by, ms) => `last held by ${by}, for ${en.duration(ms)}`,
  neverHeld: "not held since the history begins",
  queue: "Queue",
  lastHours: (n) => `last ${n} hours`,
  longestWaits: "Longest waits, 24 h",
  noWaits: "Nobody had to wait.",
  more: (n) => `+${n}`,
  why: "Why?",
  gate: "Waiting for heavy builds to end",
  stall: "Stall, last 30 min",
  noStall: "The kernel of this host does not say how long tasks stand still (PSI).",
  memory: "memory",
  io: "IO",
  cpu: "CPU",
  stallOf: (what) => what + " stall",
  memoryAvailable: (available, total) => `${available} of ${total} GB memory available`,
  load: (n) => "load " + n,
  builds: "Heavy builds",
  noBuilds: "None runs.",
  runners: "Runners",
  noRunners: "None is seen.",
  runnerState: (state) => state || "unknown",
  wasStopped: (ms, time) => `was stopped for ${en.duration(ms)} at ${time}`,
  containers: "Task containers",
  ofJobs: (n) => `${n} of running jobs`,
  leftBehind: (n) => `${n} left behind`,
  unknown: "unknown",
  longHold: "much longer than usual",

  emptyTitle: "Nothing has happened yet.",
  emptyText: (host, time) =>
    `${host} is watched since ${time}. The first job that takes a lock appears here by itself. To see one now, run this in two shells:`,
  inSight: (list) => `In sight: ${list.join(", ")}.`,
  outOfSight: (list) => `Out of sight: ${list.length ? list.join(", ") : "nothing"}.`,

  chosen: "chosen",
  longestInView: "longest wait in view",
  nobodyHadToWait: "Nobody had to wait.",
  noneInView: "No job waited in this range",
  watchedNothing: "Nobody watched in this range, so nothing is known of it.",
  made: "What the wait was made of",
  copyText: "Copy as text",
  copyLink: "Copy link",
  copied: "Copied",
  notCopied: "Not allowed",
  range: "Range",
  spans: { m15: "15 m", h1: "1 h", h3: "3 h", h12: "12 h", h24: "24 h", d7: "7 d", all: "All" },
  zoom: "Zoom",
  zoomIn: "Zoom in",
  zoomOut: "Zoom out",
  repositories: "Repositories",
  find: "Find a run: shop #12",
  notFound: "No wait of such a run.",
  table: "Table",
  tableTitle: "Intervals in view",
  shown: (n, of) => (n < of ? `${n} of ${of}; zoom in for the others` : String(of)),
  waiters: "Waiters, all the time",
  waitsRow: "waiting",
  waitingForEnd: "waiting for their end",
  moreLocks: (n) => `and ${n} more locks`,
  moreRunners: (n) => `and ${n} more runners`,
  picture: "Timeline of locks, waits and pressure",
  pictureKind: "timeline",
  keys: {
    move: "next and previous, lane up and down",
    pan: "pan",
    zoom: "zoom",
    all: "all",
    why: "why",
    back: "back",
    table: "table",
  },
  columns: { from: "from", took: "took", what: "what", job: "job", lock: "lock", ended: "ended / waited for" },

  kind: (kind, plain) =>
    ({
      hold: plain ? "plain docker network" : "holds the lock",
      wait: "waits for the lock",
      pressure: "waits for pressure to end",
      build: "heavy build",
      container: "task container",
      runner: "runner",
      reserved: "reserved",
    })[kind] ?? kind,
  legend: {
    hold: "holds the lock",
    wait: "waits for it",
    pressure: "waits for pressure to end",
    build: "heavy build",
    taken: "holder died, taken over",
    plain: "plain docker network, no name",
    reserved: "reserved",
    gap: "not watched",
  },
  reservation: (text) => (text ? "reserved: " + text : "reserved"),
  plainNetwork: "docker network",
  ended: (end, evidence) =>
    ({
      released: "released",
      "taken over": evidence ? "taken over: " + evidence : "taken over",
      acquired: "got it",
      "gave up": "gave up",
      unseen: "end not seen",
    })[end] ?? end,
  stillGoing: "still going",
  card: {
    fromUntil: "from",
    took: "took",
    lock: "lock",
    reason: "reason",
    ended: "ended",
    waitedFor: "for",
    keptWaiting: "kept waiting",
    by: "started by",
  },
  jobs: (n) => (n === 1 ? "1 job" : n + " jobs"),
  foot: (program) => `${program} · looks only: it cannot take, break or release`,
  history: (days, size) => `history of ${days} days, ${size}`,
  reportOf: (time) => `as of ${time}`,
};

// In Chinese a sentence has full-width punctuation, and names stay Latin. A space goes
// between Chinese and Latin letters or figures.
const apart = (before: string, text: string) => before + (/^[\x21-\x7e]/.test(text) ? " " : "") + text;
const within = (text: string, ...notes: string[]) => {
  const all = notes.filter(Boolean).join("；");
  return all ? `${text}（${all}）` : text;
};

export const zh: Words = {
  lang: "zh-Hant-TW",
  duration(ms) {
    const { h, m, s } = split(ms);
    return h ? (m ? `${h} 小時 ${m} 分` : `${h} 小時`) : m ? `${m} 分` : `${s} 秒`;
  },
  precise(ms) {
    const s = Math.max(0, Math.floor(ms / SECOND + 0.5));
    return s < 60 ? `${s} 秒` : s < 3600 ? `${Math.floor(s / 60)} 分 ${s % 60} 秒` : zh.duration(ms - (ms % MINUTE));
  },
  unit: (ms, total) => (ms === MINUTE && total >= 89_500 ? "1 分" : zh.duration(ms)),
  sentence(a) {
    const { list, rest, others } = causes(a, zh.unit);
    const total = zh.duration(a.total);
    const host = word(a.host) ? word(a.host) + " " : "主機";
    const unseen = a.end === "unseen" && !a.open;
    const who = nameOf(a.who);
    let text =
      (who ? who + " " : "某個工作") +
      (total === "0 秒" && !a.open && !unseen && a.end !== "gave up"
        ? "沒有等待"
        : a.open
          ? "已等 " + total
          : unseen
            ? "至少等了 " + total
            : a.end === "gave up"
              ? `等了 ${total}後放棄`
              : "等了 " + total);
    const each = list.map(({ part, time }) =>
      part.kind === "unwatched" ? apart(`其間 ${time}`, `${host}未受觀察`) : apart(`${time}等`, zh.cause(part)),
    );
    if (others) text += `：${each.join("；")}；${rest}等其他 ${others} 個`;
    else if (list.length === 1) {
      const p = list[0]!.part;
      text += p.kind === "unwatched" ? apart("，期間", `${host}未受觀察`) : apart("，等的是", zh.cause(p));
    } else if (list.length) text += "：" + each.join("；");
    if (unseen) {
      text += `；自 ${clock(a.from)} 至 ${clock(a.until)}，${apart("之後", host)}未受觀察`;
      if (a.watchedAgain) text += `，直到 ${clock(a.watchedAgain)}`;
    }
    return text + "。";
  },
  cause(p) {
    const of = nameOf(p.who),
      what = phrase(p.what);
    switch (p.kind) {
      case "build": {
        const name = phrase(p.name);
        return within("壓力解除", name && of ? `${of} 的 ${name}` : name || of);
      }
      case "reserved":
        return within("預留", of && "由 " + of, what);
      case "hold": {
        if (p.plain) return "沒有署名的一般 docker network";
        const evidence = phrase(p.evidence);
        return within(
          of || "名稱不明的工作",
          what,
          unusual(p) ? "通常 " + zh.duration(p.usual) : "",
          p.end === "taken over" ? (evidence ? "被接管：" + evidence : "被接管") : "",
        );
      }
      case "unwatched":
        return "未受觀察";
      default:
        return "沒有看到的持有者";
    }
  },
  reason: (text) => `（${text}）`,
  between: "",
  question: (who, a) => `${who} 為什麼${a.open ? "已等" : "等了"} ${zh.duration(a.total)}？`,
  partNote(p) {
    if (p.end === "taken over") return `於 ${clock(p.until)} 中斷${p.evidence ? "：" + phrase(p.evidence) : ""}`;
    return unusual(p) ? `共持有 ${zh.duration(p.held)}，通常 ${zh.duration(p.usual)}` : "";
  },
  stalled: (who, io, memory) => `${who} 持有期間，IO 停滯平均 ${io} %${memory > 4 ? `，記憶體停滯 ${memory} %` : ""}。`,
  position: (n) => `到達時是佇列中的第 ${n} 個。`,

  skip: "跳到內容",
  views: "檢視",
  now: "現在",
  timeline: "時間軸",
  other: "English",
  live: "即時",
  off: "連線中斷",
  file: "檔案",
  loading: "正在讀取歷史…",
  offSince: (time) => `自 ${time} 起連線中斷。`,
  offMeaning: (s) => `目前顯示的是當時的畫面。沒有任何鎖依賴這個頁面。${s} 秒後重試。`,
  noAnswer: (s) => `伺服器沒有回應。${s} 秒後重試。`,
  behindSince: (time) => `自 ${time} 起未受觀察。`,
  behindMeaning: "伺服器有回應，但它最後一次觀察主機是在那個時候。目前顯示的是當時的畫面。",
  tryNow: "立即重試",
  tooNew: (program) => `${program} 送出的歷史是這個頁面不認得的版本。請重新載入頁面。`,
  at: (time) => `${time} 時`,

  waiting: (n, longest, time, holder) => [
    n === 1 ? "1 個工作在等待：" : `${n} 個工作在等待。最久的是 `,
    longest + "，已等 ",
    time,
    holder ? apart("，等的是", holder) + "。" : "。",
  ],
  nobodyWaits: "沒有工作在等待。",
  held: (name, by) => `${name} 由 ${by} 持有。`,
  calm: (locks, builds) => `${locks} 個鎖空閒，${builds ? `${builds} 個重度建置執行中` : "沒有重度建置"}。`,
  holdsFor: (lock, time, usual, longer) => [
    `它已持有 ${lock} `,
    time,
    usual ? `，通常 ${zh.duration(usual)}${longer > 0 ? `，比平常多 ${zh.duration(longer)}` : ""}。` : "。",
  ],
  pressureWaits: "它在等重度建置結束。",
  evidence: (text) => `持有者狀態：${text}。`,
  lockState: (held, waiting) =>
    `${held === 0 ? "空閒" : held === 1 ? "持有中" : held + " 個持有中"} · ${waiting ? waiting + " 個等待" : "無人等待"}`,
  since: (time) => `自 ${time}`,
  usually: (ms) => "通常 " + zh.duration(ms),
  startedBy: (actor) => `由 ${actor} 啟動`,
  freeSince: (time) => `自 ${time} 空閒`,
  lastHeld: (by, ms) => `上一個：${by}，持有 ${zh.duration(ms)}`,
  neverHeld: "歷史開始以來未被持有",
  queue: "佇列",
  lastHours: (n) => `最近 ${n} 小時`,
  longestWaits: "最長等待，24 小時",
  noWaits: "沒有工作需要等待。",
  more: (n) => `+${n}`,
  why: "為什麼？",
  gate: "等待重度建置結束",
  stall: "停滯，最近 30 分鐘",
  noStall: "這台主機的核心不提供停滯資料（PSI）。",
  memory: "記憶體",
  io: "IO",
  cpu: "CPU",
  stallOf: (what) => what + " 停滯",
  memoryAvailable: (available, total) => `可用記憶體 ${available} GB，共 ${total} GB`,
  load: (n) => "負載 " + n,
  builds: "重度建置",
  noBuilds: "目前沒有。",
  runners: "Runner",
  noRunners: "沒有看到。",
  runnerState: (state) =>
    ({ up: "運作中", draining: "停止接收中", drained: "已停止接收", stopped: "已停止" })[state] ?? (state || "不明"),
  wasStopped: (ms, time) => `${time} 停止過 ${zh.duration(ms)}`,
  containers: "工作容器",
  ofJobs: (n) => `${n} 個屬於執行中的工作`,
  leftBehind: (n) => `${n} 個遺留`,
  unknown: "不明",
  longHold: "遠超過平常",

  emptyTitle: "還沒有發生任何事。",
  emptyText: (host, time) =>
    `自 ${time} 起觀察 ${host}。第一個取得鎖的工作會自動出現在這裡。想馬上看到，請在兩個 shell 中執行：`,
  inSight: (list) => `看得到：${list.join("、")}。`,
  outOfSight: (list) => `看不到：${list.length ? list.join("、") : "無"}。`,

  chosen: "已選取",
  longestInView: "畫面中最長的等待",
  nobodyHadToWait: "沒有工作需要等待。",
  noneInView: "這段時間沒有等待",
  watchedNothing: "這段時間未受觀察，所以一無所知。",
  made: "等待的組成",
  copyText: "複製文字",
  copyLink: "複製連結",
  copied: "已複製",
  notCopied: "不允許",
  range: "範圍",
  spans: { m15: "15 分", h1: "1 小時", h3: "3 小時", h12: "12 小時", h24: "24 小時", d7: "7 天", all: "全部" },
  zoom: "縮放",
  zoomIn: "放大",
  zoomOut: "縮小",
  repositories: "儲存庫",
  find: "尋找執行：shop #12",
  notFound: "沒有這個執行的等待。",
  table: "表格",
  tableTitle: "畫面中的區間",
  shown: (n, of) => (n < of ? `${n} / ${of}，放大以顯示其他` : String(of)),
  waiters: "等待者數，全部時間",
  waitsRow: "等待中",
  waitingForEnd: "等待其結束",
  moreLocks: (n) => `還有 ${n} 個鎖`,
  moreRunners: (n) => `還有 ${n} 個 runner`,
  picture: "鎖、等待、壓力的時間軸",
  pictureKind: "時間軸",
  keys: {
    move: "上一個、下一個，上下換列",
    pan: "平移",
    zoom: "縮放",
    all: "全部",
    why: "原因",
    back: "返回",
    table: "表格",
  },
  columns: { from: "開始", took: "歷時", what: "類型", job: "工作", lock: "鎖", ended: "結果／等誰" },

  kind: (kind, plain) =>
    ({
      hold: plain ? "一般 docker network" : "持有鎖",
      wait: "等待鎖",
      pressure: "等待壓力解除",
      build: "重度建置",
      container: "工作容器",
      runner: "runner",
      reserved: "已預留",
    })[kind] ?? kind,
  legend: {
    hold: "持有鎖",
    wait: "等待鎖",
    pressure: "等待壓力解除",
    build: "重度建置",
    taken: "持有者中斷，被接管",
    plain: "一般 docker network，無名稱",
    reserved: "已預留",
    gap: "未受觀察",
  },
  reservation: (text) => (text ? "預留：" + text : "已預留"),
  plainNetwork: "docker network",
  ended: (end, evidence) =>
    ({
      released: "已釋放",
      "taken over": evidence ? "被接管：" + evidence : "被接管",
      acquired: "已取得",
      "gave up": "放棄",
      unseen: "未看到結束",
    })[end] ?? end,
  stillGoing: "進行中",
  card: {
    fromUntil: "時間",
    took: "歷時",
    lock: "鎖",
    reason: "原因",
    ended: "結果",
    waitedFor: "等誰",
    keptWaiting: "讓誰等",
    by: "啟動者",
  },
  jobs: (n) => `${n} 個工作`,
  foot: (program) => `${program} · 只觀察：不能取得、中斷或釋放任何鎖`,
  history: (days, size) => `歷史 ${days} 天，${size}`,
  reportOf: (time) => `截至 ${time}`,
};
