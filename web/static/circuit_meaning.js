// What a node stands for: what is said of it, or else, said as such, the tokens that it promotes.

import { readable } from "./circuit_sift.js";

/** As text; empty where there is neither. */
export const meaning = ({ said, promoted }) => said || (promoted.length ? `promotes ${promoted.map(readable).join(" ")}` : "");

/** As part of the page, as circuit_cells.html makes it. */
export function meant({ said, promoted }) {
  if (said || !promoted.length) return document.createTextNode(said);
  const whole = Object.assign(document.createElement("span"), { className: "promotes muted", textContent: "promotes" });
  for (const token of promoted) whole.append(" ", Object.assign(document.createElement("span"), { className: "chip", textContent: readable(token) }));
  return whole;
}
