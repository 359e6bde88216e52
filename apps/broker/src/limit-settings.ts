/**
 * How the broker's limits are written in the daemon's settings: `memoryBytesMax=512MiB`, by the names that `Limits` of @dovecote/broker has. Pure.
 */
import { defaultLimits, type Limits } from '@dovecote/broker';
import { isObject } from './access-settings.js';

/** A client may not be asked to agree on smaller frames (AMQP 0-9-1, 4.2.3). */
const least: Readonly<Record<string, number>> = { frameBytesMax: 4096 };
const units: Readonly<Record<string, number>> = { '': 1, KiB: 2 ** 10, MiB: 2 ** 20, GiB: 2 ** 30 };

/** Takes `NAME=VALUE` with commas, a list of them, or an object; undefined where one is not allowed, or there twice. */
export function readLimits(given: unknown): Partial<Limits> | undefined {
  const pairs = pairsOf(given);
  const limits: Partial<Record<keyof Limits, number>> = {};
  for (const [name, value] of pairs) {
    const number = Object.hasOwn(defaultLimits, name) ? readValue(name, value) : undefined;
    if (number === undefined || Object.hasOwn(limits, name)) return undefined;
    limits[name as keyof Limits] = number;
  }
  return pairs.length === 0 ? undefined : limits;
}

function pairsOf(given: unknown): readonly (readonly [string, unknown])[] {
  if (isObject(given)) return Object.entries(given);
  const texts: readonly unknown[] = typeof given === 'string' ? given.split(',') : Array.isArray(given) ? given : [];
  return texts.map((text) => {
    const [name = '', value = ''] = String(text).split('=', 2);
    return [name.trim(), value.trim()];
  });
}

function readValue(name: string, value: unknown): number | undefined {
  if (name === 'consumerTimeoutMs' && value === 'none') return Number.POSITIVE_INFINITY;
  const [, digits, unit = ''] = /^(\d{1,16}) ?(KiB|MiB|GiB)?$/.exec(String(value)) ?? [];
  if (digits === undefined || (unit !== '' && !name.includes('Bytes'))) return undefined;
  const number = Number(digits) * units[unit]!;
  return number >= (least[name] ?? 1) && Number.isSafeInteger(number) ? number : undefined;
}
