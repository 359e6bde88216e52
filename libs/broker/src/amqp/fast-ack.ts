import { frameEnd, frameOverheadBytes } from '../queues/content.js';
import type { Channel } from './channel.js';
import { ackFrameBytes } from './delivery.js';

/** Takes the basic.ack at `at` without decoding it, the way of most of them. Returns where its frame ends, or `at` for one that deserves a closer look. */
export function takeFastAck(channel: Channel, bytes: Buffer, view: DataView, at: number): number {
  if (view.getUint32(at + 3) !== ackFrameBytes - frameOverheadBytes || bytes[at + ackFrameBytes - 1] !== frameEnd) return at;
  const tag = view.getUint32(at + 11) * 0x1_0000_0000 + view.getUint32(at + 15);
  // An unknown tag changes nothing here and is refused on the way of all other methods.
  return channel.session.acknowledge(tag, (bytes[at + 19]! & 1) !== 0) ? at + ackFrameBytes : at;
}
