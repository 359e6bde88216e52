/**
 * Runs the interceptors of a handler of events. Nest's own way of doing it builds four streams and two async functions for each interceptor and
 * message, which costs more than everything else that happens to an event; this one builds a single stream. Keeps nothing.
 *
 * What an interceptor sees is the same: its context, `handle()` that runs the rest once for each subscription, in the async context of the call of
 * `handle()`; and it may answer with a stream, or a promise of one. Used by what calls the handlers (invocation.explorer.ts).
 */
import { AsyncResource } from 'node:async_hooks';
import type { ExecutionContext, NestInterceptor } from '@nestjs/common';
import { from, isObservable, Observable, type ObservableInput, type Subscriber, type Subscription } from 'rxjs';

/** The stream of the outermost interceptor, of which there must be one, or a promise of it. `answer` is what stands behind the innermost: the handler. */
export function throughInterceptors(
  interceptors: readonly NestInterceptor[],
  context: ExecutionContext,
  answer: () => unknown,
): Observable<unknown> | Promise<Observable<unknown>> {
  const stream = interceptAt(interceptors, 0, context, answer);
  return isObservable(stream) ? stream : whenKnown(stream);
}

/** What is no stream is taken as Nest takes it, or refused with its error. */
async function whenKnown(answer: unknown): Promise<Observable<unknown>> {
  const stream = await answer;
  return isObservable(stream) ? stream : from(stream as ObservableInput<unknown>);
}

function interceptAt(interceptors: readonly NestInterceptor[], index: number, context: ExecutionContext, answer: () => unknown): unknown {
  return interceptors[index]!.intercept(context, {
    handle: () => {
      const scope = new AsyncResource('DovecoteHandler');
      const isLast = index + 1 === interceptors.length;
      return new Observable((subscriber) => {
        if (isLast) return followAnswer(scope.runInAsyncScope(answered, undefined, answer), subscriber);
        return followStream(scope.runInAsyncScope(interceptAt, undefined, interceptors, index + 1, context, answer), subscriber);
      });
    },
  });
}

/** What an async function would make of it, which costs more promises. */
function answered(answer: () => unknown): Promise<unknown> {
  try {
    return Promise.resolve(answer());
  } catch (error) {
    return Promise.reject(error as Error);
  }
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
