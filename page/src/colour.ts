// Colours say whose a bar is: the three repositories that wait longest have one each, and
// all others share grey. They are read from the style sheet, which knows light from dark.

export interface Palette {
  [name: string]: string;
}

const NAMES = [
  "page",
  "surface",
  "sunk",
  "ink",
  "soft",
  "mute",
  "line",
  "strong",
  "blue",
  "green",
  "pink",
  "other",
  "on-fill",
  "on-pink",
  "amber",
  "amber-fill",
  "alarm",
  "ok",
  "focus",
];

export function palette(): Palette {
  const style = getComputedStyle(document.documentElement);
  return Object.fromEntries(NAMES.map((n) => [n, style.getPropertyValue("--" + n).trim()]));
}

const OWN = ["blue", "green", "pink"];

export class Colours {
  private names = new Map<string, string>();

  constructor(repositories: string[]) {
    repositories.slice(0, OWN.length).forEach((r, i) => this.names.set(r, OWN[i]!));
  }

  name(repository: string): string {
    return this.names.get(repository) ?? "other";
  }

  // css and ink are what an element is filled with, and its text.
  css(repository: string): string {
    return `var(--${this.name(repository)})`;
  }

  ink(repository: string): string {
    return this.name(repository) === "pink" ? "var(--on-pink)" : "var(--on-fill)";
  }

  get own(): string[] {
    return [...this.names.keys()];
  }
}
