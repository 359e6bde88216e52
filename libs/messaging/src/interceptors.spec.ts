/**
 * Our way of running interceptors, held to Nest's own: the same stacks, the same outcomes.
 */
import { describe, expect, it } from '@jest/globals';
import { AsyncLocalStorage } from 'node:async_hooks';
import type { CallHandler, ExecutionContext, NestInterceptor } from '@nestjs/common';
import { InterceptorsConsumer } from '@nestjs/core/interceptors/interceptors-consumer.js';
import { catchError, concat, delay, EMPTY, from, isObservable, lastValueFrom, map, Observable, of, retry, switchMap, tap } from 'rxjs';
import { type ContextSource, HandlerInterceptors } from './interceptors.explorer.js';

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

async function outcome(
  consumer: InterceptorsConsumer | HandlerInterceptors,
  stack: readonly Run[],
  answer: (notes: Notes) => unknown,
): Promise<unknown> {
  const notes: Notes = [];
  const interceptors = stack.map((run): NestInterceptor => ({
    intercept: (context, handler) => run(handler, notes, context) as Observable<unknown>,
  }));
  class Host {}
  function method(): void {}
  const next = async (): Promise<unknown> => {
    notes.push('handled');
    return answer(notes);
  };
  const work = local.run('here', async () => {
    const result: unknown = await consumer.intercept(interceptors, ['event'], new Host(), method, next, 'rpc');
    return isObservable(result) ? await lastValueFrom(result, { defaultValue: undefined }) : result;
  });
  const settled = await work.then(
    (value) => ({ value }),
    (error: unknown) => ({ error: String(error) }),
  );
  return { ...settled, notes };
}

describe('interceptors of a handler', () => {
  const stacks = Object.keys(runs).flatMap((name) => [[name], ['note', name], [name, 'other']]);
  it.each([[[] as string[]], ...stacks.map((stack) => [stack])])('%p do what Nest lets them do', async (names) => {
    const nests = new InterceptorsConsumer();
    const ours = new HandlerInterceptors(nests as unknown as ContextSource);
    const stack = names.map((name) => runs[name]!);
    for (const [name, answer] of Object.entries(handlers)) {
      const wanted = await outcome(nests, stack, answer);
      expect([name, await outcome(ours, stack, answer)]).toEqual([name, wanted]);
    }
  });
});
