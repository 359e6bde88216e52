/** What Nest puts around handlers: guards, pipes, interceptors and filters. */
import { afterEach, beforeEach, describe, expect, it } from '@jest/globals';
import {
  type ArgumentsHost,
  type CallHandler,
  type CanActivate,
  Catch,
  Controller,
  type ExceptionFilter,
  type ExecutionContext,
  Inject,
  Injectable,
  type NestInterceptor,
  type PipeTransform,
  Scope,
  type Type,
  UseFilters,
  UseGuards,
  UseInterceptors,
  UsePipes,
  createParamDecorator,
} from '@nestjs/common';
import { APP_GUARD, APP_PIPE, REQUEST } from '@nestjs/core';
import { type Observable, map, of } from 'rxjs';
import { Message, Subscribe } from './index.js';
import { Desk, Notifications, NotificationsWorld, OrderPlaced } from './notifications.module.js';
import { until } from './turn.js';

let world: NotificationsWorld;

beforeEach(async () => {
  world = await NotificationsWorld.open();
});
afterEach(() => world.close());

describe('guards, pipes, interceptors and filters', () => {
  @Injectable()
  class OnlyFromShop implements CanActivate {
    constructor(private readonly desk: Desk) {}

    canActivate(context: ExecutionContext): boolean {
      const message = context.switchToRpc().getContext<Message>();
      this.desk.notes.push(`guard ${context.getType()} ${context.getClass().name} ${context.switchToRpc().getData<OrderPlaced>().orderId}`);
      return message.headers['shop'] === 'yes';
    }
  }

  @Injectable()
  class Timing implements NestInterceptor {
    constructor(private readonly desk: Desk) {}

    intercept(_context: ExecutionContext, next: CallHandler): Observable<unknown> {
      this.desk.notes.push('before');
      return next.handle().pipe(map((result) => void this.desk.notes.push(`after ${String(result)}`)));
    }
  }

  @Injectable()
  class Doubling implements PipeTransform {
    constructor(private readonly desk: Desk) {}

    transform(value: OrderPlaced | Message, { metatype, type }: { metatype?: Type | undefined; type: string }): unknown {
      if (!(value instanceof OrderPlaced)) return value;
      this.desk.notes.push(`pipe ${type} ${metatype?.name}`);
      return Object.assign(new OrderPlaced(value.orderId), { total: value.total * 2 });
    }
  }

  class Poison extends Error {}

  @Catch(Poison)
  class PoisonFilter implements ExceptionFilter {
    catch(error: Poison, host: ArgumentsHost): unknown {
      const { id } = host.switchToRpc().getContext<Message>();
      return of(`${error.message} ${id} was put aside`);
    }
  }

  const OrderId = createParamDecorator((_data: unknown, context: ExecutionContext) => context.switchToRpc().getData<OrderPlaced>().orderId);

  @Injectable()
  @UseGuards(OnlyFromShop)
  class Guarded {
    constructor(readonly desk: Desk) {}

    @UseInterceptors(Timing)
    @UsePipes(Doubling)
    @UseFilters(PoisonFilter)
    @Subscribe(OrderPlaced)
    notify(event: OrderPlaced, message: Message, @OrderId() orderId: string): unknown {
      this.desk.notes.push(`handler ${event.total} ${orderId}`);
      this.desk.take(this, event, message);
      if (event.orderId === 'poison') throw new Poison('poison');
      return of('done');
    }
  }

  it('stand around a handler as they do on any controller', async () => {
    const { desk, publisher } = await world.start({ providers: [Guarded] });
    await publisher.publish(new OrderPlaced('o-1', 21), { headers: { shop: 'yes' } });
    await until(() => world.depth().unacknowledged === 0 && desk.seen.length === 1);
    expect(desk.notes).toEqual(['guard rpc Guarded o-1', 'before', 'pipe body OrderPlaced', 'handler 42 o-1', 'after done']);
  });

  it('refuse and forgive: a guard that says no is a failure, a filter that answers is not', async () => {
    const { desk, publisher } = await world.start({ providers: [Guarded] });
    await publisher.publish(new OrderPlaced('poison'), { id: 'p', headers: { shop: 'yes' } });
    await until(() => desk.seen.length === 1 && world.depth().unacknowledged === 0);
    await publisher.publish(new OrderPlaced('stranger'), { id: 's' });
    await until(() => world.lines.some((line) => line.includes('Forbidden')) && world.depth().unacknowledged === 0);
    expect(world.depth()).toEqual({ ready: 0, unacknowledged: 0 });
    await world.clock.advance(1_000);
    await until(() => world.lines.filter((line) => line.includes('Forbidden')).length === 2);
    expect(world.lines.filter((line) => line.includes('order-placed p:'))).toEqual([]);
    expect(desk.seen).toHaveLength(1);
  });

  @Injectable()
  class HttpGuard implements CanActivate {
    static asked: string[] = [];

    canActivate(context: ExecutionContext): boolean {
      HttpGuard.asked.push(context.getType());
      // Written for HTTP and nothing else: an event has no headers, so this throws.
      return context.switchToHttp().getRequest<{ headers: Record<string, string> }>().headers['authorization'] !== undefined;
    }
  }

  @Injectable()
  class EmptyingPipe implements PipeTransform {
    transform(): unknown {
      return {};
    }
  }

  it('that are global were written for HTTP, and leave handlers of events alone', async () => {
    HttpGuard.asked = [];
    const providers = [Notifications, { provide: APP_GUARD, useClass: HttpGuard }, { provide: APP_PIPE, useClass: EmptyingPipe }];
    const { desk, publisher } = await world.start({ providers });
    await publisher.publish(new OrderPlaced('o-1'));
    await until(() => desk.seen.length === 1 && world.depth().unacknowledged === 0);
    expect(desk.seen[0]!.event.orderId).toBe('o-1');
    expect(HttpGuard.asked).toEqual([]);
  });

  it('that are global stand before handlers too where inheritAppConfig says so', async () => {
    HttpGuard.asked = [];
    const { publisher } = await world.start({
      providers: [Notifications, { provide: APP_GUARD, useClass: HttpGuard }],
      options: { inheritAppConfig: true },
    });
    await publisher.publish(new OrderPlaced('o-1'));
    await until(() => world.lines.some((line) => line.includes('Notifications.notify failed')));
    expect(HttpGuard.asked).toEqual(['rpc']);
  });

  it("stand around a controller that is nobody's provider, with its own module's instances", async () => {
    @Injectable()
    class Counting implements CanActivate {
      count = 0;

      canActivate(): boolean {
        this.count += 1;
        return true;
      }
    }
    @Controller()
    @UseGuards(Counting)
    class PlainController {
      constructor(readonly desk: Desk) {}

      @Subscribe(OrderPlaced)
      notify(event: OrderPlaced, message: Message): unknown {
        return this.desk.take(this, event, message);
      }
    }
    const { app, desk, publisher } = await world.start({ controllers: [PlainController] });
    await publisher.publish(new OrderPlaced('o-1'));
    await until(() => desk.seen.length === 1);
    expect(app.get(Counting, { strict: false }).count).toBe(1);
  });

  it('in request scope work as well', async () => {
    @Injectable({ scope: Scope.REQUEST })
    class ScopedGuard implements CanActivate {
      constructor(
        private readonly desk: Desk,
        @Inject(REQUEST) private readonly request: { readonly data: OrderPlaced },
      ) {}

      canActivate(): boolean {
        this.desk.notes.push(`scoped guard ${this.request.data.orderId}`);
        return true;
      }
    }
    @Controller()
    @UseGuards(ScopedGuard)
    class Scoped {
      constructor(readonly desk: Desk) {}

      @Subscribe(OrderPlaced)
      notify(event: OrderPlaced, message: Message): unknown {
        return this.desk.take(this, event, message);
      }
    }
    const { desk, publisher } = await world.start({ controllers: [Scoped] });
    await publisher.publish(new OrderPlaced('o-1'));
    await until(() => desk.seen.length === 1 && world.depth().unacknowledged === 0);
    expect(desk.notes).toEqual(['scoped guard o-1']);
  });
});
