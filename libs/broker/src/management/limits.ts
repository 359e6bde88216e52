/** The bounds of the management API. A longer body: 413; more connections are closed as they come; a slow request is ended. */
export const managementBounds = {
  /** Definitions of a large broker. */
  bodyBytesMax: 32 * 1024 * 1024,
  connectionsMax: 200,
  timeoutMs: 60_000,
} as const;
