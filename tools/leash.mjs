/**
 * Loaded into a program that task.mjs runs, before the program itself. The task holds the other end of descriptor 3; when it closes without a word
 * (the task was killed with no chance to pass a signal on) the program is asked to stop, so that no broker or service is left behind.
 *
 * Only for the program itself: what it forks inherits this file in its arguments, but has another parent.
 */
import { Socket } from 'node:net';

if (process.env.DOVECOTE_TASK === String(process.ppid)) {
  const task = new Socket({ fd: 3, readable: true, writable: false });
  task.on('error', () => undefined);
  task.on('close', () => process.kill(process.pid, 'SIGTERM'));
  task.resume();
  task.unref();
}
