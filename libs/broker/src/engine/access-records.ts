import type { HashingAlgorithm } from './password-hash.js';

/**
 * What is decided about users, permissions and virtual hosts, as it is written to the journal beside the definitions of the queues
 * (queues/definitions.ts): JSON, one object a decision. The names of the fields are ours; the management API has RabbitMQ's.
 */
export type AccessRecord =
  | { readonly do: 'put-user'; readonly user: UserRecord }
  /** Its permissions go with it. */
  | { readonly do: 'delete-user'; readonly name: string }
  | { readonly do: 'put-permission'; readonly permission: PermissionRecord }
  | { readonly do: 'delete-permission'; readonly user: string; readonly virtualHost: string }
  | { readonly do: 'put-topic-permission'; readonly permission: TopicPermissionRecord }
  /** Without an exchange: all of that user and virtual host. */
  | { readonly do: 'delete-topic-permission'; readonly user: string; readonly virtualHost: string; readonly exchange?: string };

export type VirtualHostRecord =
  | { readonly do: 'put-virtual-host'; readonly virtualHost: VirtualHostSettings }
  /** Its queues with their messages, its exchanges and the permissions for it go with it, in this one step. */
  | { readonly do: 'delete-virtual-host'; readonly name: string };

export type BrokerRecord = AccessRecord | VirtualHostRecord;

/** Several that become true together, or not at all. */
export interface Together {
  readonly do: 'together';
  readonly records: readonly BrokerRecord[];
}

export const userTags = ['administrator', 'monitoring', 'policymaker', 'management', 'impersonator'] as const;

export interface UserRecord {
  readonly name: string;
  readonly algorithm: HashingAlgorithm;
  readonly hash: string;
  /** Those of `userTags` have a meaning; others are kept as they are. */
  readonly tags: readonly string[];
}

/** Regular expressions over names; an empty one lets nothing through. */
export interface PermissionRecord {
  readonly user: string;
  readonly virtualHost: string;
  readonly configure: string;
  readonly write: string;
  readonly read: string;
}

/** The same over the routing keys of one topic exchange; `{username}` and `{vhost}` in them stand for the names. */
export interface TopicPermissionRecord {
  readonly user: string;
  readonly virtualHost: string;
  readonly exchange: string;
  readonly write: string;
  readonly read: string;
}

export interface VirtualHostSettings {
  readonly name: string;
  readonly description?: string;
  readonly tags?: readonly string[];
  /** For queues that are declared without a type. Default: classic. */
  readonly defaultQueueType?: string;
  readonly limits?: VirtualHostLimits;
}

/** Negative: no limit. */
export interface VirtualHostLimits {
  readonly maxConnections?: number;
  readonly maxQueues?: number;
}

/** All of it, in the checkpoint of a journal. Absent where nothing was ever decided: then the opening makes `guest`. */
export interface AccessCheckpoint {
  readonly users: readonly UserRecord[];
  readonly permissions: readonly PermissionRecord[];
  readonly topicPermissions: readonly TopicPermissionRecord[];
}
