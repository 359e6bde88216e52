/** What a service finds on its broker when it starts, in words: one line for all that is made, one for each thing that is not as it should be. */
import { MessagingError } from './errors.js';
import type { Log } from './log.js';
import type { PlannedThing } from './transport.js';

/**
 * Says what is there and what will be made. Throws a `MessagingError` of code `unfit-topology` where something is there that cannot be used as it is, or,
 * under `check`, where something is missing: it names all of it.
 */
export function reportTopology(planned: readonly PlannedThing[], topology: 'create' | 'check', service: string, log: Log): void {
  const absent = planned.filter(({ state }) => state === 'absent');
  const different = planned.filter(({ state }) => state === 'different');
  const unseen = planned.filter(({ state, detail }) => state === 'unseen' && detail === undefined);
  for (const one of different) if (one.isUsable === true) log.warn(`${sentenceOf(one)}.`);
  // What should have been seen, and was not; where something can be done about it, only for those who look closely.
  for (const { thing, state, detail, wayOut } of planned) {
    if (state !== 'unseen' || detail === undefined) continue;
    if (wayOut === undefined) log.warn(`${thing}: ${detail}.`);
    else if (topology === 'check') log.info(`${thing}: ${detail}; ${wayOut}.`);
  }
  const unfit = different.filter(({ isUsable }) => isUsable !== true).map(sentenceOf);
  const missing = topology === 'check' ? absent.map(({ thing, detail }) => `${thing} is missing${detail ? ` (${detail})` : ''}`) : [];
  if (unfit.length + missing.length > 0) {
    const advice = missing.length > 0 ? " Make what is missing, or start the service once with topology 'create'." : '';
    throw new MessagingError(
      'unfit-topology',
      `'${service}' does not start on this broker: ${[...unfit, ...missing].join('; ')}.${advice}`,
    );
  }
  if (topology === 'create' && absent.length > 0) log.info(`Makes on the broker what is not there: ${listOf(absent)}.`);
  if (topology === 'check' && unseen.length > 0) log.info(`Must be there, and cannot be asked for: ${listOf(unseen)}.`);
}

/** A line for each thing, for people. */
export function topologyText(planned: readonly PlannedThing[]): string {
  const width = Math.max(0, ...planned.map(({ state }) => state.length));
  return planned
    .map(
      (one) =>
        `${one.state.padEnd(width)}  ${one.thing}${one.detail === undefined ? '' : `: ${one.detail}`}${one.wayOut === undefined ? '' : `; ${one.wayOut}`}\n`,
    )
    .join('');
}

function sentenceOf({ thing, detail = 'it differs', wayOut }: PlannedThing): string {
  return `${thing} is not as it would be made here: ${detail}${wayOut === undefined ? '' : `; ${wayOut}`}`;
}

function listOf(things: readonly PlannedThing[]): string {
  return things.map(({ thing }) => thing).join(', ');
}
