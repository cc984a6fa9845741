// Elements. Every text from outside becomes a text node here, and only an address of http
// or https becomes a link.

export type Child = Node | string | number | null | undefined | false;
type Attributes = Record<string, string | number | boolean | ((e: any) => void) | undefined>;

// h makes an element. A function is a listener; "css:NAME" sets a property of its style,
// which the page's policy allows to scripts alone.
export function h(tag: string, attributes: Attributes | null, ...children: Child[]): HTMLElement {
  const [name, ...classes] = tag.split(".");
  const e = document.createElement(name!);
  if (classes.length) e.className = classes.join(" ");
  set(e, attributes);
  add(e, children);
  return e;
}

const SVG = "http://www.w3.org/2000/svg";

// svg makes an element of a drawing, which says nothing to those who hear the page.
export function svg(tag: string, attributes: Attributes, ...children: Child[]): SVGElement {
  const e = document.createElementNS(SVG, tag);
  if (tag === "svg") e.setAttribute("aria-hidden", "true");
  set(e, attributes);
  add(e, children);
  return e;
}

function set(e: Element, attributes: Attributes | null) {
  for (const [key, value] of Object.entries(attributes ?? {})) {
    if (value === undefined || value === false) continue;
    if (typeof value === "function") e.addEventListener(key, value);
    else if (key.startsWith("css:")) (e as HTMLElement).style.setProperty(key.slice(4), String(value));
    else e.setAttribute(key, value === true ? "" : String(value));
  }
}

function add(e: Element, children: Child[]) {
  for (const c of children) if (c !== null && c !== undefined && c !== false) e.append(c as Node | string);
}

// fill replaces what is in an element. The focus goes to the new element with the key that
// the focused one had, so that an update does not throw a keyboard's user out.
export function fill(e: Element, ...children: Child[]) {
  const focused = document.activeElement;
  const key = focused && e.contains(focused) ? focused.getAttribute("data-key") : null;
  e.replaceChildren();
  add(e, children);
  if (key) for (const c of e.querySelectorAll<HTMLElement>("[data-key]")) if (c.dataset.key === key) c.focus();
}

// link is a link if the address is one of the web, else the text alone.
export function link(address: string, text: string): HTMLElement {
  let url: URL | null = null;
  try {
    url = new URL(address);
  } catch {
    // no address
  }
  if (!url || (url.protocol !== "http:" && url.protocol !== "https:")) return h("span", null, text);
  const to = url.href;
  return h("a", { href: to, rel: "noreferrer noopener", target: "_blank", "data-key": to }, text);
}

// fit sizes a canvas to the pixels that it has on the screen, and returns its context, in
// whose units one is one of the page's pixels.
export function fit(canvas: HTMLCanvasElement, height: number): { ctx: CanvasRenderingContext2D; width: number } {
  const ratio = Math.min(3, devicePixelRatio || 1);
  const width = canvas.clientWidth;
  canvas.style.height = height + "px";
  const w = Math.round(width * ratio),
    t = Math.round(height * ratio);
  if (canvas.width !== w || canvas.height !== t) {
    canvas.width = w;
    canvas.height = t;
  }
  const ctx = canvas.getContext("2d")!;
  ctx.setTransform(ratio, 0, 0, ratio, 0, 0);
  ctx.clearRect(0, 0, width, height);
  return { ctx, width };
}
