/**
 * Builds the callable of a handler: guards, then interceptors, then pipes and the method, and filters around all of it.
 *
 * What stands there, and in which order, is found by Nest's own builder; pipes and filters are run by it too. Guards and interceptors are run here, because
 * Nest's way to a method that needs to wait for nothing is nine promises long. Keeps nothing.
 */
import type { CanActivate, ExecutionContext, NestInterceptor } from '@nestjs/common';
import type { ContextIdFactory, ExternalContextCreator } from '@nestjs/core';
import { isObservable, lastValueFrom } from 'rxjs';
import { throughInterceptors } from './interceptors.explorer.js';
import type { Message } from './message.js';

export type Callable = (event: object, message: Message) => Promise<unknown>;
type Method = (...args: unknown[]) => unknown;

export interface HandlerParts {
  readonly instance: object;
  readonly name: string;
  /** Where the parameters are recorded, and what they are given; absent where neither pipes nor parameter decorators have a say: to ask them costs a microsecond. */
  readonly parameters?: { readonly key: string; readonly factory: Parameters<ExternalContextCreator['create']>[4] } | undefined;
  /** Of one message, where the handler is in request scope. */
  readonly contextId?: ReturnType<typeof ContextIdFactory.create> | undefined;
  readonly inquirerId?: string | undefined;
}

const CONTEXT_TYPE = 'rpc';
const everything = { guards: true, interceptors: true, filters: true };

type Context = ExecutionContext & { setType(type: string): void };
interface ContextSource {
  createContext(args: unknown[], instance: object, callback: Method): Context;
}

/** What is used of Nest's builder that is not public; every version of Nest 11 and 12 has it. */
interface Inside {
  readonly guardsConsumer: ContextSource;
  readonly interceptorsConsumer: ContextSource;
  readonly interceptorsContextCreator: { create(...found: unknown[]): readonly NestInterceptor[] };
  readonly externalErrorProxy: { createProxy(target: Method, filter: unknown, type: string): Callable };
  createGuardsFn(guards: readonly CanActivate[], instance: object, callback: Method, type: string): (args: unknown[]) => Promise<void>;
}

/** Where another version of Nest keeps its parts elsewhere, its own does the work. */
export function createHandler(nests: ExternalContextCreator, handler: HandlerParts): Callable {
  const inside = nests as unknown as Inside;
  if (!isKnown(inside)) {
    const call = create(nests, handler);
    return (event, message) => call(event, message).then(settled);
  }
  const callback = Reflect.get(handler.instance, handler.name) as Method;
  let guards: readonly CanActivate[] = [];
  let interceptors: readonly NestInterceptor[] = [];
  // Nest's builder, with places in which it leaves what it found, and without a hand in guards and interceptors.
  const finder = Object.create(nests, {
    createGuardsFn: { value: (found: readonly CanActivate[]) => void (guards = found) },
    interceptorsContextCreator: {
      value: {
        create: (...where: unknown[]) => {
          interceptors = inside.interceptorsContextCreator.create(...where);
          return [];
        },
      },
    },
    interceptorsConsumer: {
      value: { intercept: (_none: unknown, _args: unknown, _instance: unknown, _callback: unknown, next: Method) => next() },
    },
    transformToResult: { value: (answer: unknown) => answer },
    externalErrorProxy: {
      value: {
        createProxy: (target: Method, filter: unknown) => {
          const method: Method =
            handler.parameters === undefined ? (event, message) => callback.call(handler.instance, event, message) : target;
          const invocation = new Invocation(inside, handler.instance, callback, guards, interceptors, method, filter);
          return (event: object, message: Message) => invocation.call(event, message);
        },
      },
    },
  }) as ExternalContextCreator;
  return create(finder, handler);
}

function create(creator: ExternalContextCreator, { instance, name, parameters, contextId, inquirerId }: HandlerParts): Callable {
  const callback = Reflect.get(instance, name) as Method;
  return creator.create(
    instance,
    callback,
    name,
    parameters?.key,
    parameters?.factory,
    contextId,
    inquirerId,
    everything,
    CONTEXT_TYPE,
  ) as Callable;
}

function isKnown(inside: Inside): boolean {
  const parts: readonly (readonly [unknown, string])[] = [
    [inside.guardsConsumer, 'createContext'],
    [inside.interceptorsConsumer, 'createContext'],
    [inside.interceptorsContextCreator, 'create'],
    [inside.externalErrorProxy, 'createProxy'],
    [inside, 'createGuardsFn'],
  ];
  return parts.every(([part, verb]) => typeof part === 'object' && part !== null && typeof Reflect.get(part, verb) === 'function');
}

class Invocation {
  constructor(
    private readonly nests: Inside,
    private readonly instance: object,
    private readonly callback: Method,
    private readonly guards: readonly CanActivate[],
    private readonly interceptors: readonly NestInterceptor[],
    /** With its pipes. */
    private readonly method: Method,
    private readonly filter: unknown,
  ) {}

  async call(event: object, message: Message): Promise<unknown> {
    let result: unknown;
    try {
      const args: unknown[] = [event, message];
      if (this.guards.length > 0) await this.#guard(args);
      result = await (this.interceptors.length > 0 ? this.#intercept(args) : ended(this.method(args[0], args[1])));
    } catch (error) {
      const caught = this.nests.externalErrorProxy.createProxy(() => Promise.reject(error as Error), this.filter, CONTEXT_TYPE);
      result = await caught(event, message);
    }
    return settled(result);
  }

  /** Nothing where all agree at once. */
  #guard(args: unknown[]): Promise<void> | undefined {
    const context = this.#context(this.nests.guardsConsumer, args);
    const { guards } = this;
    for (let index = 0; index < guards.length; index++) {
      const verdict = guards[index]!.canActivate(context);
      if (verdict !== true) return this.#judge(index, verdict, context, args);
    }
    return undefined;
  }

  /** What is no plain yes is Nest's to judge: promises, streams, and how it refuses. */
  async #judge(first: number, verdict: unknown, context: Context, args: unknown[]): Promise<void> {
    const agree = (said: unknown): Promise<void> => {
      const guard = { canActivate: () => said } as CanActivate;
      return this.nests.createGuardsFn([guard], this.instance, this.callback, CONTEXT_TYPE)(args);
    };
    await agree(verdict);
    for (let index = first + 1; index < this.guards.length; index++) await agree(this.guards[index]!.canActivate(context));
  }

  #intercept(args: unknown[]): Promise<unknown> {
    // What an interceptor puts into the list does not reach the method.
    const [event, message] = args;
    const context = this.#context(this.nests.interceptorsConsumer, args);
    const stream = throughInterceptors(this.interceptors, context, () => this.method(event, message));
    return isObservable(stream) ? lastValueFrom(stream) : stream.then((late) => lastValueFrom(late));
  }

  #context(source: ContextSource, args: unknown[]): Context {
    const context = source.createContext(args, this.instance, this.callback);
    context.setType(CONTEXT_TYPE);
    return context;
  }
}

/** A stream that a method answers with, which must have a value; or a promise of one. */
async function ended(answer: unknown): Promise<unknown> {
  const known = await answer;
  return isObservable(known) ? lastValueFrom(known) : known;
}

/** A filter may answer with a stream, as Nest's own for RPC does; it counts when it has ended. */
function settled(result: unknown): unknown {
  return isObservable(result) ? lastValueFrom(result, { defaultValue: undefined }) : result;
}
