/**
 * Our way of calling a handler, held to Nest's own: the same guards, interceptors, pipes and filters, the same outcomes.
 */
import { describe, expect, it } from '@jest/globals';
import { AsyncLocalStorage } from 'node:async_hooks';
import { isDeepStrictEqual } from 'node:util';
import {
  type ArgumentsHost,
  Body,
  type CallHandler,
  type CanActivate,
  type ExceptionFilter,
  type ExecutionContext,
  type NestInterceptor,
  type PipeTransform,
  UseFilters,
  UseGuards,
  UseInterceptors,
  UsePipes,
} from '@nestjs/common';
import { ExternalContextCreator, NestFactory } from '@nestjs/core';
import { catchError, concat, delay, EMPTY, from, isObservable, lastValueFrom, map, type Observable, of, retry, switchMap, tap } from 'rxjs';
import { type Callable, type HandlerParts, createHandler } from './invocation.explorer.js';
import type { Message } from './message.js';

type Notes = string[];
type Run = (handler: CallHandler, notes: Notes, context: ExecutionContext) => unknown;

const local = new AsyncLocalStorage<string>();

const note =
  (name: string): Run =>
  (handler, notes, context) => {
    notes.push(
      `${name} before ${context.getType()} ${context.getHandler().name} ${context.getClass().name} ${String(context.getArgs()[0])}`,
    );
    return handler
      .handle()
      .pipe(tap({ next: (value) => notes.push(`${name} ${String(value)}`), complete: () => notes.push(`${name} is done`) }));
  };

const runs: Readonly<Record<string, Run>> = {
  note: note('note'),
  other: note('other'),
  doubled: (handler) => handler.handle().pipe(map((value) => `${String(value)}${String(value)}`)),
  'answers without the handler': (_handler, notes) => {
    notes.push('answered');
    return of('cached');
  },
  'answers with nothing': () => EMPTY,
  'a promise of a stream': async (handler, notes) => {
    await Promise.resolve();
    notes.push('waited');
    return handler.handle();
  },
  'asks three times': (handler) => handler.handle().pipe(retry(2)),
  'asks twice, one after the other': (handler) => concat(handler.handle(), handler.handle()),
  'turns an error into a value': (handler) => handler.handle().pipe(catchError((error: Error) => of(`caught ${error.message}`))),
  throws: () => {
    throw new Error('no');
  },
  'a promise that rejects': () => Promise.reject(new Error('not now')),
  'answers a value': () => 5,
  'answers undefined': () => undefined,
  'answers a promise of undefined': () => Promise.resolve(undefined),
  'asks later, in another context': (handler) => {
    const stream = handler.handle();
    return of(1).pipe(
      delay(1),
      switchMap(() => local.run('elsewhere', () => stream)),
    );
  },
};

const handlers: Readonly<Record<string, (notes: Notes) => unknown>> = {
  value: () => 'value',
  nothing: () => undefined,
  array: () => ['a', 'b'],
  promise: () => Promise.resolve('later'),
  stream: () => from(['one', 'two']),
  error: () => {
    throw new Error('handler');
  },
  'the second time': (notes) => {
    if (notes.filter((text) => text === 'handled').length < 2) throw new Error('once more');
    return 'at last';
  },
  context: () => local.getStore(),
};

type Verdict = (notes: Notes, context: ExecutionContext) => unknown;

const verdicts: Readonly<Record<string, Verdict>> = {
  yes: (notes, context) => {
    notes.push(`asked ${context.getType()} ${context.getHandler().name} ${context.getClass().name} ${String(context.getArgs()[0])}`);
    return true;
  },
  no: () => false,
  'yes, later': () => Promise.resolve(true),
  'no, later': () => Promise.resolve(false),
  'a stream of yes': () => of(false, true),
  'a stream of no': () => of(true, false),
  'an empty stream': () => EMPTY,
  'something true': () => 1,
  nothing: () => undefined,
  throws: () => {
    throw new Error('guarded');
  },
  rejects: () => Promise.reject(new Error('guarded')),
  'gives another event': (_notes, context) => {
    context.getArgs<unknown[]>()[0] = 'another';
    return true;
  },
  'marks its context': (_notes, context) => {
    Object.assign(context, { isMarked: true });
    return true;
  },
};

const catches: Readonly<Record<string, (error: Error, host: ArgumentsHost) => unknown>> = {
  value: ({ message }, host) =>
    `${message} of ${host.getType()} ${host.getArgs().join()} ${String((host as ExecutionContext).getHandler())}`,
  promise: ({ message }) => Promise.resolve(message),
  stream: ({ message }) => of('first', message),
  'empty stream': () => EMPTY,
  throws: ({ message }) => {
    throw new Error(`${message}, caught`);
  },
};

interface Case {
  readonly guards?: readonly Verdict[];
  readonly interceptors?: readonly Run[];
  readonly pipe?: (value: unknown, notes: Notes) => unknown;
  readonly filter?: (error: Error, host: ArgumentsHost) => unknown;
  readonly answer: (notes: Notes) => unknown;
}

class Place {}
const app = await NestFactory.createApplicationContext({ module: Place }, { logger: false });
const creator = app.get(ExternalContextCreator);

type Build = (handler: HandlerParts) => Callable;

