import type { ConfigSource, ConfigType } from '../log/topic-config.js';

/** Kafka's numbers for where the value of a config comes from, and of which type it is. */
export const configSources = { topic: 1, broker: 4, default: 5 } as const satisfies Record<ConfigSource, number>;
export const configTypes = { boolean: 1, string: 2, int: 3, long: 5, double: 6, list: 7 } as const satisfies Record<ConfigType, number>;

/** What configs belong to. */
export const resourceTypes = { topic: 2, broker: 4, brokerLogger: 8, clientMetrics: 16, group: 32 } as const;

export const operations = ['set', 'delete', 'append', 'subtract'] as const;
