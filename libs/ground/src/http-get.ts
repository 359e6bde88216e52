/** One question to an HTTP server and its whole answer, on the real network alone: for what is asked once, at a start. Keeps nothing. */

export interface HttpAnswer {
  readonly status: number;
  readonly text: string;
}

export interface HttpGetOptions {
  readonly user: string;
  readonly password: string;
  /** For all of it, in milliseconds. */
  readonly timeoutMs: number;
  /** An answer of more is given up. */
  readonly bytesMax: number;
}

/** Rejects with an `Error` whose sentence says why there is no whole answer. Redirections are not followed: the password is for this server alone. */
export async function httpGet(url: URL, { user, password, timeoutMs, bytesMax }: HttpGetOptions): Promise<HttpAnswer> {
  const authorization = `Basic ${Buffer.from(`${user}:${password}`).toString('base64')}`;
  const signal = AbortSignal.timeout(timeoutMs);
  try {
    const { status, body } = await fetch(url, { headers: { authorization }, redirect: 'manual', signal });
    const pieces: Uint8Array[] = [];
    let bytes = 0;
    for await (const piece of body ?? []) {
      bytes += piece.byteLength;
      if (bytes > bytesMax) throw new Error(`the answer has more than ${bytesMax} bytes`);
      pieces.push(piece);
    }
    return { status, text: Buffer.concat(pieces).toString('utf8') };
  } catch (error) {
    if (signal.aborted) throw new Error(`there was no answer within ${timeoutMs} ms`, { cause: error });
    // What happened to the connection stands behind a "fetch failed".
    throw new Error(reasonOf(error), { cause: error });
  }
}

function reasonOf(error: unknown): string {
  const { message, cause } = error as Error;
  const { message: behind, code } = (cause ?? {}) as Partial<NodeJS.ErrnoException>;
  return behind || code || message;
}
