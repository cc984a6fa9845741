// The answer: why a job waited, in a sentence, as a bar, and cause by cause.

import type { App } from "./app";
import { h, link, type Child } from "./dom";
import type { Numbered } from "./draw";
import type { Explained, Piece } from "./explain";
import { clock, MINUTE, moment } from "./time";
import { nameOf, phrase, shortName, units, word } from "./words";

const MOST_LINKS = 12;

// Asked is how the answer came up, and what its parts do.
export interface Asked {
  byHand: boolean; // the reader has chosen the wait
  narrow: boolean;
  go(part: Piece): void;
  link(): string;
}

export function answer(app: App, e: Explained, numbered: Numbered[], text: string, asked: Asked): Child[] {
  const { words: w, colours } = app,
    who = nameOf(e.who) || w.unknown;
  const whole = units(
    e.total,
    e.parts.map((p) => p.time),
  );
  const listed =
    numbered.length <= MOST_LINKS
      ? numbered
      : [...numbered]
          .sort((a, b) => b.part.time - a.part.time)
          .slice(0, MOST_LINKS)
          .sort((a, b) => a.number - b.number);
  const time = (i: number) => w.unit(whole[i]!, e.total);
  return [
    h(
      "p.question",
      null,
      h("span", null, w.question(who, e)),
      h("span.tag", null, asked.byHand ? w.chosen : w.longestInView),
    ),
    h("h1.sentence", null, text),
    listed.length > 0 &&
      h(
        "div.chain",
        { role: "group", "aria-label": w.made },
        ...listed.map(({ part, number, place }) => {
          const share = part.time / (e.total || 1);
          const plain = part.kind !== "hold" || part.plain;
          const name =
            part.kind === "build"
              ? w.cause({ ...part, name: "", who: { repository: "", job: "", run: "", person: "" } })
              : part.kind === "hold" && !part.plain
                ? shortName(part.who)
                : "";
          const label =
            share <= 0.16 ? `${number}` : [number, asked.narrow ? "" : name, time(place)].filter(Boolean).join(" · ");
          return h(
            part.kind === "build" ? "button.pressure" : plain ? "button.nobody" : "button",
            {
              type: "button",
              "css:flex-grow": Math.max(1, share * 100),
              "data-key": "part " + number,
              click: () => asked.go(part),
              "css:background-color": plain ? undefined : colours.css(part.who.repository),
              "css:color": plain ? undefined : colours.ink(part.who.repository),
              "aria-label": `${number}: ${time(place)} ${w.cause(part)}`,
            },
            h("span", null, label),
          );
        }),
      ),
    listed.length > 0 &&
      h(
        "ol.parts",
        null,
        ...listed.map(({ part, number, place }) => {
          const note = w.partNote(part);
          return h(
            "li",
            null,
            h("span.number", null, String(number)),
            h("span.took", null, time(place)),
            h(
              "span",
              null,
              ...causeOf(app, part),
              " ",
              h("span.mute.one", null, fromUntil(part, app.store.now)),
              note && h("span.tag.alarm", null, note),
            ),
          );
        }),
      ),
    ...notes(app, e),
    h(
      "div.copy",
      null,
      copyButton(app, "text", w.copyText, () => text),
      copyButton(app, "link", w.copyLink, asked.link),
    ),
  ];
}

// fromUntil is when a part was, to the second where that matters.
function fromUntil(part: Piece, now: number): string {
  const seconds = part.until - part.from < 2 * MINUTE;
  return `${moment(part.from, now, seconds)}–${clock(part.until, seconds)}`;
}

function causeOf({ words: w }: App, p: Piece): Child[] {
  if (p.kind !== "hold" || p.plain || !p.who.run || !p.cause) return [w.cause({ ...p, usual: 0, end: "" })];
  const name = nameOf({ ...p.who, run: "" });
  return [
    h("b", null, name),
    " ",
    link(p.cause.job.url, "#" + word(p.who.run)),
    p.what ? w.reason(phrase(p.what)) : "",
  ];
}

// notes are what else was so: stall, and the place in the queue.
function notes({ words: w, store: s }: App, e: Explained): Child[] {
  const notes: string[] = [];
  const longest = e.parts.filter((p) => p.cause?.kind === "hold" && !p.plain).sort((a, b) => b.time - a.time)[0];
  if (longest) {
    const average = (of: "io" | "memory") => {
      let sum = 0,
        n = 0;
      for (
        let i = s.stallPlace(longest.cause!.from);
        i < s.stalls.length && s.stalls[i]!.time <= s.end(longest.cause!);
        i++
      ) {
        const value = s.stalls[i]![of];
        if (value >= 0) [sum, n] = [sum + value, n + 1];
      }
      return n ? Math.round(sum / n) : 0;
    };
    const io = average("io");
    if (io > 25) notes.push(w.stalled(shortName(longest.who), io, average("memory")));
  }
  const last = e.wait.last;
  if (last.kind === "wait") {
    let before = 0;
    s.locks
      .find((l) => l.name === last.name)
      ?.waits.between(last.from, last.from, (v) => {
        if (v !== last && v.from < last.from && s.end(v) > last.from) before++;
      });
    if (before) notes.push(w.position(before + 1));
  }
  return notes.length ? [h("p.note", null, notes.join(w.between))] : [];
}

function copyButton(app: App, key: string, text: string, what: () => string): HTMLElement {
  const b = h(
    "button.small",
    {
      type: "button",
      "data-key": "copy " + key,
      click: () => {
        const w = app.words;
        Promise.resolve()
          .then(() => navigator.clipboard.writeText(what()))
          .then(
            () => (b.textContent = w.copied),
            () => (b.textContent = w.notCopied),
          );
      },
    },
    text,
  );
  return b;
}
