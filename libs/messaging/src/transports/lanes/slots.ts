/**
 * Which lane a message belongs to: its key's slot, one of 32, written on the outside by whoever publishes it, and the lanes of a service share out the
 * slots. So a publisher need not know who reads in order, nor in how many lanes.
 *
 *   slot = FNV-1a (32 bits) of the key's bytes in UTF-8, modulo 32       lane = slot modulo the number of lanes
 *
 * Public, as the header is: a publisher in another language computes the same. Changed, a key would be in two lanes at once.
 */
export const SLOTS = 32;
export const SLOT_HEADER = 'dovecote-slot';

/** As they are written into the header. */
export const slots: readonly string[] = Array.from({ length: SLOTS }, (_, slot) => String(slot));

const OFFSET_BASIS = 0x811c9dc5;
const PRIME = 0x01000193;
const ASCII_MAX = 0x7f;

export function slotOf(key: string): string {
  return slots[hashOf(key) % SLOTS]!;
}

/** The same member comes first for the same lane, wherever that is asked: of all that want the lane, the one of the highest rank has it. */
export function rankOf(member: string, lane: number): number {
  // Stirred, because the last bytes hardly move the upper bits; and without the sign, as a priority of a consumer.
  let hash = hashOf(`${member}/${lane}`);
  hash = Math.imul(hash ^ (hash >>> 16), 0x85ebca6b);
  hash = Math.imul(hash ^ (hash >>> 13), 0xc2b2ae35);
  return (hash ^ (hash >>> 16)) >>> 1;
}

function hashOf(text: string): number {
  let hash = OFFSET_BASIS;
  for (let at = 0; at < text.length; at++) {
    const unit = text.charCodeAt(at);
    if (unit > ASCII_MAX) return hashOfBytes(Buffer.from(text));
    hash = Math.imul(hash ^ unit, PRIME);
  }
  return hash >>> 0;
}

function hashOfBytes(bytes: Uint8Array): number {
  let hash = OFFSET_BASIS;
  for (const byte of bytes) hash = Math.imul(hash ^ byte, PRIME);
  return hash >>> 0;
}
