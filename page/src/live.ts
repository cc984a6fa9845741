// The way to the server: a document, then what changes. A connection that is lost is said,
// and comes back by itself.

import type { Document } from "./data";

// Seconds until it tries again: at first, and at most when nobody answers for long.
const RETRY = 4,
  LONGEST_RETRY = 30;
const SILENCE = 35_000; // milliseconds without any event
const OPENING = 10_000; // milliseconds until a server answers

export interface Listener {
  document(d: Document): void;
  lost(retry: number): void; // and again each second, with the seconds that are left
  refused(d: Document): void; // it is of a version that this page does not know
}

export class Live {
  private events: EventSource | null = null;
  private timer = 0;
  private now = 0; // of the last document
  private pause = RETRY;
  private resting = false; // nobody sees the page
  private fetching: AbortController | null = null;

  constructor(private listener: Listener) {
    // A page that nobody sees needs no connection, of which a browser has six for all pages
    // of a server.
    document.addEventListener("visibilitychange", () => {
      if (document.hidden && this.events) {
        this.stop();
        this.resting = true;
      } else if (!document.hidden && this.resting) this.listen(this.now);
    });
  }

  async start() {
    this.stop();
    const fetching = (this.fetching = new AbortController());
    const late = setTimeout(() => fetching.abort(), SILENCE); // a long history over a slow tunnel
    try {
      const answer = await fetch("data.json", { cache: "no-store", signal: fetching.signal });
      if (!answer.ok) throw new Error("status " + answer.status);
      const d: Document = await answer.json();
      if (this.fetching !== fetching) return;
      if (this.take(d)) this.listen(d.now);
    } catch {
      if (this.fetching === fetching) this.retry();
    } finally {
      clearTimeout(late);
    }
  }

  private take(d: Document): boolean {
    if (d.version !== 1) {
      this.stop();
      this.listener.refused(d);
      return false;
    }
    this.now = d.now;
    this.listener.document(d);
    return true;
  }

  private listen(since: number) {
    this.resting = document.hidden;
    if (this.resting) return;
    const events = (this.events = new EventSource("events?since=" + since));
    // The browser would connect again by itself, but after an answer of an error it does
    // not, and it does not say when.
    events.onerror = () => this.retry();
    events.onopen = () => {
      this.pause = RETRY;
      this.expect(SILENCE, () => this.again());
    };
    events.addEventListener("update", (e) => {
      this.expect(SILENCE, () => this.again());
      this.take(JSON.parse((e as MessageEvent<string>).data));
    });
    this.expect(OPENING, () => this.retry());
  }

  // again connects anew after a silence: a tunnel that hangs closes nothing.
  private again() {
    this.events?.close();
    this.listen(this.now);
  }

  private expect(within: number, otherwise: () => void) {
    clearTimeout(this.timer);
    this.timer = window.setTimeout(otherwise, within);
  }

  private retry() {
    this.stop();
    const pause = this.pause;
    this.pause = Math.min(LONGEST_RETRY, 2 * pause);
    this.count(pause);
  }

  private count(left: number) {
    if (left === 0) {
      this.start();
      return;
    }
    this.listener.lost(left);
    this.timer = window.setTimeout(() => this.count(left - 1), 1000);
  }

  private stop() {
    this.resting = false;
    clearTimeout(this.timer);
    this.events?.close();
    this.events = null;
    this.fetching?.abort();
    this.fetching = null;
  }
}
