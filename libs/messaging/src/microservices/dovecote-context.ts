import { BaseRpcContext } from '@nestjs/microservices';
import type { Message } from '../message.js';

/** How the message came: what `@Ctx()` gives a handler. */
export class DovecoteContext extends BaseRpcContext<[message: Message, pattern: string]> {
  /** Its id, its key, its headers, its attempt, and the signal that aborts when the handler's time is over. */
  getMessage(): Message {
    return this.args[0];
  }

  /** That of the handler, with its wildcards: the type is `getMessage().type`. */
  getPattern(): string {
    return this.args[1];
  }
}
