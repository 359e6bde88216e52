/**
 * The trail of a message as headers and back. Each transport carries headers, so each carries the trail:
 *
 *   dovecote-failures  "3"        dovecote-history  [{"atMs":…,"reason":"…"}, …]
 *   dovecote-starts    "1"        dovecote-death    {"cause":"attempts","atMs":…,"reason":"…","group":"…","handler":"…",
 *                                               "parked":{"lane":"…","sequence":17}}
 *
 * What a stranger put there is read as far as it makes sense and never trusted further than to delay or bury that one message. No I/O.
 */
import { type Death, type DeathCause, type Failure, type ParkedPlace, type Trail, noTrail } from './envelope.js';
import { HISTORY_MAX, REASON_CHARACTERS_MAX } from './limits.js';

/** Names that begin so belong to the framework: publishers may not set them, handlers do not see them. */
export const OWN_PREFIX = 'dovecote-';

const FAILURES = 'dovecote-failures';
const STARTS = 'dovecote-starts';
const HISTORY = 'dovecote-history';
const DEATH = 'dovecote-death';

const causes: Readonly<Record<DeathCause, true>> = {
  attempts: true,
  fatal: true,
  unreadable: true,
  unhandled: true,
  poisoned: true,
  expired: true,
  'too-large': true,
};

export function trailHeaders({ failures, starts, history, death }: Trail): Record<string, string> {
  const headers: Record<string, string> = {};
  if (failures > 0) headers[FAILURES] = String(failures);
  if (starts > 0) headers[STARTS] = String(starts);
  if (history.length > 0) headers[HISTORY] = JSON.stringify(history);
  if (death !== undefined) headers[DEATH] = JSON.stringify(death);
  return headers;
}

/** Whether the header belongs to a trail; others that begin with `OWN_PREFIX` are between transports. */
export function isOfTrail(name: string): boolean {
  return name === FAILURES || name === STARTS || name === HISTORY || name === DEATH;
}

/** `header` finds a header of the message by its name. Call it only where one of the trail's is there. */
export function trailOf(header: (name: string) => string | undefined): Trail {
  const history = parsed(header(HISTORY));
  return {
    failures: count(header(FAILURES)),
    starts: count(header(STARTS)),
    history: Array.isArray(history) ? history.slice(-HISTORY_MAX).filter(isFailure).map(trimmed) : [],
    death: deathOf(parsed(header(DEATH))),
  };
}

/** One more failure of a handler. */
export function failed(trail: Trail | undefined, atMs: number, reason: string): Trail {
  const { failures, starts, history } = trail ?? noTrail;
  return { failures: failures + 1, starts, history: [...history.slice(1 - HISTORY_MAX), trimmed({ atMs, reason })], death: undefined };
}

/** Its process ended once more. */
export function started(trail: Trail | undefined): Trail {
  const before = trail ?? noTrail;
  return { ...before, starts: before.starts + 1 };
}

export function died(trail: Trail | undefined, death: Death): Trail {
  return { ...(trail ?? noTrail), death: { ...death, reason: shortened(death.reason) } };
}

function deathOf(value: unknown): Death | undefined {
  if (!isFailure(value)) return undefined;
  const { cause, group, handler, parked } = value as Partial<Death>;
  if (cause === undefined || !Object.hasOwn(causes, cause) || typeof group !== 'string') return undefined;
  const death: Death = { ...trimmed(value), cause, group, handler: typeof handler === 'string' ? handler : undefined };
  return isPlace(parked) ? { ...death, parked: { lane: parked.lane, sequence: parked.sequence } } : death;
}

function isPlace(value: unknown): value is ParkedPlace {
  if (typeof value !== 'object' || value === null) return false;
  const { lane, sequence } = value as Partial<ParkedPlace>;
  return typeof lane === 'string' && Number.isSafeInteger(sequence);
}

function isFailure(value: unknown): value is Failure {
  if (typeof value !== 'object' || value === null) return false;
  const { atMs, reason } = value as Partial<Failure>;
  return typeof atMs === 'number' && Number.isFinite(atMs) && typeof reason === 'string';
}

function trimmed({ atMs, reason }: Failure): Failure {
  return { atMs, reason: shortened(reason) };
}

function shortened(reason: string): string {
  return reason.length <= REASON_CHARACTERS_MAX ? reason : `${reason.slice(0, REASON_CHARACTERS_MAX - 1)}…`;
}

function count(value: string | undefined): number {
  return value !== undefined && /^\d{1,9}$/.test(value) ? Number(value) : 0;
}

function parsed(json: string | undefined): unknown {
  if (json === undefined) return undefined;
  try {
    return JSON.parse(json);
  } catch {
    return undefined;
  }
}
