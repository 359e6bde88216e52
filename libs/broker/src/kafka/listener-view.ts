/** The door that a client came through, as it is told to others: with the address that clients of this door can reach. */
export interface ListenerView {
  readonly host: string;
  readonly port: number;
  /** Who comes in here must say who it is. */
  readonly needsLogin: boolean;
}
