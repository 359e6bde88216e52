/** What a client may do, as bits: everything there is, while there are no access control lists. The numbers of the operations are Kafka's. */
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

function bits(...names: readonly (keyof typeof operations)[]): number {
  return names.reduce((sum, name) => sum + 2 ** operations[name], 0);
}

export const topicOperations = bits('read', 'write', 'create', 'delete', 'alter', 'describe', 'describeConfigs', 'alterConfigs');
export const groupOperations = bits('read', 'delete', 'describe', 'describeConfigs', 'alterConfigs');
export const clusterOperations = bits('create', 'alter', 'describe', 'clusterAction', 'describeConfigs', 'alterConfigs', 'idempotentWrite');
/** Nobody asked. */
export const operationsNotAsked = -2_147_483_648;