const nests: Build = ({ instance, name, parameters }) => {
  const everything = { guards: true, interceptors: true, filters: true };
  const method = Reflect.get(instance, name) as (...args: unknown[]) => unknown;
  const { key, factory } = parameters ?? {};
  const call = creator.create(instance, method, name, key, factory, undefined, undefined, everything, 'rpc') as Callable;
  // Nest leaves the stream of a filter to whoever calls.
  return async (event, message) => {
    const result = await call(event, message);
    return isObservable(result) ? lastValueFrom(result, { defaultValue: undefined }) : result;
  };
};
const ours: Build = (handler) => createHandler(creator, handler);

const factory = { exchangeKeyForValue: (_kind: number, _field: unknown, [event]: readonly unknown[]): unknown => event };

async function outcome(build: Build, { guards = [], interceptors = [], pipe, filter, answer }: Case): Promise<unknown> {
  const notes: Notes = [];
  class Host {
    method(event: unknown, message: unknown): unknown {
      notes.push('handled', `${String(event)} ${String(message)}`, String(this instanceof Host));
      return answer(notes);
    }
  }
  const decorate = (decorator: MethodDecorator): void => {
    decorator(Host.prototype, 'method', Object.getOwnPropertyDescriptor(Host.prototype, 'method')!);
  };
  if (guards.length > 0)
    decorate(UseGuards(...guards.map((verdict): CanActivate => ({ canActivate: (context) => verdict(notes, context) as boolean }))));
  const running = interceptors.map((run): NestInterceptor => ({
    intercept: (context, handler) => run(handler, notes, context) as Observable<unknown>,
  }));
  if (running.length > 0) decorate(UseInterceptors(...running));
  if (pipe !== undefined) {
    Body()(Host.prototype, 'method', 0);
    decorate(UsePipes({ transform: (value) => pipe(value, notes) } satisfies PipeTransform));
  }
  if (filter !== undefined) decorate(UseFilters({ catch: filter } satisfies ExceptionFilter<Error>));
  const parameters = pipe === undefined ? undefined : { key: '__routeArguments__', factory };
  const call = build({ instance: new Host(), name: 'method', parameters });
  const settled = await local
    .run('here', () => call('event' as unknown as object, 'message' as unknown as Message))
    .then(
      (value) => ({ value }),
      (error: unknown) => ({ error: String(error) }),
    );
  return { ...settled, notes };
}

/** What came of a case by our way and by Nest's, where that is not the same. */
async function differences(cases: readonly (readonly [name: string, what: Case])[]): Promise<readonly unknown[]> {
  const different: unknown[] = [];
  for (const [name, what] of cases) {
    const [mine, wanted] = [await outcome(ours, what), await outcome(nests, what)];
    if (!isDeepStrictEqual(mine, wanted)) different.push({ name, mine, wanted });
  }
  return different;
}

/** The case with each of the handlers. */
function withHandlers(rest: Omit<Case, 'answer'>): (readonly [string, Case])[] {
  return Object.entries(handlers).map(([name, answer]) => [name, { ...rest, answer }]);
}

describe('a handler', () => {
  const stacks = Object.keys(runs).flatMap((name) => [[name], ['note', name], [name, 'other']]);
  it.each([[[] as string[]], ...stacks.map((stack) => [stack])])('is called through %p as Nest calls it', async (names) => {
    expect(await differences(withHandlers({ interceptors: names.map((name) => runs[name]!) }))).toEqual([]);
  });

  const panels = Object.keys(verdicts).flatMap((name) => [[name], ['yes', name, 'yes'], [name, 'gives another event']]);
  it.each(panels.map((panel) => [panel]))('is guarded by %p as Nest guards it', async (names) => {
    const guards = names.map((name) => verdicts[name]!);
    const cases = [...withHandlers({ guards }), ...withHandlers({ guards, interceptors: [runs['note']!] })];
    expect(await differences(cases)).toEqual([]);
  });

  it.each(Object.keys(catches))('has a filter that answers with: %s', async (name) => {
    const alone: Case = { filter: catches[name]!, answer: handlers['error']! };
    const cases: (readonly [string, Case])[] = [
      ['alone', alone],
      ['refused', { ...alone, guards: [verdicts['no']!] }],
      ['intercepted', { ...alone, interceptors: [runs['note']!] }],
      ['no error', { ...alone, answer: handlers['value']! }],
      ['an interceptor without a value', { ...alone, interceptors: [runs['answers with nothing']!] }],
    ];
    expect(await differences(cases)).toEqual([]);
  });

  it.each(Object.keys(runs))('has pipes behind the interceptor that %p', async (name) => {
    const pipe = (value: unknown, notes: Notes): unknown => {
      notes.push('piped');
      return Promise.resolve(`${String(value)} through a pipe`);
    };
    const intercepted = withHandlers({ interceptors: [runs[name]!], pipe });
    const guarded = withHandlers({ guards: [verdicts['gives another event']!], pipe });
    expect(await differences([...intercepted, ...guarded])).toEqual([]);
  });

  it('has contexts for guards and for interceptors, and none hears of the other', async () => {
    const interceptors: Run[] = [
      (handler, notes, context) => {
        notes.push(`is marked: ${'isMarked' in context}`);
        context.getArgs<unknown[]>()[0] = 'not for the method';
        return handler.handle();
      },
    ];
    expect(await differences(withHandlers({ guards: [verdicts['marks its context']!], interceptors }))).toEqual([]);
  });
});
