/** Lets through one at a time those that may be what ends the process, so that it is known which of them it was. In memory. */
export class Suspects {
  #last: Promise<void> = Promise.resolve();

  /** Resolves when all before it have left, to what is to be called at the end. */
  async enter(): Promise<() => void> {
    const before = this.#last;
    let leave = (): void => undefined;
    this.#last = new Promise((resolve) => (leave = resolve));
    await before;
    return leave;
  }
}
