/**
 * Speaks to the management API of a broker: ours or a RabbitMQ. One request at a time, JSON both ways. Keeps the password as long as the command
 * runs, and shows it nowhere.
 */
import { readFileSync } from 'node:fs';
import { request as plainRequest } from 'node:http';
import { request as tlsRequest } from 'node:https';

/** The broker said no; `status` is HTTP's. */
export class RefusedError extends Error {
  override readonly name = 'RefusedError';
  constructor(
    readonly status: number,
    message: string,
  ) {
    super(message);
  }
}

/** There is no answer, or no way in. */
export class UnreachableError extends Error {
  override readonly name = 'UnreachableError';
}

export interface ManagementAddress {
  /** http or https, host and port; what else is in it is ignored. */
  readonly url: URL;
  readonly user: string;
  readonly password: string;
  /** PEM file with the authorities to believe, for https. */
  readonly authorities: string | undefined;
}

/** What few requests need. */
interface Further {
  readonly query?: Readonly<Record<string, string>>;
  readonly headers?: Readonly<Record<string, string>>;
}

const timeoutMs = 30_000;

export class ManagementClient {
  constructor(private readonly address: ManagementAddress) {}

  /** The answer's JSON; undefined where it has none. `path` is a list of names, which may hold anything. Rejects with one of the errors above. */
  async ask<T>(method: 'GET' | 'PUT' | 'POST' | 'DELETE', path: readonly string[], body?: unknown, more: Further = {}): Promise<T> {
    const query = new URLSearchParams(more.query).toString();
    const whole = `/api/${path.map(encodeURIComponent).join('/')}${query === '' ? '' : `?${query}`}`;
    const { status, text } = await this.send(method, whole, body, more.headers);
    if (status === 401 || status === 403)
      throw new UnreachableError(
        `${this.where} does not let '${this.address.user}' do that: ${reasonIn(text) ?? 'wrong name or password'}`,
      );
    if (status >= 400)
      throw new RefusedError(status, status === 404 ? 'there is none of that name' : (reasonIn(text) ?? `the answer was ${status}`));
    return (text === '' ? undefined : parse(text, this.where)) as T;
  }

  private get where(): string {
    return `The broker at ${this.address.url.origin}`;
  }

  private send(method: string, path: string, body: unknown, further: Further['headers']): Promise<{ status: number; text: string }> {
    const { url, user, password, authorities } = this.address;
    const text = body === undefined ? undefined : JSON.stringify(body);
    const options = {
      method,
      auth: `${user}:${password}`,
      headers: {
        ...(text === undefined ? {} : { 'content-type': 'application/json', 'content-length': Buffer.byteLength(text) }),
        ...further,
      },
      timeout: timeoutMs,
      ...(authorities === undefined ? {} : { ca: readFileSync(authorities) }),
    };
    return new Promise((resolve, reject) => {
      const fail = (reason: string): void =>
        reject(new UnreachableError(`${this.where} cannot be reached: ${reason}. Is it running, and is --url right?`));
      const request = (url.protocol === 'https:' ? tlsRequest : plainRequest)(new URL(path, url), options, (response) => {
        const pieces: Buffer[] = [];
        response.on('data', (piece: Buffer) => pieces.push(piece));
        response.on('end', () => resolve({ status: response.statusCode ?? 0, text: Buffer.concat(pieces).toString('utf8') }));
        response.on('error', (error) => fail(error.message));
      });
      request.on('timeout', () => request.destroy(new Error(`no answer within ${timeoutMs / 1000} s`)));
      request.on('error', (error: NodeJS.ErrnoException) => fail(error.code ?? error.message));
      request.end(text);
    });
  }
}

function reasonIn(text: string): string | undefined {
  try {
    const { reason } = JSON.parse(text) as { reason?: unknown };
    return reason === undefined ? undefined : typeof reason === 'string' ? reason : JSON.stringify(reason);
  } catch {
    return undefined;
  }
}

function parse(text: string, where: string): unknown {
  try {
    return JSON.parse(text);
  } catch {
    throw new UnreachableError(`${where} does not answer with JSON: is that a management port?`);
  }
}
