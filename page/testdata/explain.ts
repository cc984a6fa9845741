// What a test needs of the page to have it explain all waits of a document.

export { Store } from "../src/data";
export { Explainer } from "../src/explain";
export { en } from "../src/words";
