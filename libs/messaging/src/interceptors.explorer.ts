/**
 * Runs the interceptors of a handler of events. Nest's own way of doing it builds four streams and two async functions for each interceptor and
 * message, which costs more than everything else that happens to an event; this one builds a single stream. Keeps nothing.
 *
 * What an interceptor sees is the same: its context, `handle()` that runs the rest once for each subscription, in the async context of the call of
 * `handle()`; and it may answer with a stream, or a promise of one. `SubscriptionsExplorer` puts it in the place of Nest's.
 */
import { AsyncResource } from 'node:async_hooks';
import type { ExecutionContext, NestInterceptor } from '@nestjs/common';
import { from, isObservable, Observable, type ObservableInput, type Subscriber, type Subscription } from 'rxjs';

type Context = ExecutionContext & { setType(type: string): void };

/** What is used of Nest's own. */
export interface ContextSource {
  createContext(args: unknown[], instance: object, callback: (...args: unknown[]) => unknown): Context;
}

export class HandlerInterceptors {
  constructor(private readonly source: ContextSource) {}

  /** Resolves to the stream of the outermost interceptor, or without any to what the handler answers. */
  async intercept(
    interceptors: readonly NestInterceptor[] | undefined,
    args: unknown[],
    instance: object,
    callback: (...args: unknown[]) => unknown,
    next: () => Promise<unknown>,
    type: string,
  ): Promise<unknown> {
    if (interceptors === undefined || interceptors.length === 0) return next();
    const context = this.source.createContext(args, instance, callback);
    context.setType(type);
    const stream = await interceptAt(interceptors, 0, context, next);
    // What is no stream is taken as Nest takes it, or refused with its error.
    return isObservable(stream) ? stream : from(stream as ObservableInput<unknown>);
  }
}

function interceptAt(interceptors: readonly NestInterceptor[], index: number, context: Context, next: () => Promise<unknown>): unknown {
  return interceptors[index]!.intercept(context, {
    handle: () => {
      const scope = new AsyncResource('DovecoteHandler');
      const isLast = index + 1 === interceptors.length;
      return new Observable((subscriber) => {
        if (isLast) return followAnswer(scope.runInAsyncScope(next), subscriber);
        return followStream(scope.runInAsyncScope(interceptAt, undefined, interceptors, index + 1, context, next), subscriber);
      });
    },
  });
}

/** The handler's answer: a value, or a stream of values. */
function followAnswer(answer: Promise<unknown>, subscriber: Subscriber<unknown>): () => void {
  let inner: Subscription | undefined;
  answer.then(
    (value) => {
      if (subscriber.closed) return;
      if (isObservable(value)) inner = from(value).subscribe(subscriber);
      else {
        subscriber.next(value);
        subscriber.complete();
      }
    },
    (error: unknown) => subscriber.error(error),
  );
  return () => inner?.unsubscribe();
}

/** The answer of an inner interceptor: a stream, or a promise of one. */
function followStream(answer: unknown, subscriber: Subscriber<unknown>): (() => void) | Subscription {
  if (isObservable(answer)) return answer.subscribe(subscriber);
  let inner: Subscription | undefined;
  Promise.resolve(answer)
    .then((stream) => {
      if (!subscriber.closed) inner = from(stream as ObservableInput<unknown>).subscribe(subscriber);
    })
    .catch((error: unknown) => subscriber.error(error));
  return () => inner?.unsubscribe();
}
