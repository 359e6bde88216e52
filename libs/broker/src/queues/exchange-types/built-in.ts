import { CodedError } from '../../errors.js';
import type { ExchangeType } from '../exchange-type.js';
import { consistentHash } from './consistent-hash.js';
import { delayedTypeName } from './delayed.js';
import { direct } from './direct.js';
import { fanout } from './fanout.js';
import { headers } from './headers.js';
import { modulusHash } from './modulus-hash.js';
import { localRandom, random } from './random.js';
import { topic } from './topic.js';

const builtInTypes: readonly ExchangeType[] = [direct, fanout, topic, headers, consistentHash, modulusHash, random, localRandom];

/** The exchanges that every virtual host has from its beginning, beside the default exchange. */
export const predeclared: readonly { readonly name: string; readonly type: string; readonly internal: boolean }[] = [
  { name: 'amq.direct', type: 'direct', internal: false },
  { name: 'amq.fanout', type: 'fanout', internal: false },
  { name: 'amq.topic', type: 'topic', internal: false },
  { name: 'amq.headers', type: 'headers', internal: false },
  { name: 'amq.match', type: 'headers', internal: false },
  { name: 'amq.rabbitmq.trace', type: 'topic', internal: true },
];

/** The built-in types and the user's own, by name; x-delayed-message stands above them (delayed.ts). Throws where one of these has a name that it must not have. */
export function exchangeTypesWith(own: readonly ExchangeType[]): ReadonlyMap<string, ExchangeType> {
  const types = new Map(builtInTypes.map((type) => [type.name, type]));
  for (const type of own) {
    const isTaken = types.has(type.name) || type.name === delayedTypeName;
    if (!type.name.startsWith('x-') || isTaken) {
      const reason = isTaken ? 'there is one of that name already' : "its name must begin with 'x-'";
      throw new CodedError('invalid-argument', `The exchange type '${type.name}' cannot be added: ${reason}`);
    }
    types.set(type.name, type);
  }
  return types;
}
