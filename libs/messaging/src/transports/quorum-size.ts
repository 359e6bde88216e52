/** On how many nodes the quorum queues of a service are kept. No I/O. */
import { MessagingError } from '../errors.js';
import type { Declared } from './topology.js';

const SIZE_MAX = 99;

/** Throws a `MessagingError` of code `invalid-options`. */
export function checkQuorumSize(size: number | undefined, queueType: string): number | undefined {
  if (size === undefined) return undefined;
  if (queueType !== 'quorum') {
    throw new MessagingError(
      'invalid-options',
      'quorumSize is for quorum queues: a classic queue is on one node. Remove one of queueType and quorumSize.',
    );
  }
  if (Number.isInteger(size) && size >= 1 && size <= SIZE_MAX) return size;
  throw new MessagingError('invalid-options', `quorumSize is a whole number from 1 to ${SIZE_MAX}, not ${size}.`);
}

export function sized(things: readonly Declared[], size: number | undefined): readonly Declared[] {
  if (size === undefined) return things;
  return things.map((one) => {
    if (one.thing !== 'queue' || one.arguments['x-queue-type'] !== 'quorum') return one;
    return { ...one, arguments: { ...one.arguments, 'x-quorum-initial-group-size': size } };
  });
}
