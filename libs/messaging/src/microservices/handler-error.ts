/** What Nest hands on in place of an error: the text or the object of an `RpcException`, or `{ status, message }` for any other. No I/O. */

/** As an error, with the `code` and the `retryable` that the object may have: a delivery decides by those, and a dead letter tells the message. */
export function handlerError(thrown: unknown): Error {
  if (thrown instanceof Error) return thrown;
  if (typeof thrown !== 'object' || thrown === null) return new Error(String(thrown));
  const { message, ...said } = thrown as Readonly<Record<string, unknown>>;
  return Object.assign(new Error(typeof message === 'string' ? message : JSON.stringify(thrown)), said);
}
