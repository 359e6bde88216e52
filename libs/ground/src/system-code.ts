/** The system's name for what went wrong, such as `ENOSPC`; empty where there is none. Inside Jest Node's errors are not `instanceof Error`. */
export function systemCode(error: unknown): string {
  return typeof error === 'object' && error !== null && 'code' in error && typeof error.code === 'string' ? error.code : '';
}
