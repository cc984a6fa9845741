// What the two views share.

import type { Colours, Palette } from "./colour";
import type { Store } from "./data";
import type { Explainer } from "./explain";
import type { Words } from "./words";

// Connection is what the page knows of the server: "behind" is one that answers, but whose
// last look at the host is old, and "file" a report, which has no server.
export type Connection = "live" | "off" | "behind" | "file";

export interface App {
  store: Store;
  words: Words;
  explainer: Explainer;
  colours: Colours;
  palette: Palette;
  connection: Connection;
  say(text: string): void; // to those who hear the page
}
