/** Every bound of messaging, in one place. Crossing one answers the caller; nothing grows with what is thrown at it. */

/** Type and id travel as short strings of AMQP. */
export const TYPE_BYTES_MAX = 255;
export const ID_BYTES_MAX = 255;
export const KEY_BYTES_MAX = 1024;
/** All headers must fit into one frame, which may be as small as 64 KiB. */
export const HEADERS_MAX = 64;
export const HEADER_NAME_BYTES_MAX = 128;
export const HEADERS_BYTES_MAX = 16 * 1024;
/** What RabbitMQ takes unless told otherwise; more stays in a claim store (`claimCheck`). */
export const PAYLOAD_BYTES_MAX = 16 * 1024 * 1024;

/** A payload in a claim store, and all that are on their way there. */
export const CLAIM_BYTES_MAX = 256 * 1024 * 1024;
/** How long a claim store may take for one payload before the attempt, or the publish, has failed. */
export const CLAIM_TIMEOUT_MS = 30_000;
export const CLAIM_BYTES_UNDER_WAY_MAX = 512 * 1024 * 1024;

/** Publishes handed to the transport and not confirmed yet; beyond either, `publish` waits for its turn. */
export const PUBLISHES_IN_FLIGHT_MAX = 10_000;
export const PUBLISH_BYTES_IN_FLIGHT_MAX = 64 * 1024 * 1024;
/** Publishes that wait for their turn; beyond either, `publish` rejects at once. */
export const PUBLISHES_WAITING_MAX = 100_000;
export const PUBLISH_BYTES_WAITING_MAX = 256 * 1024 * 1024;

/** Deliveries a service may hold unacknowledged; AMQP counts them in sixteen bits. */
export const PREFETCH_MAX = 65_535;
/** Messages whose failures are counted for the backoff. The oldest is forgotten first, and its next backoff is short again. */
export const FAILURES_REMEMBERED_MAX = 10_000;

/** Of the failures of a message the last so many are told, each in so many characters: with the rest they must fit into its headers. */
export const HISTORY_MAX = 10;
export const REASON_CHARACTERS_MAX = 300;
/** Attempts at one message, and the longest time anything of it may be told to wait: what broker's timers and ours can both keep, 24 days. */
export const ATTEMPTS_MAX = 1_000;
export const LONGEST_WAIT_MS = 2_147_483_647;
/** Messages in one batch. */
export const BATCH_MAX = 10_000;
/** Starts that a rate limit remembers. */
export const RATE_COUNT_MAX = 100_000;
/** Handed out more often than this without being acknowledged, a message is suspected of ending the process and goes into quarantine. */
export const DELIVERIES_UNSUSPECTED_MAX = 3;
/** Begun so often in quarantine without an end, it is a dead letter. */
export const SUSPECTED_STARTS_MAX = 3;
/** Messages of a lane that wait behind one of their key; beyond it the lane is paused until there are fewer. */
export const PARKED_MAX = 10_000;
/** How long the publish of a retry or a dead letter may take before its delivery is given back instead. */
export const MOVE_TIMEOUT_MS = 30_000;
/** Requests that wait for their answer. */
export const REQUESTS_UNDER_WAY_MAX = 10_000;
/** Types that were looked up among patterns. */
export const TYPES_REMEMBERED_MAX = 10_000;
/** Dead letters in one list. */
export const DEAD_LETTERS_LISTED_MAX = 10_000;
/** Lanes of a service that reads in order from queues: more would share the 32 slots of the keys unevenly. */
export const LANES_MAX = 32;
/**
 * Messages of a lane that its member holds. Never smaller in a later version, and the same for all members whatever their prefetch: what a quorum queue
 * takes back it hands out first, and a member that took only some of it and ended would give that back behind the rest.
 */
export const LANE_PREFETCH = 256;
/** What is parked is held unacknowledged: all that AMQP can count. */
export const PARKED_PREFETCH = 65_535;
/** How long: ten years. */
export const LONGEST_HOLD_MS = 315_360_000_000;
