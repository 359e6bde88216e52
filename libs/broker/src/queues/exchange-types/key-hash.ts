/**
 * A fast hash of a text, well spread and the same on every machine and after every restart: where a key goes depends on it. Not
 * for secrets: whoever may choose keys can choose where they go.
 */
export function hashOf(text: string): number {
  let hash = 0x811c_9dc5;
  for (let index = 0; index < text.length; index++) hash = Math.imul(hash ^ text.charCodeAt(index), 0x0100_0193);
  return mixed(hash);
}

/** Spreads what differs in a few bits over all 32. */
export function mixed(value: number): number {
  let hash = value;
  hash = Math.imul(hash ^ (hash >>> 16), 0x85eb_ca6b);
  hash = Math.imul(hash ^ (hash >>> 13), 0xc2b2_ae35);
  return (hash ^ (hash >>> 16)) >>> 0;
}
