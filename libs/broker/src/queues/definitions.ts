import type { ExchangeSettings } from './exchange.js';
import type { QueueSettings } from './queue.js';

/**
 * What is decided about exchanges, queues and bindings, as it is written to the journal: JSON, one object a decision. Those of another
 * virtual host than `/` say its name under `host`.
 *
 * A checkpoint holds everything that is defined at the moment. It opens each journal file, so that the files before it are
 * needed only for their messages.
 */
export type Definition =
  | { readonly do: 'declare-exchange'; readonly exchange: ExchangeSettings }
  | { readonly do: 'delete-exchange'; readonly name: string }
  | { readonly do: 'declare-queue'; readonly queue: QueueSettings }
  | { readonly do: 'delete-queue'; readonly id: number }
  | { readonly do: 'bind' | 'unbind'; readonly binding: BindingRecord }
  /** The broker was closed in order. True as long as nothing follows. */
  | { readonly do: 'close' }
  | Checkpoint;

/** Leads from `exchange` to a queue or to another exchange. */
export type BindingRecord = {
  readonly exchange: string;
  readonly key: string;
  readonly arguments: string;
} & ({ readonly queueId: number } | { readonly toExchange: string });

export interface Checkpoint {
  readonly do: 'checkpoint';
  readonly nextQueueId: number;
  readonly exchanges: readonly ExchangeSettings[];
  readonly queues: readonly { readonly queue: QueueSettings; readonly nextSequence: number }[];
  /** The same for exchanges that hold messages, by their `heldId`; absent where there are none. */
  readonly held?: readonly { readonly id: number; readonly nextSequence: number }[];
  readonly bindings: readonly BindingRecord[];
}
