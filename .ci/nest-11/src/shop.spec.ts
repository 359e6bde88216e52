/** What a user of NestJS 11 writes: handlers behind a guard, and controllers of its microservices. */
import 'reflect-metadata';
import { type CanActivate, Controller, type ExecutionContext, Injectable, Module, UseFilters, UseGuards } from '@nestjs/common';
import { type ClientProxy, ClientsModule, Ctx, EventPattern, MessagePattern, Payload } from '@nestjs/microservices';
import { Test } from '@nestjs/testing';
import { firstValueFrom, lastValueFrom } from 'rxjs';
import { DovecoteModule, EventMessage, Message, Publisher, Subscribe } from '@dovecote/messaging';
import { DovecoteClient, type DovecoteContext, DovecoteServer, ErrorsAsThrown } from '@dovecote/messaging/microservices';
import { startBroker } from '@dovecote/testing';

@EventMessage('orders.order-placed')
class OrderPlaced {
  constructor(readonly orderId: string) {}
}

@Injectable()
class Guard implements CanActivate {
  canActivate(context: ExecutionContext): boolean {
    return context.getType() === 'rpc';
  }
}

@Injectable()
class Notifications {
  onNotified: (text: string) => void = () => undefined;

  @UseGuards(Guard)
  @Subscribe(OrderPlaced)
  notify(event: OrderPlaced, message: Message): void {
    this.onNotified(event.orderId + ' ' + String(event instanceof OrderPlaced) + ' from ' + message.source);
  }
}

test.each(['inside', 'behind AMQP'])('the broker is %s', async (place) => {
  const { broker, url, stop } = await startBroker();
  @Module({
    imports: [DovecoteModule.forRoot({ service: 'shop', broker: place === 'inside' ? { broker } : url })],
    providers: [Guard, Notifications],
  })
  class AppModule {}
  const app = await (await Test.createTestingModule({ imports: [AppModule] }).compile()).createNestApplication().init();
  const notified = new Promise((resolve) => (app.get(Notifications).onNotified = resolve));
  await app.get(Publisher).publish(new OrderPlaced('o-1'));
  expect(await notified).toBe('o-1 true from shop');
  await app.close();
  await stop();
});

let onBilled: (text: string) => void = () => undefined;
let attempts = 0;

@Controller()
@UseFilters(ErrorsAsThrown)
class Billing {
  @EventPattern('orders.*', { retry: { attempts: 2, backoff: 'immediate' } })
  async bill(@Payload() order: { id: string }, @Ctx() context: DovecoteContext): Promise<void> {
    attempts += 1;
    if (attempts === 1) throw new Error('not yet');
    onBilled(order.id + ' at attempt ' + String(context.getMessage().attempt));
  }

  @MessagePattern({ cmd: 'sum' })
  sum(numbers: number[]): number {
    return numbers.reduce((sum, number) => sum + number, 0);
  }
}

test('controllers and clients of its microservices', async () => {
  const { url, stop } = await startBroker();
  @Module({
    imports: [ClientsModule.register([{ name: 'SHOP', customClass: DovecoteClient, options: { service: 'shop', broker: url } }])],
    controllers: [Billing],
  })
  class AppModule {}
  const module = await Test.createTestingModule({ imports: [AppModule] }).compile();
  const app = module.createNestMicroservice({ strategy: new DovecoteServer({ service: 'billing', broker: url }), logger: false });
  await app.listen();
  const billed = new Promise((resolve) => (onBilled = resolve));
  const shop = app.get<ClientProxy>('SHOP');
  await lastValueFrom(shop.emit('orders.order-placed', { id: 'o-1' }), { defaultValue: undefined });
  expect(await billed).toBe('o-1 at attempt 2');
  expect(await firstValueFrom(shop.send({ cmd: 'sum' }, [1, 2, 39]))).toBe(42);
  await app.close();
  await stop();
});
