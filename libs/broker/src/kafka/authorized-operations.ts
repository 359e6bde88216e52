import type { Rights } from './rights.js';

/** What a client may do, as bits. The numbers of the operations are Kafka's. */
const operations = {
  read: 3,
  write: 4,
  create: 5,
  delete: 6,
  alter: 7,
  describe: 8,
  clusterAction: 9,
  describeConfigs: 10,
  alterConfigs: 11,
  idempotentWrite: 12,
} as const;

type Operation = keyof typeof operations;

function bits(names: readonly Operation[]): number {
  return names.reduce((sum, name) => sum + 2 ** operations[name], 0);
}

/** Each with the others that come with it. */
const ofTopic: Readonly<Record<'read' | 'write' | 'configure', readonly Operation[]>> = {
  read: ['read'],
  write: ['write'],
  configure: ['create', 'delete', 'alter', 'alterConfigs'],
};

export function topicOperations(rights: Rights, topic: string): number {
  const deeds = (['read', 'write', 'configure'] as const).filter((deed) => rights.may(deed, topic));
  const seen: readonly Operation[] = deeds.length > 0 ? ['describe', 'describeConfigs'] : [];
  return bits([...deeds.flatMap((deed) => ofTopic[deed]), ...seen]);
}

export function groupOperations(rights: Rights, group: string): number {
  const read: readonly Operation[] = rights.may('read', group) ? ['read', 'describe', 'describeConfigs', 'alterConfigs'] : [];
  return bits([...read, ...(rights.may('configure', group) ? (['delete'] as const) : [])]);
}

export function clusterOperations(rights: Rights): number {
  const operator: readonly Operation[] = rights.isOperator ? ['create', 'alter', 'clusterAction', 'describeConfigs', 'alterConfigs'] : [];
  return bits([...operator, ...(rights.isAdmitted ? (['describe', 'idempotentWrite'] as const) : [])]);
}

/** Nobody asked. */
export const operationsNotAsked = -2_147_483_648;
