/**
 * Keeps the process running while the service is. The clock's timers do not, and while a broker is away nothing else might: the process would
 * end in the middle of waiting for it.
 */
export class KeepAlive {
  #channel: InstanceType<typeof MessageChannel> | undefined;

  hold(): void {
    if (this.#channel !== undefined) return;
    this.#channel = new MessageChannel();
    // A port that listens keeps the event loop open; nothing is ever sent through it.
    this.#channel.port1.on('message', nothing);
  }

  release(): void {
    this.#channel?.port1.close();
    this.#channel = undefined;
  }
}

function nothing(): void {}
