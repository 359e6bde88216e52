/** Chance. The real one is the operating system's and fit for secrets; the seeded one repeats itself exactly. */
export interface Random {
  /** A whole number from 0 to `limit` - 1; `limit` at most 2^32. */
  below(limit: number): number;
  /** `length` random bytes in a buffer of their own. */
  bytes(length: number): Buffer;
}
