// The legend: the shapes of the picture, which say what a bar is.

import { h, svg, type Child } from "./dom";
import type { Words } from "./words";

export function legend(words: Words["legend"], colour: string): Child[] {
  const drawing = (...shapes: SVGElement[]) => svg("svg", { width: 24, height: 14 }, ...shapes);
  const pattern = (id: string, size: number, turned: boolean, ...inside: SVGElement[]) =>
    svg(
      "defs",
      {},
      svg(
        "pattern",
        {
          id,
          width: size,
          height: size,
          patternUnits: "userSpaceOnUse",
          patternTransform: turned ? "rotate(45)" : "",
        },
        ...inside,
      ),
    );
  const box = (attributes: Record<string, string | number>) =>
    svg("rect", { x: 1, y: 1.75, width: 22, height: 10.5, ...attributes });
  const entry = (shape: SVGElement, text: string) => h("span", null, shape, text);
  return [
    entry(drawing(box({ rx: 3, fill: colour })), words.hold),
    entry(
      drawing(
        pattern("hatch", 4, true, svg("path", { d: "M0 0v4", stroke: colour })),
        box({ fill: "url(#hatch)", stroke: colour, "stroke-width": 1.5 }),
        svg("rect", { y: 1, width: 3, height: 12, fill: colour }),
      ),
      words.wait,
    ),
    entry(
      drawing(
        pattern(
          "dots",
          5,
          false,
          svg("circle", { cx: 1.5, cy: 1.5, r: 1, fill: "var(--amber)" }),
          svg("circle", { cx: 4, cy: 4, r: 1, fill: "var(--amber)" }),
        ),
        box({ fill: "url(#dots)", stroke: "var(--amber)", "stroke-width": 1.5 }),
      ),
      words.pressure,
    ),
    entry(drawing(svg("path", { d: "M5 2h14l4 5-4 5H5L1 7z", fill: "var(--amber-fill)" })), words.build),
    entry(
      drawing(
        svg("path", { d: "M12 0l7 7-7 7-7-7z", fill: "var(--alarm)" }),
        svg("path", { d: "M9.5 4.5l5 5m0-5l-5 5", stroke: "var(--surface)", "stroke-width": 1.6 }),
      ),
      words.taken,
    ),
    entry(
      drawing(box({ rx: 3, fill: "none", stroke: "var(--mute)", "stroke-width": 1.5, "stroke-dasharray": "4 3" })),
      words.plain,
    ),
    entry(
      drawing(
        pattern("stripes", 8, true, svg("path", { d: "M0 0v8", stroke: "var(--strong)", "stroke-width": 5 })),
        svg("rect", { x: 0.5, y: 0.5, width: 23, height: 13, fill: "url(#stripes)", stroke: "var(--mute)" }),
      ),
      words.reserved,
    ),
    entry(
      drawing(
        pattern("gap", 5, true, svg("path", { d: "M0 0v5", stroke: "var(--mute)" })),
        svg("rect", { width: 24, height: 14, fill: "url(#gap)" }),
      ),
      words.gap,
    ),
  ];
}
