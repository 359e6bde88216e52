/**
 * What the stage says to the processes on it, over the channel Node opens to a child. A command is what a user's click would be to a real service; no
 * event ever travels here.
 */
export type Command =
  /** Senders: let one thing happen now. */
  | { readonly command: 'happen' }
  /** Senders: let things happen steadily, until told otherwise; 0 stops. */
  | { readonly command: 'load'; readonly perSecond: number }
  /** The notification service: take this long over each notification. */
  | { readonly command: 'pace'; readonly ms: number };

const READY = 'ready';

/** In a child: takes commands from now on, and tells the stage that it does. */
export function takeCommands(obey: (command: Command) => void): void {
  process.on('message', (message: Command) => obey(message));
  process.send?.(READY);
}

/** On the stage: whether a message from a child says that it takes commands now. */
export function isReady(message: unknown): boolean {
  return message === READY;
}
