// What is said of an interval: on the card at the pointer, and in the table.

import type { App } from "./app";
import type { Interval } from "./data";
import { h, link, type Child } from "./dom";
import type { View } from "./draw";
import type { Piece } from "./explain";
import { clock, moment } from "./time";
import { clean, nameOf, phrase, word } from "./words";

const MOST_ROWS = 200;

// card is all that is known of an interval.
export function card(app: App, v: Interval): Child[] {
  const { words: w, store: s, explainer, colours } = app,
    end = s.end(v),
    lines: [string, string][] = [];
  lines.push([w.card.fromUntil, `${moment(v.from, s.now, true)} – ${v.open ? w.stillGoing : clock(v.until, true)}`]);
  const usual = v.kind === "hold" ? explainer.usual(v) : 0;
  lines.push([w.card.took, w.precise(end - v.from) + (usual ? " · " + w.usually(usual) : "")]);
  if (v.kind === "hold" || v.kind === "wait" || v.kind === "reserved") lines.push([w.card.lock, clean(v.name)]);
  if (v.what && v.kind !== "reserved") lines.push([w.card.reason, phrase(v.what)]);
  if (v.job.actor) lines.push([w.card.by, word(v.job.actor)]);
  if (!v.open && v.kind !== "runner" && v.end) lines.push([w.card.ended, w.ended(clean(v.end), phrase(v.evidence))]);
  if (v.wait)
    partsIn(app, v)
      .slice(0, 4)
      .forEach((p, i) => lines.push([i ? "" : w.card.waitedFor, `${w.duration(p.time)} ${w.cause(p)}`]));
  if (v.kind === "hold" || v.kind === "reserved") {
    let n = 0;
    s.locks
      .find((l) => l.name === v.name)
      ?.waits.between(v.from, end, (o) => {
        if (o.from < end && s.end(o) > v.from) n++;
      });
    if (n) lines.push([w.card.keptWaiting, w.jobs(n)]);
  }
  return [
    h(
      "div.mute",
      null,
      v.job.repository && h("i.swatch", { "css:background": colours.css(v.job.repository) }),
      w.kind(v.kind, v.plain),
    ),
    h("b", null, titleOf(app, v)),
    ...lines.map(([a, b]) => h("div.line", null, h("span", null, a), h("span", null, b))),
  ];
}

function partsIn(app: App, v: Interval): Piece[] {
  return v.wait ? app.explainer.explain(v.wait).parts.filter((p) => p.of === v) : [];
}

function titleOf({ words: w }: App, v: Interval): string {
  const who = nameOf(v.job);
  switch (v.kind) {
    case "reserved":
      return [w.reservation(phrase(v.what)), who].filter(Boolean).join(" · ");
    case "runner":
      return `${clean(v.name)}: ${w.runnerState(clean(v.end))}`;
    case "build":
    case "container":
      return [phrase(v.name), who].filter(Boolean).join(" · ");
    default:
      return v.plain ? w.legend.plain : who || w.unknown;
  }
}

// table is what is in view, in words: the picture is never the only way.
export function table(app: App, view: View, faded: Set<string>, caption: string): Child[] {
  const { store: s, words: w } = app,
    list: Interval[] = [];
  for (const v of s.intervals.values()) if (v.from < view.until && s.end(v) > view.from) list.push(v);
  list.sort((a, b) => a.from - b.from);
  const shown = list.slice(0, MOST_ROWS),
    c = w.columns;
  const head = (text: string, side = "") => h("th" + side, { scope: "col" }, text);
  return [
    h("header", null, h("h2", null, w.tableTitle), h("span.side", null, w.shown(shown.length, list.length))),
    h(
      "div.scroll",
      { tabindex: 0, role: "region", "aria-label": w.tableTitle },
      h(
        "table",
        null,
        h("caption.unseen", null, caption),
        h(
          "thead",
          null,
          h("tr", null, head(c.from), head(c.took, ".number"), head(c.what), head(c.job), head(c.lock), head(c.ended)),
        ),
        h(
          "tbody",
          null,
          ...shown.map((v) =>
            h(
              faded.has(v.job.repository) ? "tr.faded" : "tr",
              null,
              h("td.one", null, moment(v.from, s.now, true)),
              h("td.number.one", null, w.precise(s.end(v) - v.from)),
              h("td.one", null, w.kind(v.kind, v.plain)),
              h("td", null, titleOf(app, v), /^https?:/i.test(v.job.url) && h("span", null, " ", link(v.job.url, "↗"))),
              h("td", null, v.kind === "hold" || v.kind === "wait" || v.kind === "reserved" ? clean(v.name) : ""),
              h(
                "td",
                null,
                v.wait && partsIn(app, v).length
                  ? partsIn(app, v)
                      .slice(0, 4)
                      .map((p) => `${w.duration(p.time)} ${w.cause(p)}`)
                      .join("; ")
                  : v.open
                    ? w.stillGoing
                    : v.kind === "runner"
                      ? ""
                      : w.ended(clean(v.end), phrase(v.evidence)),
              ),
            ),
          ),
        ),
      ),
    ),
  ];
}
